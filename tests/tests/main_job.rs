//! The main job: a real workload, then every count of the map equals a scan's
//! and every record has been counted.
//!
//! `WALKER_SCALE`, `WALKER_CLIENTS`, `WALKER_SECONDS` and `WALKER_STOPS` make
//! it longer than `make check` can afford.

use std::time::Duration;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known, databases};
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::poll::env_number;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, waldump};

/// pg_waldump must still find all that walker has read.
const KEEP_WAL: &str = "max_wal_size = '4GB'\nwal_keep_size = '16GB'\nautovacuum_naptime = 1";

fn clients() -> u64 {
    env_number("WALKER_CLIENTS", 4)
}

fn seconds() -> u64 {
    env_number("WALKER_SECONDS", 10)
}

#[test]
fn every_count_equals_the_scan() {
    let cluster = Cluster::with_walker("main", &[], KEEP_WAL);
    Pgbench::init(&cluster, "postgres", env_number("WALKER_SCALE", 2));
    mixed(&cluster, "postgres", clients(), seconds()).run();

    let checks = assert_map_exact_and_known(&cluster, "postgres");
    let total: i64 = checks.iter().map(|c| c.scan).sum();
    eprintln!("{} relations compared, {total} dead tuples", checks.len());
    for table in [
        "pgbench_accounts",
        "pgbench_branches",
        "pgbench_tellers",
        "pgbench_history",
    ] {
        assert!(
            checks.iter().any(|c| c.name == table),
            "{table} was not compared"
        );
    }
    for database in databases(&cluster) {
        assert_map_exact(&cluster, &database);
    }
    if !plain() {
        every_record_is_counted(&cluster);
    }
}

fn every_record_is_counted(cluster: &Cluster) {
    let (from, to, counted) = cluster.rmgr_stats();
    assert!(
        counted.len() > 5,
        "only {} resource managers: {counted:?}",
        counted.len()
    );
    let dumped = waldump::stats(cluster, &from, &to);
    assert_eq!(
        counted, dumped,
        "walker_rmgr_stats and pg_waldump differ from {from} to {to}"
    );
}

#[test]
fn a_standby_counts_the_same() {
    let primary = Cluster::with_walker("primary", &[], "autovacuum_naptime = 1");
    let standby = Cluster::standby_of("standby", &primary);
    Pgbench::init(&primary, "postgres", 1);
    mixed(&primary, "postgres", clients(), seconds().min(5)).run();
    primary.wait_for_catchup(&standby);
    assert_map_exact_and_known(&standby, "postgres");

    primary.stop(Mode::Fast);
    standby.promote();
    mixed(&standby, "postgres", clients(), seconds().min(3)).run();
    assert_map_exact_and_known(&standby, "postgres");
}

#[test]
fn fast_shutdown_is_fast() {
    let cluster = Cluster::with_walker("stop", &[], "");
    Pgbench::init(&cluster, "postgres", 1);
    for attempt in 1..=env_number("WALKER_STOPS", 3) {
        stop_within_a_second(&cluster, &format!("idle, attempt {attempt}"));
        cluster.start();
        let load = mixed(&cluster, "postgres", clients(), 1000).start();
        cluster.poll_query_until(
            "postgres",
            "SELECT sum(n_tup_upd + n_tup_ins) > 500 FROM pg_stat_user_tables",
            "t",
        );
        stop_within_a_second(&cluster, &format!("under load, attempt {attempt}"));
        load.wait_any();
        cluster.start();
    }
}

fn stop_within_a_second(cluster: &Cluster, when: &str) {
    if !plain() {
        cluster.wait_for_state(&["streaming", "waiting", "catching up"]);
    }
    let took = cluster.stop(Mode::Fast);
    eprintln!("fast shutdown, {when}: {took:?}");
    assert!(
        took <= Duration::from_secs(1),
        "fast shutdown took {took:?}, {when}"
    );
}

#[test]
fn the_status_says_what_is() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("status", &[], "");
    cluster.walker_wait();
    let status = cluster.wait_for_state(&["streaming", "waiting"]);
    let has = |column: &str| status.get(column).cloned().unwrap_or_default();
    assert_eq!(has("timeline"), "1");
    for column in ["counted_from_lsn", "applied_lsn", "limit_lsn"] {
        assert!(has(column).contains('/'), "{column} of {status:#?}");
    }
    let pid: u32 = has("pid").parse().expect("a process ID");

    let sql = format!(
        "SELECT backend_type, wait_event_type IS NOT NULL, datname IS NULL, backend_xmin IS NULL
         FROM pg_stat_activity WHERE pid = {pid}"
    );
    cluster.poll_query_until("postgres", &sql, "walker|t|t|t");
    // The process title is where ps shows it.
    let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("a process");
    assert!(
        title.contains("walker") && title.contains("0/"),
        "process title \"{title}\""
    );

    let plugins = cluster.safe_psql(
        "postgres",
        "SELECT name, state, durable_lsn <= applied_lsn OR durable_lsn IS NULL,
                last_error IS NULL FROM walker_plugins",
    );
    assert_eq!(plugins, "garbagemap|running|t|t");

    let far = "SELECT walker_wait('FFFF/0', '50 ms')";
    assert_eq!(cluster.safe_psql("postgres", far), "f");
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT walker_wait(NULL, '1 s') IS NULL"),
        "t"
    );
}

#[test]
fn the_worker_comes_back() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("back", &[], "");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS a",
    );
    let pid = cluster.wait_for_state(&["streaming", "waiting"])["pid"].clone();
    cluster.safe_psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
    cluster.poll_query_until(
        "postgres",
        &format!("SELECT pid <> {pid} AND state <> 'not running' FROM walker_status"),
        "t",
    );
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a > 50");
    assert_map_exact(&cluster, "postgres");

    // Kill -9 of any process makes the postmaster start all over.
    let pid: u32 = cluster.wait_for_state(&["streaming", "waiting"])["pid"]
        .parse()
        .expect("pid");
    let offset = cluster.log_offset();
    walker_tests::cluster::signal("KILL", &[pid]);
    cluster.wait_for_log("ready to accept connections", offset);
    cluster.poll_query_until("postgres", "SELECT pid IS NOT NULL FROM walker_status", "t");
    cluster.safe_psql("postgres", "UPDATE t SET a = 0");
    assert_map_exact(&cluster, "postgres");
}
