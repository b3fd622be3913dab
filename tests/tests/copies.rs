//! Pages that come to a table from elsewhere, and tables that are not logged
//! before their transaction ends.

use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

/// What copies a table logs pages with old tuples as new ones, deleted by
/// multixacts of which no WAL says anything any more.
#[test]
fn copied_tuples_with_an_old_multixact() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("copied");
    cluster.init();
    cluster.append_conf("autovacuum = off\nallow_in_place_tablespaces = on");
    cluster.start();
    cluster.safe_psql("postgres", "CREATE TABLESPACE other LOCATION ''");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text);
         ALTER TABLE t ALTER w SET STORAGE PLAIN;
         INSERT INTO t SELECT g, 0, repeat('x', 1000) FROM generate_series(1, 500) g",
    );
    let mut locking = Session::open(&cluster, "postgres");
    locking.safe("BEGIN");
    locking.safe("SELECT count(*) FROM (SELECT * FROM t WHERE a <= 300 FOR KEY SHARE) s");
    cluster.safe_psql("postgres", "UPDATE t SET v = 1 WHERE a <= 300");
    locking.safe("COMMIT");
    drop(locking);
    cluster.append_conf("shared_preload_libraries = 'walker'\nwalker.plugins = 'garbagemap'");
    cluster.restart();
    cluster.create_extensions("postgres");
    cluster.safe_psql("postgres", "ALTER TABLE t SET TABLESPACE other");
    cluster.safe_psql("postgres", "CREATE DATABASE copy TEMPLATE postgres");
    for database in ["postgres", "copy"] {
        cluster.walker_wait();
        let sums = "SELECT bool_and(exact), sum(n_dead_tuples) FROM garbage_map('t')";
        assert_eq!(cluster.safe_psql(database, sums), "t|300", "{database}");
        assert_map_exact(&cluster, database);
    }
}

/// Nothing that such a transaction does after it would be seen.
#[test]
fn a_scan_by_who_made_the_table() {
    if plain() {
        return;
    }
    let conf = "autovacuum = off\nwal_level = minimal\nmax_wal_senders = 0";
    let cluster = Cluster::with_walker("made", &[], conf);
    let mut session = Session::open(&cluster, "postgres");
    for begin in ["CREATE TABLE t (a int, b text)", "TRUNCATE t"] {
        session.safe("BEGIN");
        session.safe(begin);
        session.safe("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 30000) g");
        session.safe("SAVEPOINT s");
        let error = session.run("SELECT garbage_base_scan('t')");
        assert_eq!(error.expect_err(begin).sqlstate, "0A000");
        session.safe("ROLLBACK TO s");
        session.safe("SELECT garbage_base_scan()");
        session.safe("DELETE FROM t WHERE a % 2 = 0");
        session.safe("COMMIT");
        cluster.walker_wait();
        assert_map_exact(&cluster, "postgres");
        session.safe("SELECT garbage_base_scan('t')");
        assert_map_exact_and_known(&cluster, "postgres");
    }
}
