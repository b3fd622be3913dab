//! walstat: the rows add up to the WAL, whatever happens to the server.

use std::collections::BTreeMap;
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::poll::{env_number, poll_until};
use walker_tests::session::aligned;
use walker_tests::waldump::{self, RmgrCounts};
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, Session};

/// pg_waldump must still find all that was counted.
const CONF: &str = "
shared_preload_libraries = 'walker'
walker.plugins = 'walstat'
wal_keep_size = '8GB'
max_wal_size = '4GB'
max_prepared_transactions = 10
autovacuum_naptime = 1";

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::new(name);
    cluster.init();
    cluster.append_conf(CONF);
    cluster.start();
    cluster.safe_psql(
        "postgres",
        "CREATE EXTENSION walker; CREATE EXTENSION walstat",
    );
    cluster
}

/// What is counted, by record type, with the stretch of WAL it speaks of.
fn counted(cluster: &Cluster) -> (String, String, BTreeMap<String, RmgrCounts>) {
    cluster.walker_wait();
    poll_until("walstat to rest", || {
        let ends = || {
            let sql = "SELECT counted_from_lsn, applied_lsn FROM walstat_status";
            cluster.safe_psql("postgres", sql)
        };
        let before = ends();
        let printed = cluster.safe_psql(
            "postgres",
            "SELECT rmgr || '/' || record_type, sum(records), sum(bytes), sum(fpi_bytes)
             FROM wal_by_relation GROUP BY 1",
        );
        let rows = printed.lines().map(counts).collect();
        if ends() != before {
            return None;
        }
        let (from, to) = before.split_once('|').expect("two columns");
        Some((from.to_owned(), to.to_owned(), rows))
    })
}

fn counts(line: &str) -> (String, RmgrCounts) {
    let cells: Vec<&str> = line.split('|').collect();
    let number = |at: usize| cells[at].parse().unwrap_or_else(|_| panic!("\"{line}\""));
    let counts = RmgrCounts {
        records: number(1),
        bytes: number(2),
        fpi_bytes: number(3),
    };
    (cells[0].to_owned(), counts)
}

/// The rows add up to what pg_waldump finds; where it begins.
fn assert_adds_up(cluster: &Cluster, when: &str) -> String {
    let (from, to, counted) = counted(cluster);
    let dumped = waldump::record_stats(cluster, &from, &to);
    assert_eq!(
        counted, dumped,
        "wal_by_relation and pg_waldump differ from {from} to {to}, {when}"
    );
    from
}

/// As [`assert_adds_up`], across timelines, which pg_waldump does not follow.
fn assert_equals_records(cluster: &Cluster, when: &str) {
    let (from, to, counted) = counted(cluster);
    let sql = format!(
        "SELECT rmgr || '/' || record_type, count(*), sum(length), sum(fpi_length)
         FROM walker_records('{from}', '{to}') GROUP BY 1"
    );
    let read: BTreeMap<_, _> = cluster
        .safe_psql("postgres", &sql)
        .lines()
        .map(counts)
        .collect();
    assert!(read.len() > 8, "{read:?}");
    assert_eq!(counted, read, "from {from} to {to}, {when}");
}

/// Aborted bytes, by the view, and by the fate the server tells of each xid
/// in the WAL.
fn assert_waste(cluster: &Cluster, when: &str) -> u64 {
    let (from, to, _) = counted(cluster);
    let wasted = cluster.safe_psql("postgres", "SELECT sum(aborted_bytes) FROM wal_by_relation");
    let by_hand = format!(
        "SELECT coalesce(sum(length), 0) FROM walker_records('{from}', '{to}')
         WHERE xid <> '0' AND pg_xact_status(xid::text::xid8) = 'aborted'"
    );
    assert_eq!(wasted, cluster.safe_psql("postgres", &by_hand), "{when}");
    wasted.parse().expect("a number")
}

const SCHEMA: &str = "
CREATE TABLE t (a int PRIMARY KEY, b text, c point, d int[]);
CREATE INDEX ON t USING hash (b);
CREATE INDEX ON t USING gist (c);
CREATE INDEX ON t USING spgist (c);
CREATE INDEX ON t USING gin (d);
CREATE INDEX ON t USING brin (a);
CREATE SEQUENCE s;
CREATE TABLE gone (LIKE t INCLUDING ALL);";

const WRITES: &str = "
INSERT INTO t SELECT i, repeat('x', i % 100), point(i, i), ARRAY[i, i + 1]
    FROM generate_series(1, 3000) i;
CHECKPOINT;
UPDATE t SET b = b || 'y' WHERE a % 3 = 0;
DELETE FROM t WHERE a % 5 = 0;
SELECT nextval('s');
INSERT INTO gone SELECT * FROM t;
TRUNCATE gone;
VACUUM (FULL) t;
VACUUM t;
DROP TABLE gone;
SELECT pg_logical_emit_message(true, 'walstat', 'message');";

fn aborts(cluster: &Cluster) {
    for sql in [
        "BEGIN; INSERT INTO w SELECT generate_series(1, 500); ROLLBACK",
        "BEGIN; INSERT INTO w VALUES (1); SAVEPOINT s; INSERT INTO w SELECT generate_series(1, 90);
         ROLLBACK TO s; SAVEPOINT u; UPDATE w SET a = a + 1; RELEASE u; COMMIT",
        "BEGIN; SAVEPOINT s; INSERT INTO w VALUES (2); RELEASE s; CREATE TABLE never (a int); ROLLBACK",
        "BEGIN; INSERT INTO w VALUES (3); PREPARE TRANSACTION 'no'",
        "BEGIN; SAVEPOINT s; INSERT INTO w VALUES (4); PREPARE TRANSACTION 'yes'",
        "CHECKPOINT",
        "ROLLBACK PREPARED 'no'",
        "COMMIT PREPARED 'yes'",
    ] {
        cluster.safe_psql("postgres", sql);
    }
}

#[test]
fn the_rows_add_up_to_the_wal() {
    if plain() {
        return;
    }
    let cluster = cluster("walstat");
    cluster.safe_psql("postgres", SCHEMA);
    WRITES.split(';').for_each(|sql| {
        cluster.safe_psql("postgres", sql);
    });
    cluster.safe_psql("postgres", "CREATE DATABASE other");
    cluster.safe_psql(
        "other",
        "CREATE TABLE o AS SELECT generate_series(1, 99) AS a",
    );
    cluster.safe_psql("postgres", "DROP DATABASE other");
    Pgbench::init(&cluster, "postgres", 1);
    mixed(
        &cluster,
        "postgres",
        4,
        env_number("WALKER_SECONDS", 10).min(4),
    )
    .run();
    assert_adds_up(&cluster, "after pgbench");
    assert!(assert_waste(&cluster, "after pgbench") > 0);
}

#[test]
fn totals_survive_stops_and_crashes() {
    if plain() {
        return;
    }
    let cluster = cluster("walstat-crash");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE w (a int PRIMARY KEY DEFERRABLE, b text)",
    );
    cluster.safe_psql(
        "postgres",
        "ALTER TABLE w DROP CONSTRAINT w_pkey; CHECKPOINT",
    );
    cluster.poll_query_until(
        "postgres",
        "SELECT state_lsn IS NOT NULL FROM walstat_status",
        "t",
    );
    let began = assert_adds_up(&cluster, "at first");
    let mut wasted = 0;
    for stop in ["fast", "immediate", "kill -9", "kill -9, again"] {
        aborts(&cluster);
        // One transaction is lost in a crash, one prepared lives on.
        let mut open = Session::open(&cluster, "postgres");
        open.safe("BEGIN; INSERT INTO w SELECT generate_series(1, 100)");
        cluster.safe_psql(
            "postgres",
            "BEGIN; INSERT INTO w VALUES (5); PREPARE TRANSACTION 'survivor'",
        );
        match stop {
            "fast" => drop(cluster.stop(Mode::Fast)),
            "immediate" => drop(cluster.stop(Mode::Immediate)),
            _ => cluster.kill9(),
        }
        drop(open);
        cluster.start();
        assert_eq!(assert_adds_up(&cluster, stop), began, "{stop}");
        let now = assert_waste(&cluster, stop);
        assert!(now > wasted, "{stop}: {now} bytes wasted, before {wasted}");
        cluster.safe_psql("postgres", "ROLLBACK PREPARED 'survivor'");
        wasted = assert_waste(&cluster, stop);
        assert!(wasted > now, "{stop}: the prepared transaction");
        let open = "SELECT open_transactions FROM walstat_status";
        cluster.poll_query_until("postgres", open, "0");
    }
}

#[test]
fn a_standby_counts_as_well() {
    if plain() {
        return;
    }
    let primary = cluster("walstat-primary");
    let standby = Cluster::standby_of("walstat-standby", &primary);
    primary.safe_psql("postgres", "CREATE TABLE w (a int, b text)");
    aborts(&primary);
    primary.wait_for_catchup(&standby);
    // The backup may have brought the primary's counters along; this server
    // has no WAL from then.
    let (from, _, _) = counted(&standby);
    standby.safe_psql("postgres", "SELECT walstat_reset()");
    let began = format!("SELECT counted_from_lsn > '{from}' FROM walstat_status");
    standby.poll_query_until("postgres", &began, "t");
    aborts(&primary);
    primary.wait_for_catchup(&standby);
    assert_equals_records(&standby, "on a standby");
    primary.stop(Mode::Fast);
    standby.promote();
    aborts(&standby);
    assert_equals_records(&standby, "after the promotion");
    assert!(assert_waste(&standby, "after the promotion") > 0);
}

#[test]
fn rows_say_whose_wal_it_is() {
    if plain() {
        return;
    }
    let cluster = cluster("walstat-rows");
    let sql = |sql: &str| cluster.safe_psql("postgres", sql);
    sql("CREATE TABLE t (a int); CREATE INDEX i ON t (a);
         INSERT INTO t SELECT generate_series(1, 1000)");
    sql("CREATE DATABASE other");
    cluster.safe_psql(
        "other",
        "CREATE TABLE o AS SELECT generate_series(1, 5000) AS a",
    );
    cluster.walker_wait();
    assert_eq!(
        sql(
            "SELECT records, kind, fpi_bytes < bytes FROM wal_by_relation
             WHERE relid = 't'::regclass AND record_type = 'INSERT'"
        ),
        "995|relation|t",
        "five pages were initialised"
    );
    // An index, a mapped catalog and a shared one have names, too.
    for relation in ["i", "pg_class", "pg_database"] {
        let count = format!(
            "SELECT count(*) > 0 FROM wal_by_relation WHERE relid = '{relation}'::regclass"
        );
        assert_eq!(sql(&count), "t", "{relation}");
    }
    let hottest = "SELECT bool_and(ok) FROM (SELECT bytes <= lag(bytes, 1, bytes) OVER () AS ok
                   FROM wal_by_relation) o";
    assert_eq!(sql(hottest), "t");
    let none = "SELECT count(*) FROM wal_by_relation
                WHERE kind = 'none' AND rmgr = 'Transaction' AND record_type = 'COMMIT'";
    assert_eq!(sql(none), "1");

    // Dropped relations leave their bytes behind, in no relation's name.
    let before = sql("SELECT sum(bytes) FROM wal_by_relation WHERE relid = 't'::regclass");
    sql("DROP TABLE t");
    cluster.walker_wait();
    let dropped = "SELECT sum(bytes) FROM wal_by_relation
                   WHERE kind = 'dropped' AND rmgr = 'Heap' AND reldatabase <> 0";
    let dropped: u64 = sql(dropped).parse().expect("a number");
    assert!(dropped >= before.parse().expect("a number"));

    who_may_see_what(&cluster);

    // A reset, which a restart does not undo.
    let count = "SELECT sum(records) < 100 FROM wal_by_relation";
    assert_eq!(sql(count), "f");
    sql("SELECT walstat_reset()");
    cluster.poll_query_until("postgres", count, "t");
    assert_adds_up(&cluster, "after a reset");
    cluster.kill9();
    cluster.start();
    assert_eq!(sql(count), "t");
    assert_adds_up(&cluster, "after a reset and a crash");
}

fn who_may_see_what(cluster: &Cluster) {
    cluster.safe_psql(
        "postgres",
        "CREATE ROLE nobody LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor",
    );
    let try_as = |role: &str, sql: &str| match cluster.psql_as(role, "postgres", sql) {
        Ok(rows) => aligned(&rows),
        Err(error) => error.sqlstate,
    };
    for view in [
        "wal_by_relation",
        "walstat_status",
        "wal_by_relation_rows()",
    ] {
        let sql = format!("SELECT count(*) > 0 FROM {view}");
        assert_eq!(try_as("nobody", &sql), "42501", "{view}");
        assert_eq!(try_as("monitor", &sql), "t", "{view}");
    }
    for role in ["nobody", "monitor"] {
        assert_eq!(try_as(role, "SELECT walstat_reset()"), "42501", "{role}");
    }
    // A careless GRANT opens nothing.
    cluster.safe_psql(
        "postgres",
        "GRANT SELECT ON wal_by_relation TO PUBLIC;
         GRANT EXECUTE ON FUNCTION wal_by_relation_rows(), walstat_reset() TO PUBLIC",
    );
    assert_eq!(try_as("nobody", "SELECT * FROM wal_by_relation"), "42501");
    assert_eq!(try_as("monitor", "SELECT walstat_reset()"), "42501");

    let others = "SELECT count(*) > 0, bool_and(relid IS NULL) FROM wal_by_relation
                  WHERE reldatabase = (SELECT oid FROM pg_database WHERE datname = 'other')";
    assert_eq!(try_as("monitor", others), "t|t");
    cluster.safe_psql("postgres", "REVOKE pg_read_all_stats FROM pg_monitor");
    assert_eq!(try_as("monitor", others), "f|");
    let own = "SELECT count(*) > 0 FROM wal_by_relation WHERE reldatabase <> 0";
    assert_eq!(try_as("monitor", own), "t");
    cluster.safe_psql("postgres", "GRANT pg_read_all_stats TO pg_monitor");
}
