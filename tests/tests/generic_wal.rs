//! Generic WAL: the records of contrib/bloom reach the callback of Generic,
//! and their deltas, decoded, turn each page into the next.

use std::collections::{BTreeMap, HashMap};
use walker_tests::Cluster;
use walker_tests::plugins::{Library, Setup};
use walker_tests::server::{run, text};
use walker_tests::skip::skipped;
use walker_tests::wal::restore;
use walker_wal::misc::{decode_generic, generic_regions};
use walker_wal::{Record, RmgrId};

const HEARD: &str = "
CREATE FUNCTION heard(OUT lsn pg_lsn, OUT hash bigint, OUT len bigint, OUT xid bigint,
OUT rmid bigint, OUT relfilenode bigint, OUT blocks bigint, OUT blkno bigint)
RETURNS SETOF record AS 'listener' LANGUAGE C";

/// Bytes of a page that redo sets and no delta does: `pd_lsn` and
/// `pd_checksum`.
const STAMP: usize = 10;

#[test]
fn bloom_is_heard_and_its_deltas_make_the_next_page() {
    // Every record carries its page, beside the delta: each step is checked.
    let setup = Setup {
        libraries: &[Library::c("listener"), Library::rmgr_counter()],
        plugins: "listener, rmgr_counter",
        conf: "wal_consistency_checking = 'generic'",
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("bloom", &setup);
    if !cluster.server.has_contrib("bloom") {
        skipped("generic WAL: contrib/bloom is not installed");
        return;
    }
    cluster.create_rmgr_counts();
    cluster.safe_psql("postgres", HEARD);
    cluster.walker_wait();
    let counted_from = cluster.plugin("rmgr_counter", "start_lsn");
    let from = cluster.safe_psql("postgres", "SELECT pg_current_wal_insert_lsn()");
    for sql in [
        "CREATE EXTENSION bloom",
        "CREATE TABLE t AS SELECT g AS a, g % 7 AS b FROM generate_series(1, 2000) g",
        "CREATE INDEX i ON t USING bloom (a, b)",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 300) g",
        "CHECKPOINT",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 300) g",
        "DELETE FROM t WHERE a % 2 = 0",
        "VACUUM t",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 300) g",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    cluster.assert_counts_complete(&counted_from);
    let to = cluster.safe_psql("postgres", "SELECT pg_current_wal_flush_lsn()");

    assert_heard(&cluster, &from, &to);
    let deltas = check_deltas(&cluster, &from, &to);
    eprintln!("{deltas} deltas checked");
    assert!(deltas > 500, "only {deltas} deltas");
}

/// The listener has heard what pg_waldump shows: relation, block and number of
/// blocks of each record.
fn assert_heard(cluster: &Cluster, from: &str, to: &str) {
    let heard = cluster.safe_psql(
        "postgres",
        &format!(
            "SELECT relfilenode, blkno, blocks FROM heard()
             WHERE rmid = 20 AND lsn > '{from}' ORDER BY lsn"
        ),
    );
    let mut command = cluster.server.command("pg_waldump");
    command.args(["--rmgr=Generic", "--start", from, "--end", to]);
    let printed = text(&run(command
        .arg("--path")
        .arg(cluster.data_dir().join("pg_wal"))));
    let dumped: Vec<String> = printed.lines().map(block_of).collect();
    assert!(dumped.len() > 500, "only {} records", dumped.len());
    // The listener has room for so many.
    assert!(dumped.len() < 4096, "{} records", dumped.len());
    assert_eq!(heard.lines().collect::<Vec<_>>(), dumped);
    let index = cluster.safe_psql("postgres", "SELECT pg_relation_filenode('i')");
    assert!(
        dumped
            .iter()
            .all(|line| line.starts_with(&format!("{index}|")))
    );
}

/// `blkref #0: rel 1663/5/16389 blk 0 FPW` as the listener shows it.
fn block_of(line: &str) -> String {
    let (_, block) = line.split_once("blkref #0: rel ").expect("a block");
    let mut words = block.split([' ', ',']);
    let relation = words.next().expect("a relation");
    let (_, filenode) = relation.rsplit_once('/').expect("three numbers");
    let number = words.nth(1).expect("a number");
    format!("{filenode}|{number}|{}", line.matches("blkref #").count())
}

/// Applies every delta to the page before it, and compares with the image that
/// the same record carries; how many there were.
fn check_deltas(cluster: &Cluster, from: &str, to: &str) -> usize {
    let mut pages: HashMap<(u32, u32), Vec<u8>> = HashMap::new();
    let mut checked = 0;
    let mut regions_of_records: BTreeMap<usize, usize> = BTreeMap::new();
    cluster.read_wal(from, to, |record| {
        if record.rmid() != RmgrId::GENERIC {
            return;
        }
        let decoded = decode_generic(record).expect("a sound record");
        for id in 0..=decoded.max_block_id.expect("a block") {
            let block = record.block(id).expect("a block");
            let key = (block.locator.rel_number, block.blkno);
            let after = restore(&block.image.expect("an image"));
            let mut regions = 0;
            let page = pages.get(&key).cloned();
            if let (Some(mut page), Some(_)) = (page, block.data) {
                for region in generic_regions(&block) {
                    let region = region.expect("a region");
                    let at = usize::from(region.offset);
                    page[at..at + region.bytes.len()].copy_from_slice(region.bytes);
                    regions += 1;
                }
                empty_hole(&mut page);
                assert!(
                    page[STAMP..] == after[STAMP..],
                    "block {} after the record at {}",
                    block.blkno,
                    record.lsn()
                );
                checked += 1;
            }
            *regions_of_records.entry(regions).or_default() += 1;
            pages.insert(key, after);
        }
    });
    eprintln!("blocks by number of regions: {regions_of_records:?}");
    checked
}

/// Redo empties what is between `pd_lower` and `pd_upper`.
fn empty_hole(page: &mut [u8]) {
    let at = |i: usize| usize::from(u16::from_le_bytes([page[i], page[i + 1]]));
    let (lower, upper) = (at(12), at(14));
    page[lower..upper].fill(0);
}
