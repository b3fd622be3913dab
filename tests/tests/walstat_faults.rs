//! walstat where something is missing or broken.

use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

#[test]
fn without_the_plugin_it_says_what_is_missing() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("walstat-off");
    cluster.init();
    cluster.start();
    cluster.safe_psql("postgres", "CREATE EXTENSION walstat");
    for sql in ["SELECT * FROM wal_by_relation", "SELECT walstat_reset()"] {
        let error = cluster.psql("postgres", sql).expect_err(sql);
        assert_eq!(error.sqlstate, "55000", "{error}");
        assert!(
            error.message.contains("shared_preload_libraries"),
            "{error}"
        );
    }
    cluster.append_conf("shared_preload_libraries = 'walker'");
    cluster.restart();
    let error = cluster.psql("postgres", "SELECT * FROM wal_by_relation");
    let error = error.expect_err("no plugin");
    assert_eq!(error.sqlstate, "55000", "{error}");
    assert!(error.message.contains("walker.plugins"), "{error}");

    // Nor does it show what was true once.
    cluster.append_conf("walker.plugins = 'walstat'");
    cluster.restart();
    cluster.safe_psql("postgres", "CREATE EXTENSION walker");
    cluster.walker_wait();
    cluster.safe_psql("postgres", "SELECT * FROM wal_by_relation");
    cluster.append_conf("walker.plugins = ''");
    cluster.reload();
    cluster.poll_query_until("postgres", "SELECT count(*) FROM walker_plugins", "0");
    for sql in ["SELECT * FROM wal_by_relation", "SELECT walstat_reset()"] {
        let error = cluster.psql("postgres", sql).expect_err(sql);
        assert_eq!(error.sqlstate, "55000", "{error}");
    }
}

#[test]
fn a_bad_state_file_is_set_aside() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("walstat-bad");
    cluster.init();
    cluster.append_conf("shared_preload_libraries = 'walker'\nwalker.plugins = 'walstat'");
    cluster.start();
    cluster.safe_psql(
        "postgres",
        "CREATE EXTENSION walker; CREATE EXTENSION walstat",
    );
    cluster.safe_psql("postgres", "CREATE TABLE w (a int); CHECKPOINT");
    cluster.stop(Mode::Fast);
    let file = cluster.data_dir().join("pg_walker/walstat");
    let mut bytes = std::fs::read(&file).expect("a state file");
    *bytes.last_mut().expect("a payload") ^= 0xFF;
    std::fs::write(&file, bytes).expect("written");
    cluster.start();
    cluster.safe_psql("postgres", "INSERT INTO w VALUES (1)");
    cluster.walker_wait();
    let counted = "SELECT records FROM wal_by_relation
                   WHERE relid = 'w'::regclass AND rmgr = 'Heap'";
    assert_eq!(cluster.safe_psql("postgres", counted), "1");
    assert!(cluster.log_from(0).contains("ignoring the state file"));
    assert!(cluster.data_dir().join("pg_walker/walstat.bad").exists());
}
