//! Whatever the worker does, nobody waits for it: databases and tablespaces
//! come and go, standbys replay, servers stop.

use std::time::{Duration, Instant};
use walker_tests::cluster::signal;
use walker_tests::oracle::assert_map_exact;
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::poll::{env_number, poll_until};
use walker_tests::server::{output, run, text};
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, Session};

const CONF: &str = "autovacuum = off\nwal_keep_size = '4GB'\nwalker.restart_interval = '1s'";

/// Megabytes of WAL the worker has before it when it must not be in the way.
fn backlog() -> u64 {
    env_number("WALKER_BACKLOG", 300)
}

/// WAL that takes work: the worker stops before it and reads it afterwards.
fn fall_behind(cluster: &Cluster) {
    cluster.stop_waiting_worker();
    cluster.safe_psql("postgres", "CREATE TABLE IF NOT EXISTS big (a int, b text)");
    let insert = "INSERT INTO big SELECT g, repeat('x', 200) FROM generate_series(1, 200000) g";
    let start = cluster.current_lsn();
    let enough = format!(
        "SELECT pg_current_wal_insert_lsn() - '{start}' > {}",
        backlog() << 20
    );
    while cluster.safe_psql("postgres", &enough) != "t" {
        cluster.safe_psql("postgres", insert);
        cluster.safe_psql("postgres", "DELETE FROM big WHERE a % 3 = 0");
        cluster.safe_psql("postgres", "TRUNCATE big");
    }
}

fn catch_up(cluster: &Cluster) {
    signal("CONT", &[cluster.worker_pid()]);
}

/// What waits for every process, or looks whether one is in the database.
fn statements(directory: &str) -> Vec<String> {
    let statements = [
        "CREATE DATABASE one TEMPLATE template0 STRATEGY file_copy",
        "CREATE DATABASE two TEMPLATE postgres",
        "DROP DATABASE one",
        "ALTER DATABASE two RENAME TO three",
        "CREATE TABLESPACE away LOCATION '{}'",
        "ALTER DATABASE three SET TABLESPACE away",
        "ALTER DATABASE three SET TABLESPACE pg_default",
        "DROP TABLESPACE away",
        "DROP DATABASE three",
        "DROP DATABASE postgres",
        "CREATE DATABASE postgres TEMPLATE template1",
    ];
    let named = statements.iter().map(|s| s.replace("{}", directory));
    named.collect()
}

fn all_at_once(cluster: &Cluster, when: &str) {
    let directory = cluster.path("away");
    if !directory.exists() {
        std::fs::create_dir(&directory).expect("a directory");
        cluster.server.give(&directory);
    }
    let limit = Duration::from_millis(env_number("WALKER_LATENCY_MS", 1000));
    let mut longest = (Duration::ZERO, String::new());
    // As template1 would be in use, from a database of its own.
    let mut session = Session::open(cluster, "other");
    for sql in statements(&directory.to_string_lossy()) {
        let began = Instant::now();
        session.safe(&sql);
        longest = longest.max((began.elapsed(), sql));
    }
    eprintln!("{when}: the longest was {} with {:?}", longest.1, longest.0);
    assert!(
        longest.0 <= limit,
        "{when}: {} took {:?}",
        longest.1,
        longest.0
    );
}

#[test]
fn databases_and_tablespaces() {
    let cluster = Cluster::with_walker("ways", &[], CONF);
    cluster.safe_psql("postgres", "CREATE DATABASE other");
    all_at_once(&cluster, "idle");
    if plain() {
        return;
    }
    cluster.create_extensions("postgres");
    fall_behind(&cluster);
    catch_up(&cluster);
    all_at_once(&cluster, "behind");
    cluster.create_extensions("postgres");
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
    let log = cluster.log_from(0);
    assert!(!log.contains("ERROR:"), "{log}");
}

#[test]
fn replay_on_a_standby() {
    if plain() {
        return;
    }
    let primary = Cluster::with_walker("sender", &[], CONF);
    let standby = Cluster::standby_of("replayer", &primary);
    primary.safe_psql("postgres", "CREATE DATABASE other");
    primary.wait_for_catchup(&standby);
    let before = "SELECT count(*) FROM pg_stat_database_conflicts";
    standby.safe_psql("postgres", before);
    fall_behind_on(&standby, &primary);
    signal("CONT", &[standby.worker_pid()]);
    let began = Instant::now();
    for sql in [
        "CREATE DATABASE gone",
        "DROP DATABASE gone",
        "DROP DATABASE other",
    ] {
        primary.safe_psql("postgres", sql);
    }
    primary.wait_for_catchup(&standby);
    let took = began.elapsed();
    eprintln!("replay of dropped databases: {took:?}");
    assert!(took <= Duration::from_secs(3), "replay waited {took:?}");
    assert_map_exact(&standby, "postgres");
}

/// The standby's worker sleeps while the primary writes.
fn fall_behind_on(standby: &Cluster, primary: &Cluster) {
    standby.stop_waiting_worker();
    Pgbench::init(primary, "postgres", 5);
    primary.wait_for_catchup(standby);
}

fn stop_in_time(cluster: &Cluster, mode: Mode, when: &str) {
    let took = cluster.stop(mode);
    eprintln!("{mode:?} stop, {when}: {took:?}");
    let limit = Duration::from_millis(env_number("WALKER_STOP_MS", 1000));
    assert!(took <= limit, "{mode:?} stop took {took:?}, {when}");
    cluster.start();
}

#[test]
fn stops_in_every_state() {
    if plain() {
        return;
    }
    let conf = format!("{CONF}\nfull_page_writes = off\nmax_wal_size = '8GB'");
    let cluster = Cluster::with_walker("stops", &[], &conf);
    Pgbench::init(&cluster, "postgres", 1);
    for mode in [Mode::Fast, Mode::Smart, Mode::Immediate] {
        cluster.wait_for_state(&["waiting"]);
        stop_in_time(&cluster, mode, "waiting");
        // As soon as it takes connections: the worker has hardly begun.
        stop_in_time(&cluster, mode, "starting");
        let load = mixed(&cluster, "postgres", 2, 1000).start();
        let records = cluster.walker_status()["records"].clone();
        let more = format!("SELECT records > {records} + 1000 FROM walker_status");
        cluster.poll_query_until("postgres", &more, "t");
        if mode != Mode::Smart {
            stop_in_time(&cluster, mode, "streaming");
        }
        load.wait_any();
        let nobody = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'";
        cluster.poll_query_until("postgres", nobody, "0");
        fall_behind(&cluster);
        cluster.safe_psql("postgres", "CHECKPOINT");
        catch_up(&cluster);
        stop_in_time(&cluster, mode, "catching up");
    }
    // A smart stop that waits for a session does not lose the worker before.
    let mut session = Session::open(&cluster, "postgres");
    session.safe("CREATE TABLE late (a int)");
    let mut stop = cluster.server.command("pg_ctl");
    stop.args(["stop", "-m", "smart", "-W", "-D"])
        .arg(cluster.data_dir());
    run(&mut stop);
    session.safe("INSERT INTO late VALUES (1)");
    drop(session);
    poll_until("the server to stop", || {
        cluster.postmaster_pid().is_none().then_some(())
    });
    cluster.start();
    assert_map_exact(&cluster, "postgres");
    let log = cluster.log_from(0);
    assert!(
        !log.contains("PANIC:") && !log.contains("exited with exit code 2"),
        "{log}"
    );
}

#[test]
fn no_room_for_a_worker() {
    if plain() {
        return;
    }
    let cluster =
        Cluster::with_walker("workers", &[], &format!("{CONF}\nmax_worker_processes = 8"));
    cluster.append_conf("max_worker_processes = 0\nmax_logical_replication_workers = 0");
    cluster.restart();
    let state = "SELECT state, pid IS NULL FROM walker_status";
    assert_eq!(cluster.safe_psql("postgres", state), "not running|t");
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT walker_wait('FFFF/0', '10 ms')"),
        "f"
    );
    cluster.append_conf("max_worker_processes = 8");
    cluster.restart();
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn single_user_mode() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("single", &[], CONF);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a",
    );
    cluster.walker_wait();
    cluster.stop(Mode::Fast);
    let sql = cluster.path("single.sql");
    let statements = "DELETE FROM t WHERE a < 500;\nSELECT state FROM walker_status;\n";
    std::fs::write(&sql, statements).expect("a file");
    let mut single = cluster.server.command("postgres");
    single
        .args(["--single", "-D"])
        .arg(cluster.data_dir())
        .arg("postgres");
    single.stdin(std::fs::File::open(&sql).expect("the file"));
    let output = output(&mut single);
    let printed = text(&output) + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("not running"), "{printed}");
    // What was written then is read now.
    cluster.start();
    assert_map_exact(&cluster, "postgres");
    let garbage = "SELECT sum(n_dead_tuples) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", garbage), "499");
}

#[test]
fn holds_nothing_back() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("horizon", &[], CONF);
    Pgbench::init(&cluster, "postgres", 1);
    let load = mixed(&cluster, "postgres", 2, 1000).start();
    let sql = "SELECT count(*) FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL
                                       OR datid IS NOT NULL), count(*)
               FROM pg_stat_activity WHERE backend_type = 'walker'";
    for _ in 0..env_number("WALKER_LOOKS", 200) {
        assert_eq!(cluster.safe_psql("postgres", sql), "0|1");
    }
    let locks = format!(
        "SELECT count(*) FROM pg_locks WHERE pid = {}",
        cluster.worker_pid()
    );
    assert_eq!(cluster.safe_psql("postgres", &locks), "0");
    load.end();
    // A normal day: no line in the log that worries anybody.
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_map_exact(&cluster, "postgres");
    cluster.restart();
    cluster.walker_wait();
    let log = cluster.log_from(0);
    let worries = [
        "WARNING:",
        "ERROR:",
        "PANIC:",
        "walker lost",
        "walker  FATAL:",
    ];
    let found: Vec<_> = log
        .lines()
        .filter(|line| worries.iter().any(|w| line.contains(w)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
