//! A disk that does not answer: state becomes durable when it does, and
//! nothing waits for that meanwhile.

use std::fs;
use std::time::Duration;
use walker_tests::oracle::assert_map_exact_and_known;
use walker_tests::plugins::{Library, Setup};
use walker_tests::poll::poll_until;
use walker_tests::{Cluster, Mode};

const PLUGINS: &str = "garbagemap, walstat, listener";

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_plugins(
        name,
        &Setup {
            libraries: &[Library::c("listener"), Library::c("slow_disk")],
            plugins: PLUGINS,
            interpose: "slow_disk",
            conf: "fsync = on\nsynchronous_commit = off",
            ..Setup::default()
        },
    );
    cluster.create_extensions("postgres");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10000) g; CHECKPOINT",
    );
    cluster.walker_wait();
    cluster.wait_for_durable_plugins();
    cluster
}

fn durable(cluster: &Cluster) -> Vec<String> {
    let names = PLUGINS.split(", ");
    names
        .map(|name| cluster.plugin(name, "durable_lsn"))
        .collect()
}

/// The worker wants to write all states, and the disk does not let it.
fn block(cluster: &Cluster) {
    fs::write(cluster.data_dir().join("slow_disk"), "").expect("a file");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 2 = 0; CHECKPOINT");
    cluster.walker_wait();
    poll_until("somebody to wait for the disk", || {
        let waits = cluster.data_dir().join("slow_disk.waits");
        waits.exists().then_some(())
    });
}

fn unblock(cluster: &Cluster) {
    fs::remove_file(cluster.data_dir().join("slow_disk")).expect("the file");
}

#[test]
fn nothing_waits_for_the_disk() {
    let cluster = cluster("slow disk");
    let before = durable(&cluster);
    block(&cluster);

    // WAL is read, barriers are answered, numbers are right.
    for turn in 0..3 {
        let sql = format!("UPDATE t SET a = a WHERE a % 10 = {turn}; CHECKPOINT");
        cluster.safe_psql("postgres", &sql);
        assert_map_exact_and_known(&cluster, "postgres");
    }
    cluster.safe_psql("postgres", "CREATE DATABASE other");
    cluster.safe_psql("postgres", "DROP DATABASE other");
    assert_eq!(durable(&cluster), before, "nothing is durable yet");

    unblock(&cluster);
    for (name, before) in PLUGINS.split(", ").zip(before) {
        let sql =
            format!("SELECT durable_lsn > '{before}' FROM walker_plugins WHERE name = '{name}'");
        cluster.poll_query_until("postgres", &sql, "t");
    }
    let longest = "SELECT state_write_longest_ms FROM garbage_status";
    eprintln!(
        "the longest stall: {} ms",
        cluster.safe_psql("postgres", longest)
    );
    cluster.restart();
    assert_map_exact_and_known(&cluster, "postgres");
}

#[test]
fn a_server_stops_though_the_disk_does_not_answer() {
    let cluster = cluster("slow disk, stop");
    block(&cluster);
    let took = cluster.stop(Mode::Fast);
    // Each plugin is given five seconds, and those with a state of before five
    // more.
    assert!(took < Duration::from_secs(45), "the stop took {took:?}");
    unblock(&cluster);
    cluster.start();
    assert_map_exact_and_known(&cluster, "postgres");
}

#[test]
fn a_state_that_never_arrived_is_no_state() {
    let cluster = cluster("slow disk, kill");
    block(&cluster);
    cluster.kill9();
    unblock(&cluster);
    cluster.start();
    assert_map_exact_and_known(&cluster, "postgres");
}
