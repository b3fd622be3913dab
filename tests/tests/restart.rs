//! A server that is stopped and started again: the worker goes on where it
//! was, though it is stopped before the last WAL is written, and the last
//! checkpoint lets go of all WAL before it.

use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::plugins::Library;
use walker_tests::poll::poll_until;
use walker_tests::server::{run, text};
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, Session};

/// A server whose `wal_keep_size` nobody has set, with a map that knows all.
fn cluster(name: &str, conf: &str) -> Cluster {
    let cluster = Cluster::new(name);
    cluster.init();
    let file = cluster.data_dir().join("postgresql.conf");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let kept = text.lines().filter(|line| !line.contains("wal_keep_size"));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&file, kept).expect("a configuration");
    cluster.append_conf("shared_preload_libraries = 'walker'\nautovacuum = off");
    // The last one keeps no state: the worker remembers where it was.
    cluster.append_conf("walker.plugins = 'garbagemap, walstat, listener'");
    cluster.build_libraries(&[Library::c("listener")]);
    cluster.append_conf(&format!(
        "dynamic_library_path = '{}:$libdir'",
        cluster.library_dir().display()
    ));
    cluster.append_conf(conf);
    cluster.start();
    cluster.create_extensions("postgres");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b text);
         INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5000) g;
         DELETE FROM t WHERE a % 5 = 0;
         CREATE TABLE bulk (a int, b text);
         SELECT garbage_base_scan();
         CHECKPOINT",
    );
    assert_map_exact_and_known(&cluster, "postgres");
    cluster
}

/// Stops and starts the server, whose map is as good as before.
fn restart(cluster: &Cluster, mode: Mode) {
    let offset = cluster.log_offset();
    cluster.stop(mode);
    cluster.start();
    cluster.walker_wait();
    let log = cluster.log_from(offset);
    assert!(!log.contains("ignoring the state file"), "{log}");
    assert_eq!(cluster.walker_status()["gaps"], "0");
    // When a process before this one wrote it is not known.
    let age = "SELECT state_lsn IS NOT NULL, coalesce(state_age < '1 day', true) \
               FROM garbage_status";
    assert_eq!(cluster.safe_psql("postgres", age), "t|t");
    assert_map_exact_and_known(cluster, "postgres");
}

/// The limit of memory changes with a reload, and the worker stays.
#[test]
fn the_limit_of_memory_follows_the_configuration() {
    if plain() {
        return;
    }
    let cluster = cluster("limit", "");
    let limit = "SELECT memory_limit / 1024 / 1024, (SELECT restarts FROM walker_status) \
                 FROM garbage_status";
    assert_eq!(cluster.safe_psql("postgres", limit), "256|0");
    cluster.append_conf("garbagemap.max_memory = '300MB'");
    cluster.reload();
    cluster.poll_query_until("postgres", limit, "300|0");
}

/// What cancels a query has none to cancel in the worker.
#[test]
fn a_worker_that_is_cancelled_stays() {
    if plain() {
        return;
    }
    let cluster = cluster("cancel", "");
    let worker = "SELECT pid, restarts FROM walker_status";
    let before = cluster.safe_psql("postgres", worker);
    let cancel = "SELECT pg_cancel_backend(pid) FROM walker_status";
    assert_eq!(cluster.safe_psql("postgres", cancel), "t");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 5 = 1");
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", worker), before);
}

/// Of a table without garbage next to nothing is kept where memory is short, and
/// its garbage counts all the same. With a range for each block memory is short soon.
#[test]
fn a_cold_table_stays_exact_in_little_memory() {
    if plain() {
        return;
    }
    let little = "garbagemap.range_blocks = 1\ngarbagemap.max_memory = '1MB'";
    let cluster = cluster("cold", little);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE cold (a int, b text);
         ALTER TABLE cold ALTER b SET STORAGE PLAIN;
         DELETE FROM t WHERE a % 5 = 2",
    );
    // What is undecided has to be kept.
    cluster.safe_psql(
        "postgres",
        "DO $$ BEGIN
             FOR i IN 1..10000 LOOP
                 INSERT INTO cold VALUES (i, repeat('x', 7000));
                 IF i % 200 = 0 THEN COMMIT; END IF;
             END LOOP;
         END $$",
    );
    let in_limits = || {
        cluster.walker_wait();
        let limits = "SELECT memory_used <= memory_limit, memory_limit, degraded_relations
                      FROM garbage_status";
        assert_eq!(cluster.safe_psql("postgres", limits), "t|1048576|0");
        assert_map_exact_and_known(&cluster, "postgres");
    };
    in_limits();
    // Memory was short: where it is not, these are counted.
    let counted = "SELECT bool_or(n_tuples IS NULL) FROM garbage_map('cold')";
    assert_eq!(cluster.safe_psql("postgres", counted), "t");
    cluster.safe_psql("postgres", "DELETE FROM cold WHERE a % 9 = 0");
    in_limits();
    restart(&cluster, Mode::Fast);
    in_limits();
    cluster.safe_psql("postgres", "VACUUM cold");
    cluster.safe_psql("postgres", "DELETE FROM cold WHERE a > 9000");
    restart(&cluster, Mode::Immediate);
    in_limits();
    cluster.safe_psql("postgres", "VACUUM (FREEZE) cold");
    in_limits();

    // A scan counts them when there is memory again, and reads nothing before.
    let scan = || cluster.safe_psql("postgres", "SELECT garbage_base_scan('cold')");
    assert_eq!(
        (scan(), cluster.safe_psql("postgres", counted)),
        ("0".into(), "t".into())
    );
    cluster.set_max_memory("64 MB");
    assert_ne!(scan(), "0");
    assert_eq!(
        (scan(), cluster.safe_psql("postgres", counted)),
        ("0".into(), "f".into())
    );
    assert_map_exact_and_known(&cluster, "postgres");
    // It is kept as all that a scan tells.
    restart(&cluster, Mode::Fast);
    assert_eq!(cluster.safe_psql("postgres", counted), "f");
    assert_map_exact_and_known(&cluster, "postgres");
}

/// With archiving, each stop begins a new segment before its checkpoint.
#[test]
fn with_archiving() {
    if plain() {
        return;
    }
    let cluster = cluster("archiving", "archive_mode = on\narchive_command = 'true'");
    assert_eq!(cluster.safe_psql("postgres", "SHOW wal_keep_size"), "64MB");
    restart(&cluster, Mode::Fast);
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 5 = 1");
    restart(&cluster, Mode::Fast);
    // What somebody sets holds.
    cluster.append_conf("wal_keep_size = '48MB'");
    restart(&cluster, Mode::Fast);
    assert_eq!(cluster.safe_psql("postgres", "SHOW wal_keep_size"), "48MB");
}

/// Much is written that the worker does not see any more.
#[test]
fn under_load() {
    if plain() {
        return;
    }
    let cluster = cluster("load", "");
    for _ in 0..2 {
        let mut loads: Vec<_> = (0..3)
            .map(|_| Session::open(&cluster, "postgres"))
            .collect();
        let from = cluster.current_lsn();
        for load in &mut loads {
            load.send(
                "INSERT INTO bulk SELECT g, repeat('x', 100) FROM generate_series(1, 10000000) g",
            );
        }
        let much = format!("SELECT pg_current_wal_lsn() - '{from}' > 40000000");
        cluster.poll_query_until("postgres", &much, "t");
        restart(&cluster, Mode::Fast);
        for mut load in loads {
            assert!(load.wait().is_err(), "the server was stopped");
        }
    }
}

/// The last record, by which a state is proven, ends a segment: it is in the
/// one before the state's position.
#[test]
fn a_slot_keeps_the_last_record() {
    if plain() {
        return;
    }
    let cluster = cluster("last", "wal_keep_size = 0\nwalker.slot_name = 'walker'");
    for mode in [Mode::Fast, Mode::Immediate] {
        cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 5 = 2 AND a < 100");
        // Without another record behind it, which whoever is idle long enough
        // gets.
        let at = "SELECT pg_current_wal_lsn() = pg_switch_wal() FROM pg_switch_wal()";
        poll_until("an end of the WAL that ends a segment", || {
            (cluster.safe_psql("postgres", at) == "t").then_some(())
        });
        cluster.walker_wait();
        restart(&cluster, mode);
    }
    // It follows all the same.
    let behind = "SELECT redo_lsn - restart_lsn < 16 * 1024 * 1024
                  FROM pg_control_checkpoint(), pg_replication_slots";
    poll_until("the slot to follow", || {
        cluster.safe_psql("postgres", "SELECT pg_switch_wal(); CHECKPOINT");
        cluster.walker_wait();
        (cluster.safe_psql("postgres", behind) == "t").then_some(())
    });
}

/// Whoever has no state needs nothing of what it was given.
#[test]
fn a_slot_follows_one_without_state() {
    if plain() {
        return;
    }
    let cluster = cluster(
        "stateless",
        "wal_keep_size = 0\nwalker.slot_name = 'walker'",
    );
    cluster.append_conf("walker.plugins = 'listener'");
    cluster.reload();
    let plugins = "SELECT string_agg(name, ' ') FROM walker_plugins WHERE state = 'running'";
    cluster.poll_query_until("postgres", plugins, "listener");
    let lsn = cluster.current_lsn();
    let followed = format!("SELECT restart_lsn > '{lsn}' FROM pg_replication_slots");
    poll_until("the slot to follow", || {
        cluster.safe_psql("postgres", "SELECT pg_switch_wal(); CHECKPOINT");
        cluster.walker_wait();
        (cluster.safe_psql("postgres", &followed) == "t").then_some(())
    });
}

/// The names of all slots.
const SLOTS: &str = "SELECT coalesce(string_agg(slot_name, ' ' ORDER BY slot_name), 'none')
     FROM pg_replication_slots";

fn slots_become(cluster: &Cluster, names: &str) {
    cluster.poll_query_until("postgres", SLOTS, names);
    cluster.walker_wait();
}

fn name_slot(cluster: &Cluster, name: &str) {
    cluster.append_conf(&format!("walker.slot_name = '{name}'"));
}

/// Nobody would advance it, and it would keep WAL until the disk is full.
#[test]
fn a_slot_of_another_day_goes() {
    if plain() {
        return;
    }
    let cluster = cluster("another", "walker.slot_name = 'first'");
    let becomes = |names: &str| slots_become(&cluster, names);
    becomes("first");
    let offset = cluster.log_offset();
    cluster.stop(Mode::Fast);
    name_slot(&cluster, "second");
    cluster.start();
    becomes("second");
    cluster.wait_for_log("walker drops replication slot \"first\"", offset);

    // The server crashes, and is to have none when it comes back.
    cluster.stop(Mode::Immediate);
    name_slot(&cluster, "");
    cluster.start();
    becomes("none");

    // Somebody else has it when it is to go: then later.
    name_slot(&cluster, "third");
    cluster.append_conf("walker.restart_interval = '10s'");
    cluster.restart();
    becomes("third");
    cluster.safe_psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM walker_status",
    );
    let active = "SELECT active FROM pg_replication_slots";
    cluster.poll_query_until("postgres", active, "f");
    let mut receiver = cluster.receive_wal("third");
    cluster.poll_query_until("postgres", active, "t");
    let offset = cluster.log_offset();
    name_slot(&cluster, "fourth");
    cluster.reload();
    becomes("fourth third");
    cluster.wait_for_log(
        "WARNING:  walker could not drop replication slot \"third\"",
        offset,
    );
    receiver.kill().expect("pg_receivewal");
    receiver.wait().expect("pg_receivewal");
    becomes("fourth");
    assert_eq!(cluster.walker_status()["slot"], "fourth");
    // It let go of its own in between.
    cluster.poll_query_until("postgres", active, "t");
    assert_eq!(cluster.walker_status()["slot"], "fourth");
}

/// What walker did not make, it does not drop on another day.
#[test]
fn a_slot_of_somebody_else_stays() {
    if plain() {
        return;
    }
    let cluster = cluster("theirs", "walker.slot_name = 'own'");
    let becomes = |names: &str| slots_become(&cluster, names);
    let made = |name: &str| {
        let sql = format!("SELECT pg_create_physical_replication_slot('{name}', true)");
        cluster.safe_psql("postgres", &sql);
    };
    becomes("own");
    // What the note says may be of a slot that is no longer there, as in a base
    // backup.
    let note = cluster.data_dir().join("pg_walker/walker.slot");
    let text = std::fs::read(&note).expect("a note of the slot");
    let write_note = |text: &[u8]| {
        std::fs::write(&note, text).expect("a note");
        cluster.server.give(&note);
    };
    cluster.stop(Mode::Fast);
    name_slot(&cluster, "");
    cluster.start();
    becomes("none");
    assert!(!note.exists(), "a note of a slot that was dropped");
    made("own");
    cluster.stop(Mode::Fast);
    write_note(&text);
    cluster.start();
    becomes("own");

    // One that was there before, and was used by mistake.
    made("theirs");
    name_slot(&cluster, "theirs");
    cluster.restart();
    cluster.poll_query_until("postgres", "SELECT slot FROM walker_status", "theirs");
    cluster.stop(Mode::Fast);
    name_slot(&cluster, "");
    cluster.start();
    becomes("own theirs");

    // A note that is none.
    cluster.stop(Mode::Fast);
    write_note(b"[{");
    name_slot(&cluster, "new");
    cluster.start();
    becomes("new own theirs");
    cluster.stop(Mode::Fast);
    name_slot(&cluster, "");
    cluster.start();
    becomes("own theirs");
}

/// Where nothing keeps it, it is told.
#[test]
fn lost_wal_is_a_gap() {
    if plain() {
        return;
    }
    let conf = "archive_mode = on\narchive_command = 'true'\nwal_keep_size = 0";
    let cluster = cluster("lost", conf);
    let offset = cluster.log_offset();
    cluster.stop(Mode::Fast);
    // The last checkpoint has done it, if its segments were archived by then.
    let mut control = cluster.server.command("pg_controldata");
    let control = text(&run(control.arg(cluster.data_dir())));
    let redo = control
        .lines()
        .find_map(|line| line.strip_prefix("Latest checkpoint's REDO WAL file:"))
        .expect("a segment")
        .trim();
    let wal = std::fs::read_dir(cluster.data_dir().join("pg_wal")).expect("pg_wal");
    for file in wal.map(|file| file.expect("a file")) {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.len() == redo.len() && name.as_str() < redo {
            std::fs::remove_file(file.path()).expect("a segment");
        }
    }
    cluster.start();
    // All plugins learn of it, and go on.
    cluster.walker_wait();
    let running = "SELECT count(*) FROM walker_plugins WHERE state = 'running' AND errors = 0";
    assert_eq!(cluster.safe_psql("postgres", running), "3");
    assert_eq!(cluster.walker_status()["gaps"], "1");
    let log = cluster.log_from(offset);
    assert_eq!(
        log.matches("WARNING:  walker lost the WAL from").count(),
        1,
        "{log}"
    );
    assert_map_exact(&cluster, "postgres");
    let exact = "SELECT bool_and(exact) FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", exact), "f");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_map_exact_and_known(&cluster, "postgres");
}
