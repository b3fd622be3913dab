//! How garbage came and went: every event once, whatever crashes.

use walker_tests::cluster::signal;
use walker_tests::poll::poll_until;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

const COUNTERS: &str = "SELECT dead_by_delete, dead_by_update, dead_by_abort,
    removed_by_pruning, coalesce(removed_by_vacuum, -1), hot_updates, other_updates,
    all_visible_lost FROM garbage_counters WHERE relid = 't'::regclass";

/// What the counters come to must be what happened; they are shown a moment
/// after the position.
fn expect(cluster: &Cluster, expected: &str) {
    cluster.walker_wait();
    cluster.poll_query_until("postgres", COUNTERS, expected);
}

fn run(cluster: &Cluster, statements: &[&str]) {
    for sql in statements {
        cluster.safe_psql("postgres", sql);
    }
}

#[test]
fn each_event_has_its_counter_and_counts_once() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker(
        "counters",
        &[],
        "autovacuum = off\nwalker.restart_interval = 1",
    );
    // Since 17 the WAL tells who prunes; before, all of it is pruning.
    let tells = cluster.server.major >= 17;
    // The first page has room for HOT updates, the others have not.
    run(
        &cluster,
        &[
            "CREATE TABLE t (a int PRIMARY KEY, b int, pad text) WITH (fillfactor = 50)",
            "INSERT INTO t SELECT g, g, repeat('x', 200) FROM generate_series(1, 1000) AS g",
            "VACUUM t",
        ],
    );
    let none = if tells { "0" } else { "-1" };
    expect(&cluster, &format!("0|0|0|0|{none}|0|0|0"));

    // One row on each of three pages; HOT, as there is room.
    run(&cluster, &["UPDATE t SET b = 0 WHERE a IN (1, 200, 400)"]);
    expect(&cluster, &format!("0|3|0|0|{none}|3|0|3"));
    // Not HOT, for the key changes.
    run(&cluster, &["UPDATE t SET a = -1 WHERE a = 802"]);
    expect(&cluster, &format!("0|4|0|0|{none}|3|1|4"));
    // A rollback: its updates were made, what it inserted is dead.
    run(
        &cluster,
        &["BEGIN; INSERT INTO t VALUES (2001), (2002); UPDATE t SET b = 1 WHERE a = 1; ROLLBACK"],
    );
    cluster.walker_wait();
    let aborted =
        "SELECT dead_by_abort, hot_updates FROM garbage_counters WHERE relid = 't'::regclass";
    cluster.poll_query_until("postgres", aborted, "3|4");
    run(&cluster, &["DELETE FROM t WHERE a BETWEEN 501 AND 600"]);
    let deleted = "SELECT dead_by_delete, dead_by_update, dead_by_abort FROM garbage_counters
                   WHERE relid = 't'::regclass";
    cluster.walker_wait();
    cluster.poll_query_until("postgres", deleted, "100|4|3");

    // What is removed by whom, and that all of it is.
    run(
        &cluster,
        &[
            "CALL garbage_prune('t')",
            "DELETE FROM t WHERE a BETWEEN 601 AND 650",
        ],
    );
    run(&cluster, &["VACUUM t"]);
    cluster.walker_wait();
    let sums = "SELECT removed_by_pruning + coalesce(removed_by_vacuum, 0)
                    = dead_by_delete + dead_by_update + dead_by_abort,
                    removed_by_pruning >= 100, dead_by_delete
                FROM garbage_counters WHERE relid = 't'::regclass";
    cluster.poll_query_until("postgres", sums, "t|t|150");
    if tells {
        let by = "SELECT removed_by_vacuum >= 50 FROM garbage_counters
                  WHERE relid = 't'::regclass";
        assert_eq!(cluster.safe_psql("postgres", by), "t");
    }

    // Across a crash of the worker, of the server, and a clean restart.
    let counted = cluster.safe_psql("postgres", COUNTERS);
    signal("KILL", &[cluster.worker_pid()]);
    // Until the postmaster has seen it, the server answers as before.
    poll_until("the server to restart all processes", || {
        (cluster.server_starts() == 2).then_some(())
    });
    cluster.poll_query_until("postgres", "SELECT count(*) FROM walker_status", "1");
    cluster.wait_for_state(&["waiting", "streaming"]);
    expect(&cluster, &counted);
    run(&cluster, &["CHECKPOINT", "DELETE FROM t WHERE a = 700"]);
    let counted_after_delete = |cluster: &Cluster| {
        cluster.walker_wait();
        let sql = "SELECT dead_by_delete FROM garbage_counters WHERE relid = 't'::regclass";
        cluster.poll_query_until("postgres", sql, "151");
    };
    counted_after_delete(&cluster);
    cluster.stop(Mode::Immediate);
    cluster.start();
    counted_after_delete(&cluster);
    cluster.restart();
    counted_after_delete(&cluster);

    // A new file begins anew.
    run(&cluster, &["TRUNCATE t"]);
    cluster.walker_wait();
    let gone =
        "SELECT coalesce(sum(dead_by_delete), 0) FROM garbage_counters WHERE relid = 't'::regclass";
    cluster.poll_query_until("postgres", gone, "0");
}

#[test]
fn rates_follow_what_happens() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("rates", &[], "autovacuum = off");
    run(
        &cluster,
        &[
            "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10000) AS g",
            "DELETE FROM t WHERE a <= 5000",
        ],
    );
    cluster.walker_wait();
    // A second or two have passed: far more than 50 in a second, fewer than
    // all of them.
    let rate = "SELECT created_per_second_5m BETWEEN 50 AND 5001, removed_per_second_5m = 0,
                       created_per_second_1h BETWEEN 50 AND 5001
                FROM garbage_counters WHERE relid = 't'::regclass";
    cluster.poll_query_until("postgres", rate, "t|t|t");
    run(&cluster, &["VACUUM t"]);
    cluster.walker_wait();
    let removed =
        "SELECT removed_per_second_5m > 50 FROM garbage_counters WHERE relid = 't'::regclass";
    cluster.poll_query_until("postgres", removed, "t");
}

/// Sequences and indexes of any kind have no place in the map, which has not room for
/// any number of them.
#[test]
fn what_is_no_table_takes_no_room() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("no_table", &[], "autovacuum = off");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int[], c point, d text)",
    );
    let make = |n: u32| {
        for (kind, column) in [
            ("brin", "a"),
            ("btree", "a"),
            ("hash", "a"),
            ("gin", "b"),
            ("gist", "c"),
            ("spgist", "c"),
        ] {
            let index = format!("CREATE INDEX {kind}{n} ON t USING {kind} ({column})");
            cluster.safe_psql("postgres", &index);
        }
        cluster.safe_psql("postgres", &format!("CREATE SEQUENCE s{n}"));
        cluster.walker_wait();
        cluster.safe_psql("postgres", "SELECT relations FROM garbage_status")
    };
    // The catalogs come with the first of each.
    let before = make(1);
    for n in 2..6 {
        assert_eq!(make(n), before);
    }
}
