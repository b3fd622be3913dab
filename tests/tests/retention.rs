//! WAL that is removed before it was read, and the slot that prevents it.

use walker_tests::cluster::signal;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::plugins::Library;
use walker_tests::poll::poll_until;
use walker_tests::server::run;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, Session};

/// Small segments, none kept: a few megabytes of WAL and a checkpoint, and
/// what was not read in time is gone.
const CONF: &str = "wal_keep_size = 0
min_wal_size = '2MB'
max_wal_size = '4MB'
autovacuum = off
walker.restart_interval = '1s'";

fn cluster(name: &str, conf: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &["--wal-segsize=1"], &format!("{CONF}\n{conf}"));
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 5000) g;
         DELETE FROM t WHERE a % 5 = 0;
         CREATE TABLE small AS SELECT 1 AS a",
    );
    assert_map_exact_and_known(&cluster, "postgres");
    cluster
}

/// WAL that concerns no table.
fn fill(cluster: &Cluster, megabytes: u32) {
    let sql = format!(
        "SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1024 * 1024)))
         FROM generate_series(1, {megabytes})"
    );
    cluster.safe_psql("postgres", &sql);
    cluster.flush_wal();
}

/// What the worker sleeps through.
fn while_it_sleeps(cluster: &Cluster, megabytes: u32) {
    cluster.stop_waiting_worker();
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 5 = 1");
    for _ in 0..2 {
        fill(cluster, megabytes);
        cluster.safe_psql("postgres", "CHECKPOINT");
    }
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 5 = 2 AND a < 100");
}

fn wake(cluster: &Cluster) {
    signal("CONT", &[cluster.worker_pid()]);
}

fn status(cluster: &Cluster, columns: &str) -> String {
    cluster.safe_psql("postgres", &format!("SELECT {columns} FROM walker_status"))
}

fn exact(cluster: &Cluster, table: &str) -> String {
    let sql = format!("SELECT bool_and(exact) FROM garbage_map('{table}')");
    cluster.safe_psql("postgres", &sql)
}

fn wal_megabytes(cluster: &Cluster) -> u32 {
    let sql = "SELECT sum(size) / 1024 / 1024 FROM pg_ls_waldir()";
    let size = cluster.safe_psql("postgres", &format!("SELECT ({sql})::int"));
    size.parse().expect("a number")
}

fn count(log: &str, what: &str) -> usize {
    log.matches(what).count()
}

#[test]
fn lost_wal_is_a_gap_that_heals() {
    if plain() {
        return;
    }
    let cluster = cluster("gap", "");
    assert_eq!(status(&cluster, "gaps, last_gap_from IS NULL"), "0|t");
    let offset = cluster.log_offset();
    while_it_sleeps(&cluster, 8);
    wake(&cluster);
    cluster.walker_wait();

    assert_eq!(status(&cluster, "gaps, last_gap_from < last_gap_to"), "1|t");
    let log = cluster.log_from(offset);
    assert_eq!(count(&log, "WARNING:  walker lost the WAL from"), 1);
    assert_eq!(count(&log, "WARNING:"), 1, "{log}");
    // What is not known is not claimed, and what is claimed is right.
    assert_map_exact(&cluster, "postgres");
    assert_eq!(exact(&cluster, "small"), "f");

    // By itself: the first change of a page after a checkpoint has its image.
    cluster.safe_psql("postgres", "CHECKPOINT; UPDATE small SET a = 2");
    cluster.walker_wait();
    assert_eq!(exact(&cluster, "small"), "t");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    let checks = assert_map_exact_and_known(&cluster, "postgres");
    assert!(checks.iter().all(|c| c.exact));

    // The gap is not met again.
    cluster.restart();
    cluster.walker_wait();
    assert_eq!(status(&cluster, "gaps"), "0");
    assert_map_exact_and_known(&cluster, "postgres");
}

/// What plugins show of a gap they show before the worker says that it is behind it.
#[test]
fn plugins_are_polled_behind_a_gap_first() {
    if plain() {
        return;
    }
    let cluster = cluster("polled", "");
    cluster.build_libraries(&[Library::c("gaps")]);
    cluster.append_conf(&format!(
        "dynamic_library_path = '{}:$libdir'\nwalker.plugins = 'gaps, garbagemap'",
        cluster.library_dir().display()
    ));
    cluster.reload();
    cluster.wait_for_plugin("gaps", "running");
    cluster.walker_wait();
    let offset = cluster.log_offset();
    while_it_sleeps(&cluster, 8);
    wake(&cluster);
    cluster.walker_wait();
    let log = cluster.log_from(offset);
    let in_time = "LOG:  walker plugin \"gaps\": polled in time";
    assert_eq!(count(&log, in_time), 1, "{log}");
    assert_map_exact(&cluster, "postgres");
}

/// With `wal_level = minimal` a table that was made is full before its WAL says
/// anything, and the record of the change may be in WAL that is lost.
#[test]
fn a_gap_hides_a_change_of_wal_level() {
    if plain() {
        return;
    }
    let cluster = cluster("level", "max_wal_senders = 0\nwal_skip_threshold = 0");
    // Sets the level while no worker runs, and loses the WAL that tells of it.
    let unseen = |level: &str| {
        cluster.stop(Mode::Fast);
        cluster.append_conf(&format!(
            "wal_level = {level}\nshared_preload_libraries = ''"
        ));
        cluster.start();
        for _ in 0..2 {
            fill(&cluster, 8);
            cluster.safe_psql("postgres", "CHECKPOINT");
        }
        cluster.stop(Mode::Fast);
        cluster.append_conf("shared_preload_libraries = 'walker'");
        cluster.start();
        cluster.walker_wait();
        assert_eq!(status(&cluster, "gaps"), "1", "{level}");
    };
    let make = |table: &str| {
        let sql = format!(
            "BEGIN;
             CREATE TABLE {table} AS SELECT g AS a FROM generate_series(1, 10000) AS g;
             DELETE FROM {table} WHERE a % 3 = 0;
             COMMIT"
        );
        cluster.safe_psql("postgres", &sql);
        cluster.walker_wait();
        assert_map_exact(&cluster, "postgres");
    };

    unseen("minimal");
    make("unlogged_yet");
    assert_eq!(exact(&cluster, "unlogged_yet"), "f");
    unseen("replica");
    make("logged");
    assert_eq!(exact(&cluster, "logged"), "t");
}

#[test]
fn a_slot_keeps_what_was_not_read() {
    if plain() {
        return;
    }
    let cluster = cluster("kept", "walker.slot_name = 'keeper'");
    let restart_lsn = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'keeper'";
    let before = cluster.safe_psql("postgres", restart_lsn);
    while_it_sleeps(&cluster, 8);
    assert!(wal_megabytes(&cluster) >= 16, "the slot keeps nothing");
    wake(&cluster);
    assert_map_exact_and_known(&cluster, "postgres");
    assert_eq!(status(&cluster, "gaps, slot"), "0|keeper");

    // State becomes durable, the slot follows, WAL goes.
    let moved = format!("SELECT restart_lsn > '{before}' FROM ({restart_lsn}) s");
    poll_until("WAL to be removed", || {
        cluster.safe_psql("postgres", "CHECKPOINT");
        cluster.walker_wait();
        (wal_megabytes(&cluster) <= 8).then_some(())
    });
    assert_eq!(cluster.safe_psql("postgres", &moved), "t");

    // It survives a crash, and goes when it is no longer wanted.
    cluster.stop(Mode::Immediate);
    cluster.start();
    cluster.walker_wait();
    assert_eq!(status(&cluster, "slot"), "keeper");
    cluster.append_conf("walker.slot_name = 'other'");
    cluster.reload();
    let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
    cluster.poll_query_until("postgres", slots, "other");
    // Also if the worker has to leave before it sees that.
    let worker = cluster.stop_waiting_worker();
    cluster.append_conf("walker.slot_name = 'third'");
    cluster.reload();
    cluster.safe_psql(
        "postgres",
        &format!("SELECT pg_terminate_backend({worker})"),
    );
    signal("CONT", &[worker]);
    cluster.poll_query_until("postgres", slots, "third");
    cluster.append_conf("walker.slot_name = ''");
    cluster.reload();
    cluster.poll_query_until("postgres", slots, "");
    cluster.poll_query_until(
        "postgres",
        "SELECT slot IS NULL AND pid > 0 FROM walker_status",
        "t",
    );
    assert_map_exact_and_known(&cluster, "postgres");
}

#[test]
fn a_slot_never_retains_too_much() {
    if plain() {
        return;
    }
    let conf = "walker.slot_name = 'bounded'
        walker.max_retained_wal = '16MB'
        checkpoint_timeout = '1h'
        max_wal_size = '1GB'";
    let cluster = cluster("bounded", conf);
    // No checkpoint, much WAL: the slot must follow by state that is written
    // for its sake.
    for _ in 0..8 {
        fill(&cluster, 6);
        cluster.walker_wait();
    }
    let log = cluster.log_from(0);
    assert_eq!(count(&log, "walker drops replication slot"), 0, "{log}");
    assert_eq!(status(&cluster, "slot"), "bounded");

    // It looks at the slot once a second.
    let long_enough = || {
        let asleep =
            "SELECT clock_timestamp() > caught_up_at + interval '1.5 s' FROM walker_status";
        cluster.poll_query_until("postgres", asleep, "t");
    };
    // What the server keeps for a crash is not the slot's fault.
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.wait_for_durable_plugins();
    cluster.stop_waiting_worker();
    fill(&cluster, 24);
    long_enough();
    wake(&cluster);
    cluster.walker_wait();
    let log = cluster.log_from(0);
    assert_eq!(count(&log, "walker drops replication slot"), 0, "{log}");
    assert_eq!(status(&cluster, "slot"), "bounded");

    // A worker that cannot follow gives the slot up.
    cluster.append_conf("max_wal_size = '4MB'");
    cluster.reload();
    let offset = cluster.log_offset();
    while_it_sleeps(&cluster, 16);
    long_enough();
    wake(&cluster);
    cluster.wait_for_log(
        "WARNING:  walker drops replication slot \"bounded\"",
        offset,
    );
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
    assert_eq!(status(&cluster, "slot IS NULL"), "t");
    cluster.safe_psql("postgres", "CHECKPOINT");
    fill(&cluster, 1);
    cluster.safe_psql("postgres", "CHECKPOINT");
    assert!(wal_megabytes(&cluster) <= 8);

    // A new worker makes it anew.
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    cluster.poll_query_until("postgres", "SELECT slot FROM walker_status", "bounded");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_map_exact_and_known(&cluster, "postgres");
}

/// The server renames the directory of a slot before it removes it.
#[test]
fn a_slot_that_cannot_be_dropped_goes_later() {
    if plain() {
        return;
    }
    let conf = "walker.slot_name = 'stays'\nwalker.max_retained_wal = '16MB'";
    let cluster = cluster("stays", conf);
    let in_the_way = cluster.data_dir().join("pg_replslot/stays.tmp");
    std::fs::create_dir_all(in_the_way.join("full")).expect("a directory");
    let offset = cluster.log_offset();
    while_it_sleeps(&cluster, 16);
    // It looks at the slot once a second.
    let asleep = "SELECT clock_timestamp() > caught_up_at + interval '1.5 s' FROM walker_status";
    cluster.poll_query_until("postgres", asleep, "t");
    wake(&cluster);
    cluster.wait_for_log("walker could not drop replication slot \"stays\"", offset);
    cluster.walker_wait();
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(cluster.safe_psql("postgres", slots), "1");
    assert_eq!(status(&cluster, "slot IS NULL"), "t");

    std::fs::remove_dir_all(&in_the_way).expect("the directory");
    cluster.poll_query_until("postgres", slots, "0");
    // Not taken first, to be given up once more.
    let log = cluster.log_from(offset);
    assert_eq!(count(&log, "walker drops replication slot"), 1, "{log}");
    assert_eq!(count(&log, "walker could not drop"), 1, "{log}");
    cluster.safe_psql("postgres", "CHECKPOINT");
    fill(&cluster, 1);
    cluster.safe_psql("postgres", "CHECKPOINT");
    assert!(wal_megabytes(&cluster) <= 8);
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn an_invalidated_slot_is_made_anew() {
    if plain() {
        return;
    }
    let conf = "walker.slot_name = 'invalid'\nmax_slot_wal_keep_size = '6MB'";
    let cluster = cluster("invalid", conf);
    let offset = cluster.log_offset();
    let pid = cluster.stop_waiting_worker();
    fill(&cluster, 24);
    // The checkpointer asks the slot's owner to go, and waits for it.
    let mut session = Session::open(&cluster, "postgres");
    session.send("CHECKPOINT");
    cluster.wait_for_log("to release replication slot \"invalid\"", offset);
    wake(&cluster);
    session.wait().expect("a checkpoint");
    let again = format!("SELECT slot FROM walker_status WHERE pid <> {pid}");
    cluster.poll_query_until("postgres", &again, "invalid");
    cluster.walker_wait();
    let log = cluster.log_from(offset);
    assert_eq!(count(&log, "ERROR:"), 0, "{log}");
    assert_map_exact(&cluster, "postgres");
    cluster.safe_psql(
        "postgres",
        "DELETE FROM t WHERE a % 5 = 3; SELECT garbage_base_scan()",
    );
    assert_map_exact_and_known(&cluster, "postgres");
}

/// Runs on without it, and says so once.
fn runs_without(cluster: &Cluster, offset: usize, why: &str) {
    let warning = "WARNING:  walker could not use replication slot \"walker\"";
    cluster.wait_for_log(warning, offset);
    cluster.safe_psql("postgres", "UPDATE t SET b = b + 1 WHERE a < 500");
    cluster.walker_wait();
    assert_map_exact(cluster, "postgres");
    let last = status(cluster, "slot IS NULL, pid IS NOT NULL, last_error");
    assert!(last.starts_with("t|t|") && last.contains(why), "{last}");
    let log = cluster.log_from(offset);
    assert_eq!(count(&log, warning), 1, "{log}");
}

#[test]
fn without_the_slot_it_runs_on() {
    if plain() {
        return;
    }
    let cluster = cluster("noslot", "wal_level = logical");
    let with = |conf: &str| {
        let offset = cluster.log_offset();
        cluster.append_conf(conf);
        offset
    };
    cluster.safe_psql(
        "postgres",
        "SELECT pg_create_logical_replication_slot('walker', 'pgoutput')",
    );
    let offset = with("walker.slot_name = 'walker'");
    cluster.reload();
    runs_without(&cluster, offset, "logical");
    cluster.safe_psql("postgres", "SELECT pg_drop_replication_slot('walker')");

    // In use by somebody else.
    cluster.safe_psql(
        "postgres",
        "SELECT pg_create_physical_replication_slot('walker', true)",
    );
    let mut receiver = cluster.receive_wal("walker");
    cluster.poll_query_until("postgres", "SELECT active FROM pg_replication_slots", "t");
    let offset = cluster.log_offset();
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    runs_without(&cluster, offset, "active");
    let _ = receiver.kill();
    let _ = receiver.wait();
    cluster.poll_query_until("postgres", "SELECT active FROM pg_replication_slots", "f");
    cluster.safe_psql("postgres", "SELECT pg_drop_replication_slot('walker')");

    cluster.stop(Mode::Fast);
    let offset = with("max_replication_slots = 0\nwal_level = replica");
    cluster.start();
    runs_without(&cluster, offset, "max_replication_slots");

    cluster.stop(Mode::Fast);
    let offset = with("max_replication_slots = 4\nwal_level = minimal\nmax_wal_senders = 0");
    cluster.start();
    runs_without(&cluster, offset, "wal_level");

    cluster.stop(Mode::Fast);
    with("wal_level = replica");
    cluster.start();
    cluster.poll_query_until("postgres", "SELECT slot FROM walker_status", "walker");
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn a_bad_slot_name_is_refused_in_words() {
    if plain() {
        return;
    }
    let cluster = cluster("badname", "");
    let offset = cluster.log_offset();
    cluster.append_conf("walker.slot_name = 'Not A Slot'");
    cluster.reload();
    cluster.wait_for_log("Not A Slot", offset);
    cluster.walker_wait();
    assert_map_exact_and_known(&cluster, "postgres");
    let mut psql = cluster.server.command("pg_isready");
    run(psql.arg("-h").arg(cluster.host()));
}
