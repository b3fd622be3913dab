//! Plugins that go wrong while records are delivered. Beside each runs one
//! that counts: its count must stay that of pg_waldump, which it does only if
//! it sees every record once, whatever becomes of its neighbours.

use std::time::Duration;
use walker_tests::cluster::psql_file;
use walker_tests::plugins::{Library, Setup};
use walker_tests::poll::poll_until;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, Session};

const WORK: &str = "CREATE TABLE IF NOT EXISTS t (a int);
     INSERT INTO t SELECT generate_series(1, 500);
     UPDATE t SET a = -a;
     DELETE FROM t;
     VACUUM t;";

/// `misdeeds` between two that count, and where counting began.
fn cluster(name: &str, libraries: &[Library], plugins: &str, conf: &str) -> (Cluster, String) {
    let mut all = vec![Library::rmgr_counter()];
    all.extend_from_slice(libraries);
    let setup = Setup {
        libraries: &all,
        plugins,
        conf,
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins(name, &setup);
    cluster.create_rmgr_counts();
    // Not from walker_plugins: that worker may have failed already.
    let from = cluster.first_position();
    (cluster, from)
}

/// Tells the plugin that listens to `prefix` what to do; where the message
/// begins cannot be known, where it ends is returned.
fn tell(cluster: &Cluster, prefix: &str, message: &str) {
    cluster.safe_psql(
        "postgres",
        &format!("SELECT pg_logical_emit_message(true, '{prefix}', '{message}')"),
    );
}

fn wait_for_errors(cluster: &Cluster, plugin: &str, errors: u32) {
    let sql = format!("SELECT errors FROM walker_plugins WHERE name = '{plugin}'");
    cluster.poll_query_until("postgres", &sql, &errors.to_string());
    let running = "SELECT pid IS NOT NULL FROM walker_status";
    cluster.poll_query_until("postgres", running, "t");
}

/// A deed: who does it, what it is called, what the error says, and how the
/// log shows it.
struct Deed {
    plugin: &'static str,
    prefix: &'static str,
    what: &'static str,
    error: &'static str,
    log: &'static str,
}

const fn c(what: &'static str, error: &'static str, log: &'static str) -> Deed {
    Deed {
        plugin: "misdeeds",
        prefix: "misdeed",
        what,
        error,
        log,
    }
}

const fn rust(what: &'static str, error: &'static str) -> Deed {
    Deed {
        plugin: "rust_misdeeds",
        prefix: "rust",
        what,
        error,
        log: "ERROR:  ",
    }
}

const DEEDS: [Deed; 11] = [
    c("error", "misdeed: ERROR in a record", "ERROR:  "),
    c("rethrow", "misdeed: thrown again", "ERROR:  "),
    c("fatal", "misdeed: FATAL in a record", "FATAL:  "),
    c(
        "exit 0",
        "the plugin ended the process",
        "WARNING:  a walker plugin ended the worker process",
    ),
    c(
        "exit 3",
        "the plugin ended the process",
        "WARNING:  a walker plugin ended the worker process",
    ),
    c(
        "huge",
        "invalid memory alloc request size 1073741824",
        "ERROR:  ",
    ),
    rust("error", "misdeed: a Rust error"),
    rust("panic", "misdeed: a Rust panic"),
    rust(
        "index",
        "index out of bounds: the len is 0 but the index is 5",
    ),
    rust("drop", "panic in drop"),
    rust(
        "server",
        "invalid memory alloc request size 18446744073709551615",
    ),
];

#[test]
fn every_failure_is_named_and_hurts_nobody() {
    let libraries = [Library::c("misdeeds"), Library::rust("rust_misdeeds")];
    // One before and one behind the good one: it must neither miss nor repeat
    // the record at which they fail.
    let plugins = "misdeeds, rmgr_counter, rust_misdeeds";
    let (cluster, from) = cluster("deeds", &libraries, plugins, "");
    // A name that is not registered is a warning and no more.
    cluster.wait_for_log(
        "walker plugin \"rust_misdeeds\" asks for resource manager \"no such resource manager\", \
         which is not registered",
        0,
    );
    let mut errors = [0; 2];
    for deed in &DEEDS {
        let offset = cluster.log_offset();
        tell(&cluster, deed.prefix, &format!("1 {}", deed.what));
        psql_file(&cluster, "postgres", WORK);
        let count = &mut errors[usize::from(deed.plugin == "rust_misdeeds")];
        *count += 1;
        wait_for_errors(&cluster, deed.plugin, *count);
        cluster.walker_wait();

        let row = cluster.plugin(deed.plugin, "state, last_error, last_error_lsn");
        let expected = format!("running|{}|", deed.error);
        assert!(row.starts_with(&expected), "{}: {row}", deed.what);
        let lsn = &row[expected.len()..];
        let place = format!(
            "Plugin \"{}\", callback record, resource manager LogicalMessage, LSN {lsn}.",
            deed.plugin
        );
        let log = cluster.log_from(offset);
        for text in [deed.log, &place] {
            assert!(log.contains(text), "{}: no \"{text}\" in\n{log}", deed.what);
        }
    }
    // One that does not fail is named, too.
    tell(&cluster, "misdeed", "1 warning");
    let offset = cluster.wait_for_log("WARNING:  misdeed: only a WARNING", 0);
    cluster.wait_for_log("CONTEXT:  Plugin \"misdeeds\", callback record", offset);
    // In the middle of a batch.
    tell(&cluster, "misdeed", "1 after 100");
    psql_file(&cluster, "postgres", WORK);
    wait_for_errors(&cluster, "misdeeds", errors[0] + 1);
    cluster.assert_counts_complete(&from);
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}

#[test]
fn the_third_failure_is_the_last() {
    let libraries = [
        Library::c("misdeeds"),
        Library::c_as("bad_load", "fails_early", &["FATAL_IN_PG_INIT"]),
        Library::c_as("bad_startup", "fails_early", &["ERROR_IN_STARTUP"]),
        Library::c_as("bad_poll", "fails_early", &["ERROR_IN_POLL"]),
    ];
    let (cluster, from) = cluster("third", &libraries, "misdeeds, rmgr_counter", "");
    let offset = cluster.log_offset();
    tell(&cluster, "misdeed", "3 error");
    cluster.wait_for_plugin("misdeeds", "quarantined");
    psql_file(&cluster, "postgres", WORK);
    cluster.assert_counts_complete(&from);
    let lsn = cluster.plugin("misdeeds", "last_error_lsn");
    let words =
        format!("WARNING:  walker plugin \"misdeeds\" failed 3 times at {lsn}, it is quarantined");
    cluster.wait_for_log(&words, offset);
    assert_eq!(
        cluster.plugin("misdeeds", "errors, applied_lsn"),
        format!("3|{lsn}")
    );

    // Lifted, it goes on at the record at which it failed.
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    cluster.wait_for_plugin("misdeeds", "running");
    cluster.walker_wait();
    let status = "SELECT start_lsn = last_error_lsn, errors, applied_lsn >= (SELECT applied_lsn \
                  FROM walker_plugins WHERE name = 'rmgr_counter') \
                  FROM walker_plugins WHERE name = 'misdeeds'";
    cluster.poll_query_until("postgres", status, "t|3|t");
    cluster.assert_counts_complete(&from);

    // Before the first record, and between records.
    let list = "bad_load, bad_startup, rmgr_counter, bad_poll";
    cluster.alter_system("walker.plugins", list);
    for (plugin, callback, error) in [
        ("bad_load", "init", "misdeed: FATAL in _PG_init"),
        ("bad_startup", "startup", "misdeed: ERROR in startup"),
        ("bad_poll", "poll", "misdeed: ERROR in poll"),
    ] {
        cluster.wait_for_plugin(plugin, "quarantined");
        assert_eq!(
            cluster.plugin(plugin, "errors, last_error"),
            format!("3|{error}")
        );
        cluster.wait_for_log(
            &format!("Plugin \"{plugin}\", callback {callback}, LSN "),
            offset,
        );
        let words = format!("\"{plugin}\" failed 3 times in a row in callback {callback}, it is");
        cluster.wait_for_log(&words, offset);
    }
    psql_file(&cluster, "postgres", WORK);
    cluster.assert_counts_complete(&from);

    // So does a new list, or one from which it was gone.
    for list in ["rmgr_counter", "rmgr_counter, bad_poll"] {
        cluster.alter_system("walker.plugins", list);
        let names = "SELECT string_agg(name, ', ') FROM walker_plugins";
        cluster.poll_query_until("postgres", names, list);
    }
    cluster.wait_for_plugin("bad_poll", "quarantined");
    cluster.assert_counts_complete(&from);
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}

/// A crash takes all sessions with it, and what shared memory has of failures.
#[test]
fn the_second_crash_is_the_last() {
    if plain() {
        return;
    }
    for (by, signal) in [
        ("a store", 11),
        ("abort", 6),
        ("PANIC", 6),
        ("recursion", 11),
    ] {
        let libraries = [Library::c("misdeeds")];
        let conf = "restart_after_crash = on";
        let (cluster, _) = cluster("crashes", &libraries, "misdeeds, garbagemap", conf);
        cluster.safe_psql(
            "postgres",
            "CREATE EXTENSION garbagemap; CREATE TABLE t AS SELECT 1 AS a",
        );
        cluster.walker_wait();
        let offset = cluster.log_offset();
        // Whose session may end before it has the answer.
        let message = format!("SELECT pg_logical_emit_message(true, 'misdeed', '1 crash by {by}')");
        let _ = cluster.connect("postgres").batch_execute(&message);
        let last = "\"misdeeds\" crashed the server 2 times, it is quarantined";
        cluster.wait_for_log(last, offset);
        cluster.wait_for_log("walker started at", offset);
        let log = cluster.log_from(offset);
        assert_eq!(log.matches("reinitializing").count(), 2, "{by}: {log}");

        cluster.wait_for_plugin("misdeeds", "quarantined");
        let error = cluster.plugin("misdeeds", "errors, last_error");
        let expected = format!("2|it crashed the server: signal {signal} in callback record at ");
        assert!(error.starts_with(&expected), "{by}: {error}");
        // The other has missed nothing.
        cluster.safe_psql("postgres", "DELETE FROM t");
        cluster.walker_wait();
        let map = "SELECT n_dead_tuples, exact FROM garbage_map('t')";
        assert_eq!(cluster.safe_psql("postgres", map), "1|t");
        // Nor does another start of the server try it.
        cluster.restart();
        cluster.wait_for_plugin("misdeeds", "quarantined");

        std::fs::write(cluster.data_dir().join("harmless"), "").expect("a file");
        cluster.safe_psql("postgres", "SELECT walker_restart()");
        cluster.wait_for_plugin("misdeeds", "running");
        cluster.walker_wait();
        assert!(!cluster.data_dir().join("pg_walker/crashes").exists());
    }
}

/// Before anything was saved, by this plugin or another: at the first start of all.
#[test]
fn so_it_is_before_the_first_record() {
    for (flag, callback) in [
        ("CRASH_IN_PG_INIT", "init"),
        ("CRASH_IN_STARTUP", "startup"),
    ] {
        let libraries = [Library::c_as("bad_start", "fails_early", &[flag])];
        let conf = "restart_after_crash = on";
        let (cluster, _) = cluster("crashes-early", &libraries, "rmgr_counter", conf);
        let state = cluster.data_dir().join("pg_walker");
        cluster.stop(Mode::Fast);
        std::fs::remove_dir_all(&state).expect("pg_walker");
        cluster.append_conf("walker.plugins = 'bad_start, rmgr_counter'");
        let offset = cluster.log_offset();
        cluster.start();
        let last = "\"bad_start\" crashed the server 2 times, it is quarantined";
        cluster.wait_for_log(last, offset);
        cluster.wait_for_log("walker started at", offset);
        cluster.wait_for_plugin("bad_start", "quarantined");
        let error = cluster.plugin("bad_start", "last_error");
        let expected = format!("it crashed the server: signal 11 in callback {callback} at ");
        assert!(error.starts_with(&expected), "{error}");
        cluster.walker_wait();

        // A copy knows nothing of it: it may have another library.
        cluster.stop(Mode::Fast);
        let copy = cluster.path("copy");
        std::fs::rename(&state, &copy).expect("pg_walker");
        std::fs::create_dir(&state).expect("pg_walker");
        std::fs::rename(copy.join("crashes"), state.join("crashes")).expect("the notes");
        cluster.server.give(&state);
        let offset = cluster.log_offset();
        cluster.start();
        cluster.wait_for_log(last, offset);
        let log = cluster.log_from(offset);
        assert_eq!(log.matches("reinitializing").count(), 2, "{log}");
    }
}

#[test]
fn one_that_fails_at_every_record_is_left_out() {
    let libraries = [Library::c_as("misdeeds", "misdeeds", &["AT_EVERY_RECORD"])];
    let (cluster, from) = cluster("streak", &libraries, "misdeeds, rmgr_counter", "");
    let offset = cluster.log_offset();
    psql_file(&cluster, "postgres", WORK);
    cluster.wait_for_plugin("misdeeds", "quarantined");
    cluster.wait_for_log(
        "walker plugin \"misdeeds\" failed 10 times in a row",
        offset,
    );
    cluster.assert_counts_complete(&from);
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}

#[test]
fn a_loop_is_shown_and_can_be_ended() {
    let libraries = [Library::c("misdeeds")];
    let (cluster, from) = cluster("loop", &libraries, "rmgr_counter, misdeeds", "");
    let offset = cluster.log_offset();
    tell(&cluster, "misdeed", "1 loop");
    let busy = "SELECT name, busy_callback, busy_lsn IS NOT NULL, busy_since < now() \
                FROM walker_plugins WHERE busy_since IS NOT NULL";
    cluster.poll_query_until("postgres", busy, "misdeeds|record|t|t");
    // No database is held up by it: the loop serves interrupts.
    cluster.safe_psql("postgres", "CREATE DATABASE d");
    cluster.safe_psql("postgres", "DROP DATABASE d");
    // After ten seconds, on a busy machine a little later.
    let busy_for = "WARNING:  walker plugin \"misdeeds\" has been busy for ";
    let at = cluster.wait_for_log(busy_for, offset);
    cluster.wait_for_log(" s: callback record, resource manager 21", at);
    let pid = cluster.safe_psql("postgres", "SELECT pid FROM walker_status");
    cluster.safe_psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
    wait_for_errors(&cluster, "misdeeds", 1);
    cluster.walker_wait();
    cluster.poll_query_until("postgres", busy, "");
    cluster.assert_counts_complete(&from);

    tell(&cluster, "misdeed", "9 loop");
    cluster.poll_query_until("postgres", busy, "misdeeds|record|t|t");
    let took = cluster.stop(Mode::Fast);
    assert!(took <= Duration::from_secs(5), "fast stop took {took:?}");
    cluster.start();
    assert_eq!(cluster.server_starts(), 2);
}

/// SIGTERM comes while `misdeeds` is at a record: the worker ends in order all the
/// same, and nobody blames it.
fn ends_in_order(cluster: &Cluster) {
    psql_file(cluster, "postgres", WORK);
    let busy = "SELECT name, busy_callback FROM walker_plugins WHERE busy_since IS NOT NULL";
    cluster.poll_query_until("postgres", busy, "misdeeds|record");
    let offset = cluster.log_offset();
    let pid = cluster.worker_pid();
    cluster.safe_psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
    cluster.wait_for_log("walker stopped at", offset);
    cluster.walker_wait();
    assert_eq!(cluster.plugin("misdeeds", "errors"), "0");
}

/// SIGTERM takes the last state from nobody who comes back.
#[test]
fn one_that_is_at_work_may_finish() {
    let libraries = [Library::c("misdeeds")];
    let (cluster, from) = cluster("work", &libraries, "rmgr_counter, misdeeds", "");
    tell(&cluster, "misdeed", "1 work on");
    ends_in_order(&cluster);
    cluster.assert_counts_complete(&from);
}

/// Nor does one who comes back late take it from the next.
#[test]
fn what_was_to_end_one_does_not_end_the_next() {
    let libraries = [Library::c("misdeeds"), Library::c("looks")];
    let (cluster, from) = cluster("next", &libraries, "rmgr_counter, misdeeds, looks", "");
    tell(&cluster, "misdeed", "1 overstay");
    ends_in_order(&cluster);
    assert_eq!(cluster.plugin("looks", "errors"), "0");
    cluster.assert_counts_complete(&from);
}

#[test]
fn a_loop_of_one_that_is_to_end_keeps_nobody() {
    let libraries = [Library::c("misdeeds")];
    let (cluster, _) = cluster("stay", &libraries, "rmgr_counter, misdeeds", "");
    tell(&cluster, "misdeed", "1 stay");
    cluster.walker_wait();
    let offset = cluster.log_offset();
    // After ten seconds; otherwise never.
    cluster.stop(Mode::Fast);
    cluster.wait_for_log(" s: callback shutdown, LSN ", offset);
    cluster.start();
    cluster.walker_wait();
}

#[test]
fn a_blind_loop_is_shown_and_ends_with_the_server() {
    let libraries = [Library::c("misdeeds")];
    let (cluster, _) = cluster("blind", &libraries, "rmgr_counter, misdeeds", "");
    tell(&cluster, "misdeed", "9 loop blindly");
    let busy = "SELECT name, busy_callback FROM walker_plugins WHERE busy_since IS NOT NULL";
    cluster.poll_query_until("postgres", busy, "misdeeds|record");
    // Sessions go on.
    psql_file(&cluster, "postgres", WORK);
    let mut session = Session::open(&cluster, "postgres");
    session.safe("CHECKPOINT");
    let took = cluster.stop(Mode::Immediate);
    assert!(
        took <= Duration::from_secs(5),
        "immediate stop took {took:?}"
    );
}

#[test]
fn a_leak_ends_the_worker_in_order() {
    let libraries = [Library::c("misdeeds")];
    let conf = "walker.max_memory = '150MB'";
    let (cluster, from) = cluster("leak", &libraries, "rmgr_counter, misdeeds", conf);
    // More than a gigabyte in the context of the record is no leak.
    for _ in 0..5 {
        psql_file(&cluster, "postgres", WORK);
    }
    cluster.walker_wait();
    let pid = cluster.safe_psql("postgres", "SELECT pid FROM walker_status");
    assert!(private_megabytes(&pid) < 50);
    assert_eq!(cluster.plugin("misdeeds", "errors"), "0");

    // Nor is a record that long, which the server's reader would keep room for.
    cluster.safe_psql(
        "postgres",
        "SELECT pg_logical_emit_message(false, 'long', repeat('x', 200000000))",
    );
    cluster.walker_wait();
    poll_until("the worker to give it back", || {
        (private_megabytes(&pid) < 50).then_some(())
    });
    assert_eq!(cluster.walker_status()["restarts"], "0");

    // As often as a plugin may fail at one record, and once more.
    for errors in 1..=4 {
        let offset = cluster.log_offset();
        tell(&cluster, "misdeed", "1 leak");
        psql_file(&cluster, "postgres", WORK);
        wait_for_errors(&cluster, "misdeeds", errors);
        let offset =
            cluster.wait_for_log("MB of private memory, more than walker.max_memory", offset);
        cluster.wait_for_log(
            "It grew most in callbacks of plugin \"misdeeds\", LSN ",
            offset,
        );
        cluster.walker_wait();
    }
    cluster.assert_counts_complete(&from);
    assert_eq!(cluster.plugin("misdeeds", "state, errors"), "running|4");
    let last = "last_error ~ 'private memory', last_error_lsn IS NOT NULL";
    assert_eq!(cluster.plugin("misdeeds", last), "t|t");
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}

/// Nor is one to blame for being slow that is ended while it starts.
#[test]
fn a_late_start_may_be_ended() {
    let libraries = [Library::c("misdeeds")];
    let (cluster, from) = cluster("ended", &libraries, "misdeeds, rmgr_counter", "");
    cluster.walker_wait();
    let late = cluster.data_dir().join("late");
    std::fs::write(&late, "").expect("a file");
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    let mut pid = 0;
    // As often as it takes to be quarantined, and once more.
    for ended in 1..=4 {
        let busy = format!(
            "SELECT busy_callback FROM walker_plugins, walker_status \
             WHERE busy_since IS NOT NULL AND pid <> {pid}"
        );
        cluster.poll_query_until("postgres", &busy, "startup");
        pid = cluster.worker_pid();
        cluster.safe_psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
        wait_for_errors(&cluster, "misdeeds", ended);
    }
    std::fs::remove_file(&late).expect("the file");
    cluster.wait_for_plugin("misdeeds", "running");
    cluster.assert_counts_complete(&from);
}

/// While a worker starts, nobody takes for the map what is being emptied and filled.
#[test]
fn a_late_start_is_no_map() {
    if plain() {
        return;
    }
    let setup = Setup {
        libraries: &[Library::c("misdeeds")],
        plugins: "misdeeds, garbagemap",
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("late", &setup);
    cluster.safe_psql(
        "postgres",
        "CREATE EXTENSION garbagemap; CREATE TABLE t AS SELECT generate_series(1, 1000) AS a;
         DELETE FROM t WHERE a <= 300",
    );
    let map = "SELECT n_dead_tuples, exact FROM garbage_tables WHERE relid = 't'::regclass";
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", map), "300|t");
    let late = cluster.data_dir().join("late");
    std::fs::write(&late, "").expect("a file");
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    let starting = "SELECT state, restarts FROM walker_status";
    cluster.poll_query_until("postgres", starting, "starting|1");
    let state = "SELECT string_agg(state, ' ') FROM walker_plugins";
    cluster.poll_query_until("postgres", state, "unknown unknown");
    let error = cluster.psql("postgres", map).expect_err("no map yet");
    assert_eq!(error.sqlstate, "55000", "{error}");
    std::fs::remove_file(&late).expect("the file");
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", map), "300|t");
    assert_eq!(cluster.safe_psql("postgres", state), "running running");
}

/// Resident memory of a process that is its own.
fn private_megabytes(pid: &str) -> u64 {
    poll_until("the memory of the worker", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes / 1024)
    })
}
