//! What a failed comparison prints: range, line pointers, WAL records.

use crate::cluster::Cluster;
use crate::oracle::RelCheck;
use crate::session::rows;
use crate::waldump::records_of;
use crate::walker::table;
use postgres::Client;

const MAX_RANGES: usize = 2;
const MAX_BLOCKS: usize = 4;
const MAX_RECORDS: usize = 60;

/// All that can be said about a relation the map is wrong for.
pub fn difference_report(cluster: &Cluster, database: &str, check: &RelCheck) -> String {
    let mut client = cluster.connect(database);
    let mut report = format!(
        "== {}: map {} (exact: {}), scan {}; live tuples by map {:?}, by scan {}\n",
        check.name, check.map, check.exact, check.scan, check.map_tuples, check.scan_tuples
    );
    report += &section(
        &mut client,
        "status",
        "SELECT state, counted_from_lsn, applied_lsn, limit_lsn FROM walker_status",
    );
    let regclass = check.name.replace('\'', "''");
    let differing = format!(
        "SELECT rangeno, start_block, end_block, map_dead, scan_dead, map_items, scan_items,
                map_tuples, scan_tuples, exact
         FROM garbage_verify('{regclass}') ORDER BY 1 LIMIT {MAX_RANGES}"
    );
    report += &section(
        &mut client,
        "ranges that differ: number, blocks; dead, items, live tuples by map and scan; exact",
        &differing,
    );
    let locator = format!(
        "SELECT concat_ws('/', CASE c.reltablespace WHEN 0 THEN d.dattablespace
                                    ELSE c.reltablespace END,
                               CASE WHEN c.relisshared THEN 0 ELSE d.oid END,
                               pg_relation_filenode(c.oid))
         FROM pg_class c, pg_database d
         WHERE c.oid = '{regclass}'::regclass AND d.datname = current_database()"
    );
    report += &section(
        &mut client,
        "locator (tablespace/database/relfilenode)",
        &locator,
    );
    let blocks = suspect_blocks(&mut client, &regclass);
    for block in &blocks {
        report += &line_pointers(&mut client, &regclass, *block);
    }
    if let Ok(found) = rows(&mut client, &locator)
        && let Some(Some(locator)) = found.first().map(|row| row[0].clone())
    {
        let records = records_of(cluster, &locator, &blocks, MAX_RECORDS);
        report += &format!("last WAL records of these blocks:\n{records}\n");
    }
    report
}

fn section(client: &mut Client, title: &str, sql: &str) -> String {
    match rows(client, sql) {
        Ok(found) => format!("{title}:\n{}", table(&found)),
        Err(error) => format!("{title}: {error}\n"),
    }
}

/// The first blocks of the ranges that differ; of those, the ones that hold
/// something that could be dead.
fn suspect_blocks(client: &mut Client, regclass: &str) -> Vec<u32> {
    let ranges = format!(
        "SELECT DISTINCT b FROM garbage_verify('{regclass}') v,
         LATERAL generate_series(v.start_block, v.end_block) b"
    );
    let with_deleters = format!(
        "SELECT b FROM ({ranges}) r (b) WHERE EXISTS (
             SELECT FROM heap_page_items(get_raw_page('{regclass}', b::int))
             WHERE t_xmax <> 0 OR (t_infomask & 512) <> 0)
         ORDER BY b LIMIT {MAX_BLOCKS}"
    );
    let all = format!("SELECT b FROM generate_series(0, {}) b", MAX_BLOCKS - 1);
    [
        with_deleters,
        format!("{ranges} ORDER BY 1 LIMIT {MAX_BLOCKS}"),
        all,
    ]
    .iter()
    .filter_map(|sql| rows(client, sql).ok())
    .map(|found| {
        found
            .iter()
            .filter_map(|row| row[0].as_ref()?.parse().ok())
            .collect()
    })
    .find(|blocks: &Vec<u32>| !blocks.is_empty())
    .unwrap_or_default()
}

fn line_pointers(client: &mut Client, regclass: &str, block: u32) -> String {
    // No xid status for xids that are too old to have one.
    let sql = format!(
        "SELECT lp, CASE lp_flags WHEN 0 THEN 'unused' WHEN 1 THEN 'normal'
                                  WHEN 2 THEN 'redirect->' || lp_off ELSE 'dead' END,
                'xmin ' || t_xmin, 'xmax ' || t_xmax, 'ctid ' || t_ctid,
                array_to_string((heap_tuple_infomask_flags(t_infomask, t_infomask2)).raw_flags, ' ')
         FROM heap_page_items(get_raw_page('{regclass}', {block}))"
    );
    section(client, &format!("block {block}"), &sql)
}
