//! The harness itself, on servers without walker: what the other tests stand
//! on must be sound before they are believed.

use std::time::Duration;
use walker_tests::cluster::children;
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::psql::psql_file;
use walker_tests::{Cluster, Mode, Session};

#[test]
fn life_of_a_cluster() {
    let cluster = Cluster::new("life");
    cluster.init();
    cluster.start();
    cluster.safe_psql("postgres", "CREATE TABLE t AS SELECT 1 AS a");
    for mode in [Mode::Smart, Mode::Fast, Mode::Immediate] {
        cluster.stop(mode);
        assert_eq!(cluster.postmaster_pid(), None);
        cluster.start();
        assert_eq!(cluster.safe_psql("postgres", "SELECT * FROM t"), "1");
    }
    let offset = cluster.log_offset();
    cluster.append_conf("log_statement = all");
    cluster.reload();
    cluster.poll_query_until("postgres", "SHOW log_statement", "all");
    cluster.safe_psql("postgres", "SELECT 'a mark'");
    cluster.wait_for_log("SELECT 'a mark'", offset);

    let postmaster = cluster.postmaster_pid().expect("it runs");
    assert!(children(postmaster).len() > 3);
    cluster.kill9();
    assert_eq!(cluster.postmaster_pid(), None);
    cluster.start();
    cluster.wait_for_log("not properly shut down", offset);
    assert_eq!(psql_file(&cluster, "postgres", "SELECT * FROM t;\n"), "1\n");

    let error = cluster
        .psql("postgres", "SELECT 1/0")
        .expect_err("a division by zero");
    assert_eq!(error.sqlstate, "22012");
    cluster.append_conf("no_such_setting = 1");
    cluster.stop(Mode::Fast);
    assert!(cluster.try_start().is_err());
}

#[test]
fn sessions_block_and_go_on() {
    let cluster = Cluster::new("sessions");
    cluster.init();
    cluster.start();
    cluster.safe_psql("postgres", "CREATE TABLE t AS SELECT 1 AS a");
    let mut one = Session::open(&cluster, "postgres");
    let mut two = Session::open(&cluster, "postgres");
    one.safe("BEGIN");
    one.safe("UPDATE t SET a = 2");
    two.send("UPDATE t SET a = a + 10 RETURNING a");
    two.wait_blocked(&cluster);
    one.safe("COMMIT");
    assert_eq!(
        two.wait().expect("the second update"),
        [[Some("12".to_owned())]]
    );
    cluster.stop(Mode::Immediate);
    let error = two.run("SELECT 1").expect_err("the server is gone");
    assert_ne!(error.sqlstate, "22012");
}

#[test]
fn a_standby_follows_and_is_promoted() {
    let primary = Cluster::new("primary");
    primary.init();
    primary.start();
    let standby = Cluster::standby_of("standby", &primary);
    assert!(standby.is_standby());
    primary.safe_psql("postgres", "CREATE TABLE t AS SELECT 1 AS a");
    primary.wait_for_catchup(&standby);
    assert_eq!(standby.safe_psql("postgres", "SELECT a FROM t"), "1");
    assert_ne!(standby.current_lsn(), "");
    standby.promote();
    assert!(!standby.is_standby());
    standby.safe_psql("postgres", "INSERT INTO t VALUES (2)");
}

#[test]
fn pgbench_runs() {
    let cluster = Cluster::new("pgbench");
    cluster.init();
    cluster.start();
    Pgbench::init(&cluster, "postgres", 1);
    assert!(mixed(&cluster, "postgres", 2, 1).run() > 0.0);
    assert!(Pgbench::transactions(&cluster, "postgres", 2, 10).run() > 0.0);
    let running = mixed(&cluster, "postgres", 2, 1000).start();
    cluster.poll_query_until(
        "postgres",
        "SELECT count(*) >= 2 FROM pg_stat_activity WHERE application_name = 'pgbench'",
        "t",
    );
    let took = cluster.stop(Mode::Fast);
    assert!(took < Duration::from_secs(60), "{took:?}");
    running.wait_any();
}
