//! The garbage map against a scan that knows nothing of walker.
//!
//! The scan is `pgstattuple`; where the server has no contrib modules it is
//! `garbage_verify`. Compared at rest: a comparison during which WAL was
//! written says nothing if it differs and is made again.

use crate::cluster::Cluster;
use crate::poll::{poll_for, timeout};
use crate::report::difference_report;
use crate::session::{Rows, rows};
use crate::walker::plain;
use postgres::Client;

/// One heap relation: what the map says and what the scan says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelCheck {
    /// As `regclass` prints it.
    pub name: String,
    /// Whether it is of the system (a catalog or its TOAST table), which
    /// exists before walker does.
    pub system: bool,
    /// Dead tuples by the map.
    pub map: i64,
    /// Whether the map calls all ranges exact.
    pub exact: bool,
    /// Dead tuples by the scan.
    pub scan: i64,
    /// Live tuples by the map, if it has their number.
    pub map_tuples: Option<i64>,
    /// Live tuples by the scan.
    pub scan_tuples: i64,
    /// Exact ranges that `garbage_verify` does not agree with.
    pub faulty_ranges: i64,
}

impl RelCheck {
    fn differs(&self) -> bool {
        self.faulty_ranges > 0
            || (self.exact && self.map != self.scan)
            || self.map_tuples.is_some_and(|n| n != self.scan_tuples)
    }
}

/// Compares every heap relation of a database. Returns what was compared; the
/// test fails at a difference, which is printed with all that is known of it.
pub fn assert_map_exact(cluster: &Cluster, database: &str) -> Vec<RelCheck> {
    let (checks, differences) = compare(cluster, database);
    if !differences.is_empty() {
        let reports: Vec<String> = differences
            .iter()
            .map(|d| difference_report(cluster, database, d))
            .collect();
        panic!(
            "the garbage map of database \"{database}\" of cluster \"{}\" is wrong \
             for {} of {} relations\n{}",
            cluster.name,
            differences.len(),
            checks.len(),
            reports.join("\n")
        );
    }
    checks
}

/// As [`assert_map_exact`], and every relation that is not of the system must
/// be known.
pub fn assert_map_exact_and_known(cluster: &Cluster, database: &str) -> Vec<RelCheck> {
    let checks = assert_map_exact(cluster, database);
    let unknown: Vec<&str> = checks
        .iter()
        .filter(|c| !c.system && !c.exact)
        .map(|c| c.name.as_str())
        .collect();
    assert!(
        unknown.is_empty(),
        "cluster \"{}\", database \"{database}\": created after the start, and yet not exact: {}",
        cluster.name,
        unknown.join(", ")
    );
    checks
}

/// The databases of a cluster one can connect to.
pub fn databases(cluster: &Cluster) -> Vec<String> {
    let sql = "SELECT datname FROM pg_database
               WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";
    cluster
        .safe_psql("postgres", sql)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn compare(cluster: &Cluster, database: &str) -> (Vec<RelCheck>, Vec<RelCheck>) {
    let mut client = cluster.connect(database);
    let mut last = None;
    let mut attempts_at_rest = 0;
    let settled = poll_for(timeout(), || {
        let before = cluster.current_lsn();
        if !plain() {
            cluster.walker_wait_for(&before);
        }
        let checks = check_once(cluster, &mut client);
        let differences: Vec<RelCheck> = checks.iter().filter(|c| c.differs()).cloned().collect();
        let good = differences.is_empty();
        // One quiet attempt convicts; and where each attempt itself writes,
        // as a walker_wait() that pushes WAL out may, some more do.
        attempts_at_rest += if cluster.current_lsn() == before {
            10
        } else {
            1
        };
        last = Some((checks, differences));
        (good || attempts_at_rest >= 10).then_some(())
    });
    assert!(
        settled.is_some(),
        "cluster \"{}\" does not come to rest",
        cluster.name
    );
    last.expect("an attempt")
}

const HEAPS: &str = "FROM pg_class c
    JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap'
    CROSS JOIN LATERAL (SELECT c.oid < 16384 OR c.relnamespace = 'pg_catalog'::regnamespace) k (system)";

const WHICH: &str = "WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p' ORDER BY c.oid";

/// One comparison. The scan goes first, so that rows it may prune on its way
/// through the catalogs are not blamed on the map.
fn check_once(cluster: &Cluster, client: &mut Client) -> Vec<RelCheck> {
    let map = "CROSS JOIN LATERAL (
        SELECT coalesce(sum(n_dead_tuples), 0), coalesce(bool_and(exact), true),
               CASE WHEN count(*) = count(n_tuples) THEN coalesce(sum(n_tuples), 0) END
        FROM garbage_map(c.oid::regclass)) m (dead, exact, tuples)
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE exact), coalesce(sum(scan_dead - coalesce(map_dead, 0)), 0),
               coalesce(sum(scan_tuples - map_tuples), 0)
        FROM garbage_verify(c.oid::regclass)) v (faulty, missing, uncounted)";
    let scan = "CROSS JOIN LATERAL (
        SELECT dead_tuple_count, tuple_count FROM pgstattuple(c.oid::regclass)) s (dead, tuples)";
    let contrib = cluster.server.has_contrib("pgstattuple");
    let (columns, sources) = match (plain(), contrib) {
        (true, true) => (
            "s.dead, true, s.dead, s.tuples, s.tuples, 0",
            scan.to_owned(),
        ),
        (true, false) => ("0, true, 0, 0, 0, 0", String::new()),
        (false, true) => (
            "m.dead, m.exact, s.dead, m.tuples, s.tuples, v.faulty",
            format!("{scan} {map}"),
        ),
        (false, false) => (
            "m.dead, m.exact, m.dead + v.missing,
             m.tuples, coalesce(m.tuples, 0) + v.uncounted, v.faulty",
            map.to_owned(),
        ),
    };
    let sql = format!("SELECT c.oid::regclass, k.system, {columns} {HEAPS} {sources} {WHICH}");
    let found: Rows = rows(client, &sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    assert!(
        found.len() > 50,
        "only {} heap relations: is this a database?",
        found.len()
    );
    found.iter().map(|row| rel_check(row)).collect()
}

fn rel_check(row: &[Option<String>]) -> RelCheck {
    let cell = |at: usize| {
        row[at]
            .as_deref()
            .unwrap_or_else(|| panic!("NULL in {row:?}"))
    };
    let number = |at: usize| {
        cell(at)
            .parse()
            .unwrap_or_else(|_| panic!("no number in {row:?}"))
    };
    RelCheck {
        name: cell(0).to_owned(),
        system: cell(1) == "t",
        map: number(2),
        exact: cell(3) == "t",
        scan: number(4),
        map_tuples: row[5].as_ref().map(|_| number(5)),
        scan_tuples: number(6),
        faulty_ranges: number(7),
    }
}
