//! Base scans: what predates the walker becomes exact while writers go on.

use walker_tests::crash::{between_workers, end_worker};
use walker_tests::oracle::assert_map_exact;
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::poll::poll_until;
use walker_tests::process::signal;
use walker_tests::{Cluster, Mode, Server, Session};

const UNKNOWN: &str = "SELECT count(*) FROM garbage_tables WHERE NOT exact";
const UNCOUNTED: &str = "SELECT count(*) FROM garbage_tables WHERE n_tuples IS NULL";

#[test]
fn everything_becomes_exact_under_load() {
    let cluster = Cluster::with_walker("basescan", &[], "autovacuum_naptime = 1");
    Pgbench::init(&cluster, "postgres", 2);
    // The tables are made before this worker's first record: it knows nothing
    // of them.
    forget(&cluster);
    assert_ne!(cluster.safe_psql("postgres", UNKNOWN), "0");

    let load = mixed(&cluster, "postgres", 4, 1000).start();
    let read: i64 = cluster
        .safe_psql("postgres", "SELECT garbage_base_scan()")
        .parse()
        .unwrap();
    assert!(read > 300, "only {read} pages were read");
    // Some page may have changed each time it was read; a second scan reads
    // only what is left.
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    load.wait_any();
    cluster.walker_wait();
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_eq!(cluster.safe_psql("postgres", UNKNOWN), "0");
    assert_eq!(cluster.safe_psql("postgres", UNCOUNTED), "0");
    assert_map_exact(&cluster, "postgres");
    let mismatches = "SELECT image_mismatches FROM garbage_status";
    assert_eq!(cluster.safe_psql("postgres", mismatches), "0");
}

/// A scan of a large table leaves the buffer pool to others.
#[test]
fn few_buffers_do_for_all_of_a_table() {
    let cluster = Cluster::with_walker("buffers", &[], "autovacuum = off");
    if !cluster.server.has_contrib("pg_buffercache") {
        walker_tests::skip::skipped("base_scan: pg_buffercache is not there");
        return;
    }
    cluster.safe_psql(
        "postgres",
        "CREATE EXTENSION pg_buffercache;
         CREATE TABLE t (a int) WITH (fillfactor = 10);
         INSERT INTO t SELECT generate_series(1, 80000)",
    );
    forget(&cluster);
    let read: u32 = cluster
        .safe_psql("postgres", "SELECT garbage_base_scan('t')")
        .parse()
        .expect("a number of pages");
    let used = "SELECT count(*) FROM pg_buffercache
                WHERE relfilenode = pg_relation_filenode('t') AND relforknumber = 0";
    let used: u32 = cluster
        .safe_psql("postgres", used)
        .parse()
        .expect("buffers");
    assert!(read > 3000 && used < read / 4, "{used} for {read} pages");
}

/// All that VACUUM's record says of a page is that nothing on it is dead.
#[test]
fn what_is_all_visible_is_counted() {
    let lean: &[&str] = match Server::get().major {
        18.. => &["--no-data-checksums"], // which bring page images
        _ => &[],
    };
    let cluster = Cluster::with_walker(
        "visible",
        lean,
        "autovacuum = off\nfull_page_writes = off\nwal_writer_delay = '10s'",
    );
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g FROM generate_series(1, 20000) AS g;
         CREATE TABLE u AS SELECT g FROM generate_series(1, 20000) AS g",
    );
    forget(&cluster);
    cluster.safe_psql("postgres", "VACUUM t");
    cluster.walker_wait();
    let found = |table: &str| {
        let map = format!(
            "SELECT sum(n_tuples), count(n_tuples) = count(*), bool_and(exact)
             FROM garbage_map('{table}')"
        );
        cluster.safe_psql("postgres", &map)
    };
    let scan = "SELECT garbage_base_scan('t')";
    assert_eq!(found("t"), "|f|t");
    assert_ne!(cluster.safe_psql("postgres", scan), "0");
    assert_eq!(found("t"), "20000|t|t");
    // What nobody has flushed yet, so that the worker has not read it.
    cluster.safe_psql("postgres", "VACUUM u");
    cluster.walker_wait();
    assert_eq!(found("u"), "|f|t");
    let mut session = Session::open(&cluster, "postgres");
    session.safe("BEGIN");
    session.safe("DELETE FROM u WHERE g % 7 = 0");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan('u')");
    assert_eq!(found("u"), "20000|t|t");
    session.safe("COMMIT");
    cluster.walker_wait();
    assert_eq!(found("u"), "17143|t|t");
    assert_map_exact(&cluster, "postgres");
    assert_eq!(cluster.safe_psql("postgres", scan), "0");
}

/// `garbage_verify` says what is in the table and what the map has.
#[test]
fn what_differs_is_told() {
    let cluster = Cluster::with_walker("differs", &[], "autovacuum = off");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g FROM generate_series(1, 100) AS g",
    );
    cluster.walker_wait();
    let verify = "SELECT * FROM garbage_verify('t')";
    assert_eq!(cluster.safe_psql("postgres", verify), "");
    let worker = cluster.stop_waiting_worker();
    let differs = |sql: &str| {
        cluster.safe_psql("postgres", sql);
        cluster.safe_psql("postgres", verify)
    };
    assert_eq!(
        differs("INSERT INTO t VALUES (0)"),
        "0|0|0|0|0|0|0|100|101|t"
    );
    assert_eq!(
        differs("DELETE FROM t WHERE g <= 7"),
        "0|0|0|0|8|0|0|100|93|t"
    );
    signal("CONT", &[worker]);
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", verify), "");
}

/// A table of so many rows of which nothing is known, and a session that scans
/// 1 MB a second.
fn slow_scans(name: &str, rows: u32) -> (Cluster, Session) {
    let cluster = Cluster::with_walker(name, &[], "");
    let table = format!("CREATE TABLE t AS SELECT g FROM generate_series(1, {rows}) AS g");
    cluster.safe_psql("postgres", &table);
    forget(&cluster);
    let mut session = Session::open(&cluster, "postgres");
    session.safe("SET garbagemap.base_scan_rate = '1MB'");
    (cluster, session)
}

#[test]
fn a_cancelled_scan_leaves_nothing() {
    // The scan of 7 MB cannot end before it is cancelled.
    let (cluster, mut scan) = slow_scans("cancel", 200_000);
    scan.send("SELECT garbage_base_scan('t')");
    let progress = "SELECT count(*) FROM garbage_base_scan_progress
                    WHERE relid = 't'::regclass AND blocks_done > 0";
    cluster.poll_query_until("postgres", progress, "1");
    cluster.safe_psql(
        "postgres",
        "SELECT pg_cancel_backend(pid) FROM garbage_base_scan_progress",
    );
    assert!(scan.wait().is_err(), "the scan was not cancelled");
    let gone = "SELECT count(*) FROM garbage_base_scan_progress";
    cluster.poll_query_until("postgres", gone, "0");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan('t')");
    let exact = "SELECT bool_and(exact) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", exact), "t");
}

/// What is left of one scan does not end the next, in whatever order the
/// worker comes to it.
#[test]
fn the_next_scan_of_a_session_is_another() {
    let (cluster, mut session) = slow_scans("another", 400_000);
    session.safe("SET statement_timeout = '150ms'");
    for _ in 0..20 {
        let error = session.run("SELECT garbage_base_scan('t')");
        let error = error.expect_err("14 MB, at 1 MB a second");
        assert_eq!(error.sqlstate, "57014", "{error}");
    }
    session.safe("RESET garbagemap.base_scan_rate");
    session.safe("RESET statement_timeout");
    session.safe("SELECT garbage_base_scan('t')");
    let exact = "SELECT bool_and(exact) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", exact), "t");
}

/// What it noted goes with the relation where memory is short. Who comes after
/// that begins anew, and the one before does not tell, nor end, anything for him.
#[test]
fn a_scan_that_was_forgotten_says_so() {
    let (cluster, mut scan) = slow_scans("forgotten", 1_000_000);
    cluster.set_max_memory("1024 kB");
    scan.send("SELECT garbage_base_scan('t')");
    let pid = "SELECT pid FROM garbage_base_scan_progress
               WHERE relid = 't'::regclass AND blocks_done > 0";
    let pid = poll_until("a scan", || cluster.safe_psql("postgres", pid).parse().ok());
    // In the middle of it, a megabyte of what is younger.
    cluster.stop_waiting_backend(pid);
    cluster.safe_psql(
        "postgres",
        "DO $$ BEGIN
             FOR i IN 1..2000 LOOP EXECUTE format('CREATE TABLE many_%s AS SELECT 1', i); END LOOP;
         END $$",
    );
    cluster.walker_wait();
    let degraded = "SELECT degraded_relations > 0 FROM garbage_status";
    assert_eq!(cluster.safe_psql("postgres", degraded), "t");

    cluster.set_max_memory("256 MB");
    let mut another = Session::open(&cluster, "postgres");
    another.safe("SET garbagemap.base_scan_rate = '1MB'");
    another.send("SELECT garbage_base_scan('t')");
    let others = format!(
        "SELECT count(*) FROM garbage_base_scan_progress WHERE pid <> {pid} AND blocks_done > 0"
    );
    cluster.poll_query_until("postgres", &others, "1");
    signal("CONT", &[pid]);
    let error = scan.wait().expect_err("half of what it told is forgotten");
    assert_eq!(error.sqlstate, "55000", "{error}");
    let hint = "increase garbagemap.max_memory";
    assert!(error.to_string().contains(hint), "{error}");
    assert_eq!(cluster.safe_psql("postgres", &others), "1");
    scan.safe("RESET garbagemap.base_scan_rate");
    scan.safe("SELECT garbage_base_scan('t')");
    let exact = "SELECT bool_and(exact) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", exact), "t");
}

#[test]
fn what_a_scan_told_outlives_a_crash() {
    // No checkpoint will ask for a state, and no WAL will go.
    let conf = "autovacuum = off
        checkpoint_timeout = '1h'
        wal_keep_size = '1GB'";
    let cluster = Cluster::with_walker("scan-saved", &[], conf);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g FROM generate_series(1, 300000) AS g;
         DELETE FROM t WHERE g % 7 = 0",
    );
    forget(&cluster);
    let exact = "SELECT coalesce(bool_and(exact), false) FROM garbage_map('t')";
    let writes = || -> u64 {
        let writes = "SELECT state_writes FROM garbage_status";
        cluster.safe_psql("postgres", writes).parse().unwrap()
    };
    // The new worker's first, which knows nothing.
    cluster.poll_query_until(
        "postgres",
        "SELECT state_writes > 0 FROM garbage_status",
        "t",
    );
    assert_eq!(cluster.safe_psql("postgres", exact), "f");
    let before = writes();

    cluster.safe_psql("postgres", "SELECT garbage_base_scan('t')");
    let saved = format!("SELECT state_writes > {before} FROM garbage_status");
    cluster.poll_query_until("postgres", &saved, "t");

    cluster.stop(Mode::Immediate);
    cluster.start();
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", exact), "t");
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn no_state_outlives_a_commit() {
    let conf = "autovacuum = off
        checkpoint_timeout = '1h'
        wal_keep_size = '1GB'
        walker.restart_interval = '1s'";
    let cluster = Cluster::with_walker("lost-commit", &[], conf);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g FROM generate_series(1, 600000) AS g",
    );
    let mut deleter = walker_tests::Session::open(&cluster, "postgres");
    deleter.safe("SET synchronous_commit = off");
    deleter.safe("BEGIN");
    deleter.safe("DELETE FROM t WHERE g % 7 = 0");
    // The next worker begins behind the deletion, and knows nothing of it.
    cluster.safe_psql("postgres", "CHECKPOINT");
    forget_running(&cluster);

    // The one who would make the commit durable.
    cluster.stop_waiting_background("walwriter");
    deleter.safe("COMMIT");
    let waits = "SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()";
    assert_eq!(cluster.safe_psql("postgres", waits), "t");

    // 20 MB, 1 MB a second: the scan, which flushes at its end, has none. What
    // it has read is in the state of a worker that leaves.
    let mut scan = walker_tests::Session::open(&cluster, "postgres");
    scan.safe("SET garbagemap.base_scan_rate = '1MB'");
    scan.send("SELECT garbage_base_scan('t')");
    let done = "SELECT max(blocks_done) > 200 FROM garbage_base_scan_progress";
    cluster.poll_query_until("postgres", done, "t");
    assert_eq!(cluster.safe_psql("postgres", waits), "t");
    end_worker(cluster.worker_pid());

    cluster.stop(Mode::Immediate);
    cluster.start();
    cluster.walker_wait();
    let some = "SELECT bool_or(exact) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", some), "t");
    assert_map_exact(&cluster, "postgres");
    // Where hints are logged, a page that is looked at corrects the map.
    let mismatches = "SELECT image_mismatches FROM garbage_status";
    assert_eq!(cluster.safe_psql("postgres", mismatches), "0");
}

#[test]
fn a_commit_that_waits_for_a_standby_is_counted_at_last() {
    waits_for_a_standby(0);
}

/// They are not all asked about at once.
#[test]
fn so_is_one_of_thousands_that_are_undecided() {
    waits_for_a_standby(2500);
}

fn waits_for_a_standby(subtransactions: u32) {
    let conf = "autovacuum = off
        checkpoint_timeout = '1h'";
    let cluster = Cluster::with_walker("waiting-commit", &[], conf);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) AS g",
    );
    // It began before, and stays: nobody later precedes all that run.
    let mut oldest = Session::open(&cluster, "postgres");
    oldest.safe("BEGIN");
    oldest.safe("SELECT pg_current_xact_id()");
    oldest.safe(&format!(
        "DO $$ BEGIN FOR i IN 1..{subtransactions} LOOP
             BEGIN INSERT INTO t VALUES (0); EXCEPTION WHEN division_by_zero THEN NULL; END;
         END LOOP; END $$"
    ));
    // Behind those, so that a scan comes to them last.
    let more = "INSERT INTO t SELECT g FROM generate_series(1001, 1010) AS g";
    cluster.safe_psql("postgres", more);
    let wait_for = |standby: &str| {
        cluster.append_conf(&format!("synchronous_standby_names = '{standby}'"));
        cluster.reload();
        cluster.poll_query_until("postgres", "SHOW synchronous_standby_names", standby);
    };
    wait_for("nobody");
    // The checkpointer tells those who commit; it looks before it begins.
    cluster.safe_psql("postgres", "CHECKPOINT");
    let mut deleter = Session::open(&cluster, "postgres");
    deleter.send("DELETE FROM t WHERE g > 1000");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    cluster.poll_query_until("postgres", waits, "1");

    // The next worker begins behind the commit, and sees what it deleted.
    cluster.safe_psql("postgres", "CHECKPOINT");
    forget_running(&cluster);
    cluster.safe_psql("postgres", "SELECT garbage_base_scan('t')");
    let map = "SELECT sum(n_dead_tuples), bool_and(exact) FROM garbage_map('t')";
    cluster.poll_query_until("postgres", map, "0|t");
    let undecided = "SELECT pending_transactions FROM garbage_status";
    let expected = (subtransactions + 1).to_string();
    assert_eq!(cluster.safe_psql("postgres", undecided), expected);

    // The one who writes records of running transactions.
    let pid = cluster.stop_waiting_background("background writer");
    let written = cluster.current_lsn();
    wait_for("");
    deleter.wait().expect("a commit");
    cluster.poll_query_until("postgres", map, "10|t");
    assert_eq!(cluster.current_lsn(), written);
    signal("CONT", &[pid]);
    oldest.safe("ROLLBACK");
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn a_parent_that_is_no_longer_kept_is_not_asked_for() {
    let conf = "autovacuum = off
        checkpoint_timeout = '1h'";
    let cluster = Cluster::with_walker("subtransactions", &[], conf);
    cluster.safe_psql("postgres", "CREATE TABLE t (a int); CREATE TABLE u (a int)");
    let [mut parent, mut other] = [(); 2].map(|()| Session::open(&cluster, "postgres"));
    parent.safe("BEGIN");
    parent.safe("SELECT pg_current_xact_id()");
    // A file of pg_subtrans has 65,536.
    other.safe("SET synchronous_commit = off");
    other.safe(
        "DO $$ BEGIN
             FOR i IN 1..135000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;
         END $$",
    );
    // More subtransactions than the process array has room for, so that who
    // asks about others has to look for their parents.
    other.safe("BEGIN");
    for n in 1..=70 {
        other.safe(&format!("SAVEPOINT s{n}"));
        other.safe("INSERT INTO u VALUES (1)");
    }
    parent.safe("SAVEPOINT s");
    parent.safe("INSERT INTO t SELECT generate_series(1, 100)");
    parent.safe("COMMIT");
    // Where what nobody needs is removed, of the oldest that runs,
    cluster.safe_psql("postgres", "CHECKPOINT");
    let first = cluster.data_dir().join("pg_subtrans/0000");
    assert!(!first.exists(), "what is older is still there");
    // and a worker that has not seen the end of it.
    forget_running(&cluster);
    cluster.safe_psql("postgres", "SELECT garbage_base_scan('t')");
    let map = "SELECT n_tuples, exact FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", map), "100|t");
    assert_eq!(cluster.plugin("garbagemap", "errors"), "0");
    other.safe("COMMIT");
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn held_garbage_names_its_holder() {
    let cluster = Cluster::with_walker("horizon", &[], "max_prepared_transactions = 2");
    let mut other = walker_tests::Session::open(&cluster, "postgres");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT g FROM generate_series(1, 1000) AS g",
    );
    let held = || {
        cluster.walker_wait();
        cluster.safe_psql(
            "postgres",
            "SELECT n_removable, n_kept, coalesce(held_by, 'nobody')
             FROM garbage_horizon WHERE relid = 't'::regclass",
        )
    };
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a <= 10");
    assert_eq!(held(), "10|0|nobody");

    other.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    other.safe("SELECT count(*) FROM t");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a BETWEEN 11 AND 30");
    let both = held();
    assert!(both.ends_with("|backend"), "{both}");
    let kept: i64 = both.split('|').nth(1).unwrap().parse().unwrap();
    assert!((20..=30).contains(&kept), "{both}");

    other.safe("COMMIT");
    cluster.safe_psql(
        "postgres",
        "BEGIN; INSERT INTO t VALUES (0); PREPARE TRANSACTION 'p'",
    );
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a BETWEEN 31 AND 60");
    assert!(held().ends_with("|prepared transaction"), "{}", held());
    cluster.safe_psql("postgres", "ROLLBACK PREPARED 'p'");
    // The prepared row is garbage at once, whatever anybody's horizon is.
    // The scans above may have pruned what was older.
    let removable = held();
    let count = removable.strip_suffix("|0|nobody").expect(&removable);
    assert!((31..=61).contains(&count.parse().unwrap()), "{removable}");
    cluster.safe_psql("postgres", "VACUUM t");
    assert_eq!(held(), "");
}

/// The worker ends, and the next one knows nothing of what it knew.
fn forget_running(cluster: &Cluster) {
    between_workers(cluster, || {
        std::fs::remove_dir_all(cluster.data_dir().join("pg_walker")).unwrap();
    });
    cluster.walker_wait();
}

/// The same with the server.
fn forget(cluster: &Cluster) {
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.stop(Mode::Fast);
    std::fs::remove_dir_all(cluster.data_dir().join("pg_walker")).unwrap();
    cluster.start();
    cluster.walker_wait();
}
