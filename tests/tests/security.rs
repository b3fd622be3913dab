//! What no list of known functions can show: that every object of the
//! extensions is closed to the public, checks its caller itself, trusts no
//! search_path, and leaves nothing readable or behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use walker_tests::oracle::assert_map_exact;
use walker_tests::psql::psql_file;
use walker_tests::server::{run, text};
use walker_tests::session::aligned;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

const OURS: &str = "SELECT e.oid FROM pg_extension e WHERE e.extname IN ('walker', 'garbagemap')";

/// Functions of the extensions, as `oid::regprocedure`, by a condition.
fn functions(cluster: &Cluster, condition: &str) -> Vec<String> {
    let sql = format!(
        "SELECT p.oid::regprocedure FROM pg_proc p
         JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
         WHERE d.deptype = 'e' AND d.refobjid IN ({OURS}) AND ({condition}) ORDER BY 1"
    );
    let printed = cluster.safe_psql("postgres", &sql);
    printed.lines().map(str::to_owned).collect()
}

/// Like the server's own maintenance functions it is anybody's to call, and
/// checks its caller as VACUUM does.
const PROCEDURE: &str = "garbage_prune";

fn views(cluster: &Cluster, condition: &str) -> Vec<String> {
    let sql = format!(
        "SELECT c.oid::regclass FROM pg_class c
         JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
         WHERE d.deptype = 'e' AND d.refobjid IN ({OURS}) AND ({condition}) ORDER BY 1"
    );
    let printed = cluster.safe_psql("postgres", &sql);
    printed.lines().map(str::to_owned).collect()
}

fn look(view: String) -> String {
    format!("SELECT * FROM {view}")
}

/// A call with arguments of the right types.
fn call(function: &str) -> String {
    let (name, types) = function
        .trim_end_matches(')')
        .split_once('(')
        .expect("arguments");
    let mut positions = [
        "(SELECT redo_lsn FROM pg_control_checkpoint())",
        "pg_current_wal_lsn()",
    ]
    .into_iter();
    let arguments: Vec<&str> = types
        .split(',')
        .filter(|t| !t.is_empty())
        .map(|t| match t {
            "bigint" => "NULL",
            "regclass" => "'t'::regclass",
            "oid" => "'t'::regclass::oid",
            // A multiple of the range size, and enough pixels for a picture.
            "integer" => "640",
            "pg_lsn" => positions.next().expect("at most two"),
            "interval" => "'1 ms'::interval",
            "text" => "'Heap'",
            other => panic!("{function}: teach this test arguments of type {other}"),
        })
        .collect();
    let arguments = arguments.join(", ");
    if name == PROCEDURE {
        return format!("CALL {name}('t')");
    }
    format!("SELECT * FROM {name}({arguments})")
}

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &[], "");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a; DELETE FROM t WHERE a < 100;
         CREATE ROLE nobody LOGIN",
    );
    cluster.walker_wait();
    cluster
}

#[test]
fn nothing_is_open_to_the_public() {
    if plain() {
        return;
    }
    let cluster = cluster("public");
    assert!(functions(&cluster, "true").len() > 12);
    let open =
        "p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)";
    let open = functions(&cluster, open);
    assert!(
        open.len() == 1 && open[0].starts_with(PROCEDURE),
        "{open:?}"
    );
    assert_eq!(functions(&cluster, "p.prosecdef"), [""; 0]);
    let traps =
        "p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql') AND p.prosqlbody IS NULL";
    assert_eq!(functions(&cluster, traps), [""; 0]);
    assert!(views(&cluster, "true").len() > 5);
    let open =
        "c.relacl IS NULL OR EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)";
    assert_eq!(views(&cluster, open), [""; 0]);

    // A careless GRANT of everything opens nothing.
    cluster.safe_psql(
        "postgres",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO nobody;
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody; REVOKE ALL ON t FROM nobody",
    );
    let mut open = Vec::new();
    let calls = functions(&cluster, "true").into_iter().map(|f| call(&f));
    let looks = views(&cluster, "true").into_iter().map(look);
    for sql in calls.chain(looks) {
        match cluster.psql_as("nobody", "postgres", &sql) {
            Err(error) if error.sqlstate == "42501" => {}
            other => open.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(open.is_empty(), "open to anybody:\n{}", open.join("\n"));
}

const TRAPS: &str = "
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS void LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
DO $$
DECLARE
    t text; o text; f text;
BEGIN
    FOREACH t IN ARRAY ARRAY['int4', 'int8', 'oid', 'text', 'name', 'bool', 'pg_lsn', 'regclass',
                             'numeric', 'float8', 'timestamptz', '\"char\"'] LOOP
        EXECUTE format('CREATE FUNCTION evil.op(a %1$s, b %1$s) RETURNS bool LANGUAGE plpgsql AS '
            '''BEGIN PERFORM evil.trap(); RETURN true; END''', t);
        FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/'] LOOP
            EXECUTE format('CREATE OPERATOR evil.%1$s (FUNCTION = evil.op, LEFTARG = %2$s, '
                'RIGHTARG = %2$s)', o, t);
        END LOOP;
        FOREACH f IN ARRAY ARRAY['coalesce_', 'sum', 'count', 'min', 'max', 'pg_relation_size',
                                 'to_regclass', 'ceil', 'abs', 'generate_series', 'div'] LOOP
            EXECUTE format('CREATE FUNCTION evil.%1$I(a %2$s) RETURNS %2$s LANGUAGE plpgsql AS '
                '''BEGIN PERFORM evil.trap(); RETURN a; END''', f, t);
        END LOOP;
    END LOOP;
    CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
        'BEGIN PERFORM evil.trap(); RETURN NULL; END';
    CREATE TABLE evil.pg_class (oid oid, relname name, relfilenode oid);
    CREATE TABLE evil.pg_database (oid oid, datname name);
    CREATE TYPE evil.int8 AS (trap int);
END $$";

#[test]
fn no_search_path_is_trusted() {
    if plain() {
        return;
    }
    let cluster = cluster("path");
    cluster.safe_psql("postgres", TRAPS);
    let trap = "SET search_path = evil, pg_catalog, public; SELECT 1 + 1";
    let wrong = cluster.psql("postgres", trap).expect_err("the trap");
    assert!(wrong.message.contains("trapped"), "{wrong}");
    let looks = views(&cluster, "true").into_iter().map(look);
    let calls = functions(&cluster, "p.proname <> 'walker_restart'");
    for sql in calls.iter().map(|f| call(f)).chain(looks) {
        let sql = format!("SET search_path = evil, pg_catalog, public; {sql}");
        if let Err(error) = cluster.psql("postgres", &sql) {
            panic!("{sql}\n{error}");
        }
    }
}

fn modes(directory: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    let mut modes = vec![("pg_walker".to_owned(), mode(directory))];
    for entry in fs::read_dir(directory).expect("pg_walker") {
        let entry = entry.expect("a file");
        modes.push((
            entry.file_name().to_string_lossy().into_owned(),
            mode(&entry.path()),
        ));
    }
    modes
}

#[test]
fn files_are_for_the_server_only() {
    if plain() {
        return;
    }
    for (name, options, directory, file) in [
        ("modes", &[][..], 0o700, 0o600),
        ("group", &["--allow-group-access"][..], 0o750, 0o640),
    ] {
        let cluster = Cluster::with_walker(name, options, "");
        cluster.safe_psql(
            "postgres",
            "CREATE TABLE secret AS SELECT 'S3CRET WORD' || g AS w FROM generate_series(1, 500) g",
        );
        cluster.safe_psql("postgres", "DELETE FROM secret");
        cluster.walker_wait();
        cluster.stop(Mode::Fast);
        let path = cluster.data_dir().join("pg_walker");
        for (name, mode) in modes(&path) {
            let expected = if name == "pg_walker" { directory } else { file };
            assert_eq!(mode, expected, "{name} has mode {mode:o}");
        }
        // Row contents are nowhere.
        for entry in fs::read_dir(&path).expect("pg_walker") {
            let bytes = fs::read(entry.expect("a file").path()).expect("a file");
            assert!(!bytes.windows(6).any(|w| w == b"S3CRET"));
        }
    }
}

const NAMES: [&str; 40] = [
    "/tmp/evil",
    "../evil",
    "./evil",
    "evil/../garbagemap",
    "$libdir/evil",
    "$libdir",
    "evil.so",
    "a/b",
    "\\\\evil",
    "..",
    ".",
    "-evil",
    "1evil",
    "evil evil",
    "evil;evil",
    "evil\n",
    "evil\t,",
    "~evil",
    "évil",
    "evil\u{202e}",
    "%s%s%s%n",
    "evil'",
    "\"evil",
    "evil`id`",
    "$(id)",
    "evil|id",
    "evil&",
    "evil>x",
    "evil<x",
    "evil*",
    "evil?",
    "evil[a]",
    "evil{a}",
    "evil#",
    "evil=1",
    "garbagemap,garbagemap",
    "garbagemap,",
    ",garbagemap",
    "a,,b",
    "evil@host",
];

#[test]
fn plugin_names_are_names() {
    if plain() {
        return;
    }
    let cluster = cluster("names");
    let long = "x".repeat(64);
    let many: Vec<String> = (0..17).map(|n| format!("p{n}")).collect();
    let many = many.join(",");
    let names = NAMES.iter().copied().chain([long.as_str(), &many]);
    let mut accepted = Vec::new();
    for name in names {
        let quoted = name.replace('\'', "''");
        match cluster.psql(
            "postgres",
            &format!("ALTER SYSTEM SET walker.plugins = E'{quoted}'"),
        ) {
            Err(error) if error.sqlstate == "22023" => {}
            other => accepted.push(format!("{name:?}: {other:?}")),
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    // In the file it is refused too, and what was stays.
    let offset = cluster.log_offset();
    cluster.append_conf("walker.plugins = '../evil'");
    cluster.reload();
    cluster.wait_for_log("walker.plugins", offset);
    assert_eq!(
        cluster.safe_psql("postgres", "SHOW walker.plugins"),
        "garbagemap"
    );
    assert_map_exact(&cluster, "postgres");
}

#[test]
fn other_schemas_dumps_and_removal() {
    if plain() {
        return;
    }
    let cluster = cluster("moved");
    cluster.safe_psql("postgres", "CREATE DATABASE other TEMPLATE template0");
    cluster.safe_psql("postgres", "CREATE ROLE dba LOGIN; GRANT pg_monitor TO dba");
    cluster.safe_psql(
        "other",
        "CREATE SCHEMA \"Mon itor\"; CREATE EXTENSION walker SCHEMA \"Mon itor\";
         CREATE EXTENSION garbagemap SCHEMA \"Mon itor\";
         CREATE TABLE t AS SELECT 1 AS a; DELETE FROM t;
         GRANT USAGE ON SCHEMA \"Mon itor\" TO dba, nobody;
         GRANT EXECUTE ON FUNCTION \"Mon itor\".garbage_map(regclass, int) TO nobody;
         REVOKE SELECT ON \"Mon itor\".walker_status FROM pg_monitor",
    );
    let map = "SELECT n_dead_tuples, exact FROM \"Mon itor\".garbage_map('public.t')";
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("other", map), "1|t");
    let dump = |database: &str| {
        let mut dump = cluster.server.command("pg_dump");
        dump.args(["-U", "postgres", "-h"])
            .arg(cluster.host())
            .arg(database);
        text(&run(&mut dump))
    };
    let dumped = dump("other");
    cluster.safe_psql("postgres", "CREATE DATABASE restored TEMPLATE template0");
    psql_file(&cluster, "restored", &dumped);
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("restored", map), "");
    // Privileges given and taken come along.
    let status = "SELECT pid IS NOT NULL FROM \"Mon itor\".walker_status";
    let refused = cluster
        .psql_as("dba", "restored", status)
        .expect_err("it was taken");
    assert_eq!(refused.sqlstate, "42501");
    let plugins = "SELECT name FROM \"Mon itor\".walker_plugins";
    let rows = cluster
        .psql_as("dba", "restored", plugins)
        .expect("it was not");
    assert_eq!(aligned(&rows), "garbagemap");
    let random = |dump: String| -> Vec<String> {
        // Newer pg_dump marks its output with a random word.
        let plain = |l: &&str| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict");
        dump.lines().filter(plain).map(str::to_owned).collect()
    };
    assert_eq!(random(dump("restored")), random(dumped));

    // Removal leaves nothing behind.
    for database in ["postgres", "template1", "other", "restored"] {
        cluster.safe_psql(database, "DROP EXTENSION garbagemap; DROP EXTENSION walker");
        let left = "SELECT count(*) FROM pg_proc WHERE probin LIKE '%walker%' OR probin LIKE '%garbagemap%'";
        assert_eq!(cluster.safe_psql(database, left), "0");
    }
    cluster.append_conf("shared_preload_libraries = ''\nwalker.plugins = ''");
    cluster.stop(Mode::Fast);
    fs::remove_dir_all(cluster.data_dir().join("pg_walker")).expect("pg_walker");
    cluster.start();
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walker'";
    assert_eq!(cluster.safe_psql("postgres", workers), "0");
    assert!(!cluster.data_dir().join("pg_walker").exists());
}
