//! Loading plugins: what cannot be used says why and hurts nobody, what can be
//! used gets its records in the order of the list.

use std::time::Duration;
use walker_tests::cluster::psql_file;
use walker_tests::plugins::{Library, Setup};
use walker_tests::poll::poll_until;
use walker_tests::{Cluster, Mode, waldump};

const WORK: &str = "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) g;
     CREATE INDEX ON t (a);
     UPDATE t SET a = -a WHERE a % 3 = 0;
     DELETE FROM t WHERE a % 5 = 0;
     VACUUM t;
     TRUNCATE t;
     BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; ABORT;";

/// Plugins that cannot be used: name, library, what the reason says.
fn unusable() -> Vec<(Library, &'static str)> {
    let abi = |name, version: &str, size: &str| {
        let version = format!("SAYS_VERSION={version}");
        let size = format!("SAYS_SIZE={size}");
        Library::c_as(name, "wrong_abi", &[&version, &size])
    };
    vec![
        (
            Library::c("no_init"),
            "has no symbol _PG_walker_plugin_init",
        ),
        (Library::c("no_magic"), "missing magic block"),
        (Library::c("wrong_major"), "version mismatch"),
        (
            abi("later_abi", "99", "sizeof(WalkerCallbacks)"),
            "has walker plugin ABI 99",
        ),
        (
            abi("no_abi", "0", "sizeof(WalkerCallbacks)"),
            "has walker plugin ABI 0",
        ),
        (
            abi("long_table", "2", "sizeof(WalkerCallbacks) + 8"),
            "with a table of",
        ),
        (abi("short_table", "2", "40"), "with a table of 40 bytes"),
        (
            Library::c_as("init_error", "fails_early", &["ERROR_IN_INIT"]),
            "_PG_walker_plugin_init failed: misdeed: ERROR in init: As told.",
        ),
    ]
}

/// Plugins of the original contract, in each spelling and from an old build.
fn originals() -> Vec<Library> {
    vec![
        Library::c_as("original_header", "original", &["SPELLING=WALkerCallbacks"]),
        Library::c_as("original_readme", "original", &["SPELLING=WalkerCallbacks"]),
        Library::c_as("original_old", "original", &["OWN_HEADER"]),
    ]
}

#[test]
fn unusable_plugins_hurt_nobody() {
    let unusable = unusable();
    let originals = originals();
    let mut libraries = vec![
        Library::rmgr_counter(),
        Library::c("seventh"),
        Library::c("thread"),
    ];
    libraries.extend(unusable.iter().map(|(library, _)| library.clone()));
    libraries.extend(originals.clone());
    let mut names: Vec<&str> = vec!["missing"];
    names.extend(unusable.iter().map(|(library, _)| library.name.as_str()));
    names.push("rmgr_counter");
    names.extend(originals.iter().map(|library| library.name.as_str()));
    names.extend(["seventh", "thread"]);
    let cluster = Cluster::with_plugins(
        "load",
        &Setup {
            libraries: &libraries,
            plugins: &names.join(", "),
            ..Setup::default()
        },
    );
    cluster.create_rmgr_counts();
    cluster.wait_for_plugin("thread", "running");
    let from = cluster.plugin("rmgr_counter", "start_lsn");
    psql_file(&cluster, "postgres", WORK);
    cluster.assert_counts_complete(&from);

    // The view keeps the order of the list.
    let order = cluster.safe_psql("postgres", "SELECT name FROM walker_plugins");
    assert_eq!(order.lines().collect::<Vec<_>>(), names);
    let mut reasons = vec![("missing", "could not access file \"missing\"")];
    reasons.extend(
        unusable
            .iter()
            .map(|(l, reason)| (l.name.as_str(), *reason)),
    );
    let log = cluster.log_from(0);
    for (name, reason) in reasons {
        let row = cluster.plugin(name, "state, last_error, records");
        assert!(
            row.starts_with("failed to load|") && row.contains(reason) && row.ends_with("|0"),
            "{name}: {row}"
        );
        let warning = format!("WARNING:  could not load walker plugin \"{name}\"");
        assert_eq!(log.matches(&warning).count(), 1, "{warning}");
        assert!(log.contains(reason), "no \"{reason}\" in the log");
    }
    for library in &originals {
        let row = cluster.plugin(&library.name, "state, abi_version, records, errors");
        let expected = five_rmgrs(&cluster, &library.name);
        assert_eq!(row, format!("running|1|{expected}|0"), "{}", library.name);
    }
    assert_eq!(
        cluster.plugin("seventh", "state, records, errors"),
        "running|0|0"
    );

    let took = cluster.stop(Mode::Fast);
    assert!(took <= Duration::from_secs(5), "fast stop took {took:?}");
    assert_eq!(cluster.server_starts(), 1);
}

/// The first would hold it for as long as the worker runs, and the second, or any
/// session, would wait for it.
#[test]
fn a_failed_init_keeps_no_lock() {
    let names = ["lock_first", "lock_second"];
    let libraries = names.map(|name| Library::c_as(name, "fails_early", &["ERROR_WITH_A_LOCK"]));
    let setup = Setup {
        libraries: &libraries,
        plugins: &names.join(", "),
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("lock", &setup);
    for name in names {
        cluster.wait_for_plugin(name, "failed to load");
        let error = cluster.plugin(name, "last_error");
        assert!(error.ends_with("misdeed: ERROR with a lock"), "{error}");
    }
}

/// Behind its last answer a plugin gets all records again after a crash, also one
/// that leaves its position to walker.
#[test]
fn what_was_not_made_durable_comes_again() {
    let setup = Setup {
        libraries: &[Library::rmgr_counter(), Library::c("partial")],
        plugins: "partial, rmgr_counter",
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("partial", &setup);
    let first = poll_until("its first state", || {
        let durable = cluster.plugin("partial", "durable_lsn");
        (!durable.is_empty()).then_some(durable)
    });
    for sql in [WORK, "DROP TABLE t"] {
        psql_file(&cluster, "postgres", sql);
        cluster.safe_psql("postgres", "CHECKPOINT");
        let saved = "SELECT durable_lsn >= redo_lsn FROM walker_plugins, pg_control_checkpoint()
                     WHERE name = 'rmgr_counter'";
        cluster.poll_query_until("postgres", saved, "t");
        assert_eq!(cluster.plugin("partial", "durable_lsn"), first);
    }
    cluster.stop(Mode::Immediate);
    cluster.start();
    cluster.wait_for_plugin("partial", "running");
    assert_eq!(cluster.plugin("partial", "start_lsn"), first);
    cluster.walker_wait();

    // After a stop in order, too.
    let second = poll_until("its second state", || {
        let durable = cluster.plugin("partial", "durable_lsn");
        (durable != first).then_some(durable)
    });
    cluster.restart();
    cluster.wait_for_plugin("partial", "running");
    assert_eq!(cluster.plugin("partial", "start_lsn"), second);
    cluster.walker_wait();
}

/// What is configured is shown also where there is no room for a worker.
#[test]
fn without_a_worker_no_plugin_runs() {
    let setup = Setup {
        plugins: "second, first",
        conf: "max_worker_processes = 0",
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("unserved", &setup);
    assert!(cluster.log_from(0).contains("too many background workers"));
    let status = "SELECT state, pid IS NULL, restarts FROM walker_status";
    assert_eq!(cluster.safe_psql("postgres", status), "not running|t|0");
    let plugins = "SELECT name, state, applied_lsn IS NULL, records, errors FROM walker_plugins";
    assert_eq!(
        cluster.safe_psql("postgres", plugins),
        "second|not running|t|0|0\nfirst|not running|t|0|0"
    );
}

/// Records of the five resource managers of the original contract, as
/// pg_waldump counts them over what a plugin has seen.
fn five_rmgrs(cluster: &Cluster, plugin: &str) -> u64 {
    let ends = cluster.plugin(plugin, "start_lsn, applied_lsn");
    let (from, to) = ends.split_once('|').expect("two positions");
    let five = ["Heap", "Heap2", "XLOG", "Transaction", "Storage"];
    waldump::stats(cluster, from, to)
        .iter()
        .filter(|(name, _)| five.contains(&name.as_str()))
        .map(|(_, counts)| counts.records)
        .sum()
}

#[test]
fn a_new_list_restarts_the_worker() {
    let libraries = [
        Library::rmgr_counter(),
        originals().remove(0),
        Library::c("no_init"),
    ];
    let cluster = Cluster::with_plugins(
        "list",
        &Setup {
            libraries: &libraries,
            plugins: "rmgr_counter",
            ..Setup::default()
        },
    );
    cluster.create_rmgr_counts();
    cluster.walker_wait();
    let from = cluster.plugin("rmgr_counter", "start_lsn");

    // Another setting changes nothing.
    let pid = cluster.safe_psql("postgres", "SELECT pid FROM walker_status");
    cluster.alter_system("log_checkpoints", "off");
    cluster.poll_query_until("postgres", "SHOW log_checkpoints", "off");
    psql_file(&cluster, "postgres", WORK);
    cluster.walker_wait();
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT pid FROM walker_status"),
        pid
    );

    // In front of it, behind it, and without it: its count goes on.
    for list in [
        "original_header, no_init, rmgr_counter",
        "rmgr_counter, original_header",
        "rmgr_counter",
    ] {
        cluster.alter_system("walker.plugins", list);
        let names = "SELECT string_agg(name, ', ') FROM walker_plugins";
        cluster.poll_query_until("postgres", names, list);
        cluster.wait_for_plugin("rmgr_counter", "running");
        cluster.safe_psql("postgres", "DROP TABLE t");
        psql_file(&cluster, "postgres", WORK);
        cluster.assert_counts_complete(&from);
    }
    cluster.alter_system("walker.plugins", "");
    cluster.poll_query_until("postgres", "SELECT count(*) FROM walker_plugins", "0");
    cluster.wait_for_state(&["streaming", "waiting"]);
    cluster.walker_wait();
    assert_eq!(cluster.server_starts(), 1);
}

#[test]
fn bad_names_are_refused() {
    let cluster = Cluster::with_plugins("names", &Setup::default());
    let long = "a".repeat(64);
    let many: Vec<String> = (0..17).map(|n| format!("p{n}")).collect();
    let many = many.join(",");
    let bad = [
        "/etc/passwd",
        "/tmp/evil.so",
        "../evil",
        "..",
        ".",
        "./evil",
        "a/b",
        "a\\b",
        "$libdir",
        "$libdir/evil",
        "$libdir/../evil",
        "evil.so",
        "evil.so.1",
        ".evil",
        "~",
        "~/evil",
        "%p",
        "a b",
        "a\tb",
        "a;b",
        "a'b",
        "\"a\"",
        "\"a,b\"",
        "a|b",
        "a&b",
        "a`b",
        "a$b",
        "$(a)",
        "a*",
        "a?",
        "[a]",
        "{a}",
        "a=b",
        "a:b",
        "http://a",
        "1a",
        "-a",
        "--a",
        "é",
        "a\u{200b}",
        "ａ",
        "\u{202e}a",
        ",",
        "a,",
        ",a",
        "a,,b",
        "a, a",
        "a,b,a",
        &long,
        &many,
    ];
    assert!(bad.len() >= 40);
    for list in bad {
        let quoted = list.replace('\'', "''");
        let sql = format!("ALTER SYSTEM SET walker.plugins = '{quoted}'");
        let error = cluster
            .psql("postgres", &sql)
            .err()
            .unwrap_or_else(|| panic!("{list:?} was taken"));
        assert_eq!(error.sqlstate, "22023", "{list:?}: {error}");
        assert!(error.message.contains("\ndetail: "), "{list:?}: {error}");
    }
    // In the file: a line in the log, and the old list stays.
    let offset = cluster.log_offset();
    cluster.append_conf("walker.plugins = '../evil'");
    cluster.reload();
    cluster.wait_for_log("invalid value for parameter \"walker.plugins\"", offset);
    cluster.wait_for_log("\"../evil\" is not a plugin name", offset);
    assert_eq!(cluster.safe_psql("postgres", "SHOW walker.plugins"), "");

    for good in ["a", "_", "A-b_9", &"a".repeat(63), " a , b "] {
        cluster.safe_psql(
            "postgres",
            &format!("ALTER SYSTEM SET walker.plugins = '{good}'"),
        );
    }
    // Changing what code the server runs is for superusers.
    cluster.safe_psql("postgres", "CREATE ROLE plain LOGIN");
    let error = cluster
        .psql_as("plain", "postgres", "ALTER SYSTEM SET walker.plugins = 'a'")
        .expect_err("not a superuser");
    assert_eq!(error.sqlstate, "42501");
    let error = cluster
        .psql_as("plain", "postgres", "SHOW walker.plugins")
        .expect_err("not a superuser");
    assert_eq!(error.sqlstate, "42501");
}
