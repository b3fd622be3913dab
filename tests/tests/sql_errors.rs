//! Wrong input and missing privileges: which error, by SQLSTATE, for whom.

use walker_tests::session::aligned;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

/// Statement and SQLSTATE; "ok" if it must work.
type Case = (&'static str, &'static str);

const SETUP: &str = "
CREATE TABLE t (a int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 1000);
DELETE FROM t WHERE a <= 10;
CREATE VIEW v AS SELECT * FROM t;
CREATE SEQUENCE s;
CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
CREATE UNLOGGED TABLE u (a int);
CREATE TABLE p (a int) PARTITION BY LIST (a);
CREATE TYPE c AS (a int);
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE o (a int) USING other;
CREATE TABLE \"Odd \"\"Name\" (a int);
CREATE ROLE nobody LOGIN;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE scan LOGIN IN ROLE pg_stat_scan_tables;
CREATE ROLE stats LOGIN IN ROLE pg_read_all_stats;";

const WRONG_RELATIONS: &[Case] = &[
    ("t", "ok"),
    ("m", "ok"),
    ("pg_class", "ok"),
    ("pg_database", "ok"),
    ("pg_toast.pg_toast_1255", "ok"),
    ("\"Odd \"\"Name\"", "ok"),
    ("v", "42809"),
    ("s", "42809"),
    ("t_pkey", "42809"),
    ("c", "42809"),
    ("p", "42809"),
    ("pg_stat_activity", "42809"),
    ("u", "0A000"),
    ("o", "0A000"),
    ("no_such_table", "42P01"),
    ("0", "42P01"),
    ("4294967295", "42P01"),
];

/// For `garbage_prune`.
const PRUNABLE_RELATIONS: &[Case] = &[
    ("t", "ok"),
    ("m", "ok"),
    ("\"Odd \"\"Name\"", "ok"),
    ("pg_class", "0A000"),
    ("pg_database", "0A000"),
    ("pg_toast.pg_toast_1255", "0A000"),
    ("v", "42809"),
    ("s", "42809"),
    ("t_pkey", "42809"),
    ("c", "42809"),
    ("p", "42809"),
    ("u", "0A000"),
    ("o", "0A000"),
    ("no_such_table", "42P01"),
    ("0", "42P01"),
    ("4294967295", "42P01"),
];

const WRONG_ARGUMENTS: &[Case] = &[
    ("CALL garbage_prune('t', 0)", "ok"),
    ("CALL garbage_prune('t', -1)", "22023"),
    ("CALL garbage_prune('t', max_time => '-1 s')", "22023"),
    ("CALL garbage_prune('t', min_dead => -1)", "22023"),
    ("CALL garbage_prune('t', NULL, NULL, NULL)", "ok"),
    ("CALL garbage_prune(NULL)", "ok"),
    ("SELECT garbage_prune('t')", "42809"),
    (
        "SET transaction_read_only = on; CALL garbage_prune('t')",
        "25006",
    ),
    (
        "CREATE TEMPORARY TABLE x (a int); CALL garbage_prune('x')",
        "0A000",
    ),
    ("SELECT * FROM garbage_map('t', 32)", "ok"),
    ("SELECT * FROM garbage_map('t', 64)", "ok"),
    ("SELECT * FROM garbage_map('t', 1073741824)", "ok"),
    ("SELECT * FROM garbage_map('t', 0)", "22023"),
    ("SELECT * FROM garbage_map('t', -32)", "22023"),
    ("SELECT * FROM garbage_map('t', 33)", "22023"),
    ("SELECT * FROM garbage_map('t', -2147483648)", "22023"),
    ("SELECT * FROM garbage_map('t', 2147483647)", "22023"),
    ("SELECT * FROM garbage_map(NULL)", "ok"),
    ("SELECT * FROM garbage_map('t', NULL)", "ok"),
    ("SELECT * FROM garbage_verify(NULL)", "ok"),
    ("SELECT garbage_heatmap('t', 300, 200)", "ok"),
    ("SELECT garbage_heatmap('t', 4000, 4000)", "ok"),
    ("SELECT garbage_heatmap('t', 299)", "22023"),
    ("SELECT garbage_heatmap('t', 4001)", "22023"),
    ("SELECT garbage_heatmap('t', height => 199)", "22023"),
    ("SELECT garbage_heatmap('t', height => 4001)", "22023"),
    ("SELECT garbage_histogram('t', 0)", "22023"),
    ("SELECT garbage_histogram('t', -2147483648)", "22023"),
    ("SELECT garbage_sorted_histogram('t', 2147483647)", "22023"),
    ("SELECT garbage_bar('t', 1)", "ok"),
    ("SELECT garbage_bar('t', 1000)", "ok"),
    ("SELECT garbage_bar('t', 0)", "22023"),
    ("SELECT garbage_bar('t', -1)", "22023"),
    ("SELECT garbage_bar('t', 1001)", "22023"),
    ("SELECT garbage_bar(NULL)", "ok"),
    ("SELECT garbage_heatmap('t', NULL)", "ok"),
    (
        "CREATE TEMPORARY TABLE x (a int); SELECT * FROM garbage_map('x')",
        "0A000",
    ),
    ("SELECT walker_wait('0/0', '-1 s')", "22023"),
    ("SELECT walker_wait('0/0', '1 s')", "ok"),
    ("SELECT walker_wait('FFFFFFFF/FFFFFFFF', '1 ms')", "ok"),
    ("SELECT walker_wait('FFFFFFFF/FFFFFFFF', '0')", "ok"),
    ("SELECT walker_wait('zero', '1 s')", "22P02"),
    ("SET walker.no_such_setting = 1", "42602"),
    ("SET walker.plugins = 'x'", "55P02"),
    ("ALTER SYSTEM SET walker.plugins = '../evil'", "22023"),
    ("ALTER SYSTEM SET walker.plugins = '/tmp/evil'", "22023"),
    ("ALTER SYSTEM SET walker.plugins = 'a,a'", "22023"),
    ("ALTER SYSTEM SET walker.plugins = '$libdir/x'", "22023"),
];

/// By role, in the order nobody, monitor, scan, stats, postgres: y or n.
const PRIVILEGES: &[(&str, &str)] = &[
    ("SELECT * FROM walker_status", "nynny"),
    ("SELECT * FROM walker_status()", "nynny"),
    ("SELECT * FROM walker_plugins", "nynny"),
    ("SELECT * FROM walker_rmgr_stats", "nynny"),
    ("SELECT walker_wait('0/0', '1 ms')", "nynny"),
    ("SELECT * FROM garbage_map('t')", "nyyyy"),
    ("SELECT * FROM garbage_map('t', 64)", "nyyyy"),
    ("SELECT * FROM garbage_tables", "nyyyy"),
    ("SELECT garbage_heatmap('t')", "nyyyy"),
    ("SELECT garbage_histogram('t')", "nyyyy"),
    ("SELECT garbage_sorted_histogram('t')", "nyyyy"),
    ("SELECT garbage_bar('t')", "nyyyy"),
    ("SELECT garbage_report()", "nyyyy"),
    ("SELECT * FROM garbage_status", "nynny"),
    ("SELECT * FROM garbage_summary('t')", "nyyny"),
    ("SELECT * FROM gs('t')", "nyyny"),
    ("SELECT * FROM gs_rank('t')", "nyyny"),
    ("SELECT * FROM garbage_verify('t')", "nyyny"),
    ("SELECT garbage_base_scan('t')", "nnnny"),
    ("SELECT garbage_base_scan()", "nnnny"),
    ("SELECT walker_restart()", "nnnny"),
    ("CALL garbage_prune('t')", "nnnny"),
    ("SELECT * FROM garbage_prune_progress", "nyyyy"),
    ("SELECT * FROM garbage_counters", "nyyyy"),
    ("SELECT * FROM garbage_candidates", "nyyyy"),
];

const ROLES: [&str; 5] = ["nobody", "monitor", "scan", "stats", "postgres"];

/// Runs all cases and complains of all together.
fn judge(cluster: &Cluster, cases: impl IntoIterator<Item = (&'static str, String, String)>) {
    let mut wrong = Vec::new();
    for (role, sql, expected) in cases {
        let result = cluster.psql_as(role, "postgres", &sql);
        let (got, message) = match result {
            Ok(_) => ("ok".to_owned(), String::new()),
            Err(error) => (error.sqlstate.clone(), error.message),
        };
        if got != expected {
            wrong.push(format!(
                "{role}: {sql}\n  is {got}, should be {expected}; {message}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn relations_that_have_no_map() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("relations", &[], "");
    cluster.safe_psql("postgres", SETUP);
    let functions = [
        "garbage_map",
        "garbage_verify",
        "garbage_base_scan",
        "garbage_heatmap",
        "garbage_histogram",
        "garbage_sorted_histogram",
        "garbage_bar",
    ];
    judge(
        &cluster,
        functions.iter().flat_map(|function| {
            WRONG_RELATIONS.iter().map(move |(relation, expected)| {
                let quoted = relation.replace('\'', "''");
                let sql = format!("SELECT * FROM {function}('{quoted}')");
                ("postgres", sql, (*expected).to_owned())
            })
        }),
    );
    judge(
        &cluster,
        PRUNABLE_RELATIONS.iter().map(|(relation, expected)| {
            let sql = format!("CALL garbage_prune('{relation}')");
            ("postgres", sql, (*expected).to_owned())
        }),
    );
    judge(
        &cluster,
        WRONG_ARGUMENTS
            .iter()
            .map(|(sql, e)| ("postgres", (*sql).to_owned(), (*e).to_owned())),
    );
    let error = cluster
        .psql("postgres", "SELECT * FROM garbage_map('u')")
        .expect_err("unlogged");
    assert!(error.message.contains("not WAL-logged"), "{error}");
}

#[test]
fn every_function_for_every_role() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("roles", &[], "");
    cluster.safe_psql("postgres", SETUP);
    let cases = PRIVILEGES.iter().flat_map(|(sql, allowed)| {
        ROLES.iter().zip(allowed.chars()).map(|(role, allowed)| {
            let expected = if allowed == 'y' { "ok" } else { "42501" };
            (*role, (*sql).to_owned(), expected.to_owned())
        })
    });
    judge(&cluster, cases);

    // The functions look at the caller themselves: a careless GRANT opens
    // nothing.
    for function in [
        "walker_status()",
        "walker_wait(pg_lsn, interval)",
        "walker_restart()",
        "garbage_map(regclass, int)",
        "garbage_verify(regclass)",
        "garbage_base_scan(regclass)",
    ] {
        cluster.safe_psql(
            "postgres",
            &format!("GRANT EXECUTE ON FUNCTION {function} TO PUBLIC"),
        );
    }
    let cases = [
        "SELECT * FROM walker_status()",
        "SELECT walker_wait('0/0', '1 ms')",
        "SELECT walker_restart()",
        "SELECT * FROM garbage_map('t')",
        "SELECT * FROM garbage_verify('t')",
        "SELECT garbage_base_scan('t')",
    ];
    judge(
        &cluster,
        cases
            .iter()
            .map(|sql| ("nobody", (*sql).to_owned(), "42501".to_owned())),
    );
}

/// Who may VACUUM a table may prune it.
#[test]
fn pruning_is_for_maintainers() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("maintainers", &[], "");
    cluster.safe_psql("postgres", SETUP);
    cluster.safe_psql(
        "postgres",
        "CREATE ROLE owner LOGIN; CREATE ROLE dbowner LOGIN; CREATE ROLE maintainer LOGIN;
         CREATE ROLE member LOGIN IN ROLE owner",
    );
    cluster.safe_psql("postgres", "CREATE DATABASE other OWNER dbowner");
    let setup = "CREATE TABLE own (a int); ALTER TABLE own OWNER TO owner;
                 INSERT INTO own SELECT generate_series(1, 1000); DELETE FROM own";
    cluster.safe_psql("other", setup);
    cluster.safe_psql("postgres", setup);
    let maintain = cluster.server.major >= 17;
    if maintain {
        cluster.safe_psql("postgres", "GRANT MAINTAIN ON own TO maintainer");
    }
    let call = |database: &str, role: &str| {
        let result = cluster.psql_as(role, database, "CALL garbage_prune('own')");
        result.map_or_else(|e| e.sqlstate, |_| "ok".to_owned())
    };
    for (database, role, allowed) in [
        ("postgres", "nobody", false),
        ("postgres", "monitor", false),
        ("postgres", "dbowner", false),
        ("postgres", "maintainer", maintain),
        ("postgres", "owner", true),
        ("postgres", "member", true),
        ("other", "dbowner", true),
        ("other", "nobody", false),
    ] {
        let expected = if allowed { "ok" } else { "42501" };
        assert_eq!(call(database, role), expected, "{role} in {database}");
    }
}

#[test]
fn without_preload_and_without_plugin() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("unloaded");
    cluster.init();
    cluster.start();
    cluster.create_extensions("postgres");
    let statements = [
        "SELECT * FROM walker_status",
        "SELECT * FROM walker_plugins",
        "SELECT * FROM walker_rmgr_stats",
        "SELECT walker_wait('0/0', '1 s')",
        "SELECT * FROM garbage_map('pg_class')",
        "SELECT * FROM garbage_tables",
        "SELECT * FROM garbage_verify('pg_class')",
        "CALL garbage_prune('mine')",
        "SELECT garbage_heatmap('pg_class')",
        "SELECT garbage_bar('pg_class')",
        "SELECT garbage_report()",
    ];
    cluster.safe_psql("postgres", "CREATE TABLE mine ()");
    let refused = |statements: &[&str]| {
        judge(
            &cluster,
            statements
                .iter()
                .map(|sql| ("postgres", (*sql).to_owned(), "55000".to_owned())),
        );
    };
    refused(&statements);
    // What only reads the table needs no worker.
    cluster.safe_psql("postgres", "SELECT * FROM garbage_summary('pg_class')");

    cluster.append_conf("shared_preload_libraries = 'walker'");
    cluster.restart();
    refused(&statements[4..]);
    cluster.poll_query_until("postgres", "SELECT count(*) FROM walker_status", "1");
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT count(*) FROM walker_plugins"),
        "0"
    );

    // A plugin that is not there stops neither the server nor the others.
    cluster.append_conf("walker.plugins = 'no_such_plugin, garbagemap'");
    cluster.restart();
    cluster.poll_query_until(
        "postgres",
        "SELECT string_agg(name || ':' || (state = 'running')::text, ' ') FROM walker_plugins",
        "no_such_plugin:false garbagemap:true",
    );
    cluster.walker_wait();
    cluster.safe_psql("postgres", "SELECT * FROM garbage_map('pg_class')");
}

/// Whoever waits for a table that is being dropped finds none.
#[test]
fn a_table_that_goes_while_it_is_waited_for() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("goes", &[], "");
    let mut dropping = Session::open(&cluster, "postgres");
    for call in [
        "CALL garbage_prune('goes')",
        "SELECT * FROM garbage_summary('goes')",
        "SELECT garbage_base_scan('goes')",
        "SELECT * FROM garbage_verify('goes')",
    ] {
        cluster.safe_psql(
            "postgres",
            "CREATE TABLE goes AS SELECT g AS a FROM generate_series(1, 1000) g;
             DELETE FROM goes WHERE a % 2 = 0",
        );
        cluster.walker_wait();
        dropping.safe("BEGIN");
        dropping.safe("DROP TABLE goes");
        let mut waiting = Session::open(&cluster, "postgres");
        waiting.send(call);
        waiting.wait_blocked(&cluster);
        dropping.safe("COMMIT");
        let error = waiting.wait().expect_err(call);
        assert_eq!(error.sqlstate, "42P01", "{call}: {error}");
        assert_eq!(aligned(&waiting.safe("SELECT 1")), "1");
    }
    // One of all tables is no reason to leave out the others.
    cluster.safe_psql("postgres", "CREATE TABLE goes (a int)");
    dropping.safe("BEGIN");
    dropping.safe("DROP TABLE goes");
    let mut waiting = Session::open(&cluster, "postgres");
    waiting.send("SELECT garbage_base_scan()");
    waiting.wait_blocked(&cluster);
    dropping.safe("COMMIT");
    waiting.wait().expect("a scan of the others");
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}
