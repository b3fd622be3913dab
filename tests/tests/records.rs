//! walker_records: the same records as pg_walinspect's, and clear errors.

use walker_tests::session::aligned;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session, waldump};

/// A cluster that has written some of everything; walker need not be preloaded
/// for this function. From where to where.
fn written(name: &str) -> (Cluster, String, String) {
    let cluster = Cluster::new(name);
    cluster.init();
    cluster.append_conf("wal_keep_size = '8GB'\nmax_wal_size = '4GB'\nautovacuum = off");
    cluster.start();
    cluster.safe_psql("postgres", "CREATE EXTENSION walker");
    let from = flushed(&cluster);
    for sql in [
        "CREATE TABLE t (a int PRIMARY KEY, b text, c point, d int[])",
        "CREATE INDEX ON t USING gist (c); CREATE INDEX ON t USING gin (d);
         CREATE INDEX ON t USING brin (a); CREATE INDEX ON t USING hash (b);
         CREATE INDEX ON t USING spgist (c); CREATE SEQUENCE s",
        "INSERT INTO t SELECT i, repeat('x', i % 90), point(i, i), ARRAY[i]
         FROM generate_series(1, 2000) i",
        "CHECKPOINT",
        "UPDATE t SET b = b || 'y' WHERE a % 3 = 0; SELECT nextval('s')",
        "BEGIN; DELETE FROM t WHERE a % 5 = 0; SAVEPOINT s; SELECT count(*) FROM (SELECT FROM t
         WHERE a < 20 FOR UPDATE) x; UPDATE t SET a = -a WHERE a < 20; ROLLBACK",
        "DELETE FROM t WHERE a % 7 = 0",
        "VACUUM t",
        "SELECT pg_logical_emit_message(false, 'prefix', repeat('message', 200000))",
        "CREATE DATABASE other",
        "DROP DATABASE other",
        "BEGIN; TRUNCATE t; ROLLBACK; SELECT pg_create_restore_point('point')",
        "ANALYZE",
        "VACUUM FULL pg_class",
        "SELECT pg_switch_wal()",
        "CHECKPOINT",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    let to = flushed(&cluster);
    (cluster, from, to)
}

/// Up to here everything is readable.
fn flushed(cluster: &Cluster) -> String {
    cluster.safe_psql("postgres", "CHECKPOINT; SELECT pg_current_wal_flush_lsn()")
}

const OURS: &str =
    "SELECT start_lsn, end_lsn, prev_lsn, xid, rmgr, record_type, length, fpi_length";
const THEIRS: &str = "SELECT start_lsn, end_lsn, prev_lsn, xid, resource_manager, record_type,
                      record_length, fpi_length";

/// Compares with pg_walinspect; how many records there are.
fn assert_equal(cluster: &Cluster, from: &str, to: &str) -> u64 {
    let sql = format!(
        "CREATE TEMP TABLE ours AS {OURS} FROM walker_records('{from}', '{to}');
         CREATE TEMP TABLE theirs AS {THEIRS} FROM pg_get_wal_records_info('{from}', '{to}');
         SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM theirs),
                (SELECT count(*) FROM (TABLE ours EXCEPT ALL TABLE theirs) x),
                (SELECT min(start_lsn) FROM (TABLE theirs EXCEPT ALL TABLE ours) x)"
    );
    let answer = cluster.safe_psql("postgres", &sql);
    let cells: Vec<&str> = answer.split('|').collect();
    assert_eq!(cells[0], cells[1], "{from} to {to}: {answer}");
    assert_eq!(cells[2..], ["0", ""], "{from} to {to}");
    cells[0].parse().expect("a number")
}

#[test]
fn the_same_records_as_pg_walinspect() {
    if plain() {
        return;
    }
    let (cluster, from, to) = written("records");
    let count = format!(
        "SELECT count(*), sum(length), sum(fpi_length) FROM walker_records('{from}', '{to}')"
    );
    let counted = cluster.safe_psql("postgres", &count);
    let dumped = waldump::stats(&cluster, &from, &to);
    let sum = |what: fn(&waldump::RmgrCounts) -> u64| dumped.values().map(what).sum::<u64>();
    let expected = format!(
        "{}|{}|{}",
        sum(|c| c.records),
        sum(|c| c.bytes),
        sum(|c| c.fpi_bytes)
    );
    assert_eq!(counted, expected, "pg_waldump finds other records");

    if cluster.server.has_contrib("pg_walinspect") {
        cluster.safe_psql("postgres", "CREATE EXTENSION pg_walinspect");
        let n = assert_equal(&cluster, &from, &to);
        assert!(n > 5000, "only {n} records");
        // Positions in the middle of records, pages and segments.
        for step in 1..20 {
            let sql = format!(
                "SELECT '{from}'::pg_lsn + trunc(('{to}'::pg_lsn - '{from}') * {step} / 23.0),
                        '{from}'::pg_lsn + trunc(('{to}'::pg_lsn - '{from}') * ({step} + 0.7) / 23.0)"
            );
            let ends = cluster.safe_psql("postgres", &sql);
            let (start, end) = ends.split_once('|').expect("two columns");
            same_or_no_record(&cluster, start, end);
        }
    }
    filters(&cluster, &from, &to);
    behind_a_switch(&cluster);
}

/// The rest of a segment that was left early holds no record: reading begins
/// with the next segment.
fn behind_a_switch(cluster: &Cluster) {
    cluster.safe_psql("postgres", "CREATE TABLE switched (a int)");
    let switched = cluster.safe_psql("postgres", "SELECT pg_switch_wal()");
    let to = flushed(cluster);
    for beyond in [100_000, 1_000_001] {
        let start = format!("'{switched}'::pg_lsn + {beyond}");
        let all = format!(
            "SELECT count(*) > 0, min(start_lsn) - pg_lsn '{switched}' > {beyond}, min(prev_lsn) < '{switched}'
             FROM walker_records({start}, '{to}')"
        );
        assert_eq!(cluster.safe_psql("postgres", &all), "t|t|t", "{start}");
        let none = format!("SELECT count(*) FROM walker_records({start}, {start} + 99)");
        assert_eq!(cluster.safe_psql("postgres", &none), "0", "{start}");
    }
}

/// pg_walinspect calls it an error if no record begins in the stretch, or
/// none between its start and the end of a segment that was left early.
fn same_or_no_record(cluster: &Cluster, from: &str, to: &str) {
    let theirs = format!("SELECT count(*) FROM pg_get_wal_records_info('{from}', '{to}')");
    if cluster.psql("postgres", &theirs).is_ok() {
        assert_equal(cluster, from, to);
    } else {
        let ours = format!(
            "SELECT count(*) FROM walker_records('{from}', '{to}')
             WHERE pg_walfile_name(start_lsn) = pg_walfile_name('{from}')"
        );
        assert_eq!(cluster.safe_psql("postgres", &ours), "0", "{from} to {to}");
    }
}

fn filters(cluster: &Cluster, from: &str, to: &str) {
    let all = format!("walker_records('{from}', '{to}')");
    let sql = |sql: &str| cluster.safe_psql("postgres", sql);
    // Everything can be decoded, and carries its type's name.
    assert_eq!(
        sql(&format!("SELECT count(*) FROM {all} WHERE data ? 'error'")),
        "0"
    );
    assert_eq!(
        sql(&format!("SELECT count(*) FROM {all} WHERE data IS NULL")),
        "0"
    );
    for rmgr in ["Heap", "btree", "TRANSACTION"] {
        let filtered = sql(&format!(
            "SELECT count(*) FROM walker_records('{from}', '{to}', '{rmgr}')"
        ));
        let all = sql(&format!(
            "SELECT count(*) FROM {all} WHERE rmgr ILIKE '{rmgr}'"
        ));
        assert_eq!(filtered, all, "{rmgr}");
        assert_ne!(filtered, "0", "{rmgr}");
    }
    for (relation, is_there) in [
        ("t", true),
        ("t_pkey", true),
        ("pg_class", false),
        ("pg_database", true),
    ] {
        let filtered = sql(&format!(
            "SELECT count(*) FROM walker_records('{from}', '{to}', NULL, '{relation}')"
        ));
        let all = sql(&format!(
            "SELECT count(*) FROM {all} WHERE jsonb_path_exists(blocks, '$[*].locator.rel_number
             ? (@ == $n)', jsonb_build_object('n', pg_relation_filenode('{relation}')::bigint))"
        ));
        assert_eq!(filtered, all, "{relation}");
        assert_eq!(filtered != "0", is_there || filtered != "0", "{relation}");
    }
    let named = format!(
        "SELECT count(*) FROM walker_records(start_lsn => '{from}', end_lsn => '{to}',
                         relation => 't', rmgr => 'Gist')"
    );
    assert_eq!(sql(&named), "0", "not the table's own");
    let inserted = sql(&format!(
        "SELECT count(*), bool_and(data->'Heap'->'Insert'->>'offnum' IS NOT NULL),
                bool_and((blocks->0->'locator'->>'db_oid')::oid =
                         (SELECT oid FROM pg_database WHERE datname = 'postgres'))
         FROM walker_records('{from}', '{to}', 'Heap', 't') WHERE record_type ~ '^INSERT'"
    ));
    assert_eq!(inserted, "2000|t|t");
}

#[test]
fn rows_come_one_by_one() {
    if plain() {
        return;
    }
    let (cluster, from, to) = written("records-stream");
    let mut session = Session::open(&cluster, "postgres");
    let contexts = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'walker_records'";
    let first = format!("SELECT walker_records('{from}', '{to}') LIMIT 3");
    assert_eq!(session.safe(&first).len(), 3);
    session.safe(&format!(
        "BEGIN; DECLARE c CURSOR FOR SELECT (walker_records('{from}', '{to}')).start_lsn"
    ));
    assert_eq!(session.safe("FETCH 10 FROM c").len(), 10);
    assert_eq!(aligned(&session.safe(contexts)), "1");
    assert_eq!(session.safe("FETCH 10 FROM c").len(), 10);
    session.safe("COMMIT");
    let error = session.run(&format!(
        "SELECT 1 / (length - length) FROM (SELECT (walker_records('{from}', '{to}')).length) r"
    ));
    assert_eq!(error.expect_err("a division").sqlstate, "22012");
    // Nothing stays behind, whatever ended it.
    assert_eq!(aligned(&session.safe(contexts)), "0");
    let descriptors = format!("/proc/{}/fd", session.pid);
    let open = std::fs::read_dir(descriptors).expect("a process");
    let wal = open
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter(|file| file.to_string_lossy().contains("pg_wal/"));
    // The session may write WAL of its own, in one file.
    assert!(wal.count() <= 1);

    let slow = session.run(&format!(
        "SET statement_timeout = '20 ms';
         SELECT count(*) FROM generate_series(1, 1000) g, walker_records('{from}', '{to}') r
         WHERE r.length = -g"
    ));
    assert_eq!(slow.expect_err("a timeout").sqlstate, "57014");
}

#[test]
fn errors_say_what_is_wrong() {
    if plain() {
        return;
    }
    let (cluster, from, to) = written("records-errors");
    cluster.safe_psql(
        "postgres",
        "CREATE VIEW v AS SELECT 1; CREATE ROLE nobody LOGIN;
         CREATE ROLE reader LOGIN IN ROLE pg_read_server_files",
    );
    let range = format!("'{from}', '{to}'");
    for (arguments, sqlstate, part) in [
        (format!("'{to}', '{from}'"), "22023", "less than"),
        (format!("'{from}', '{from}'"), "22023", "less than"),
        (format!("'{from}', 'FFFF/0'"), "22023", "flushed up to"),
        (
            "'FFFF/0', 'FFFF/10'".to_owned(),
            "22023",
            "start LSN is in the future",
        ),
        ("'0/0', '0/100'".to_owned(), "58P01", "oldest WAL"),
        (format!("'0/1', '{to}'"), "58P01", "oldest WAL"),
        (
            format!("{range}, 'Heaps'"),
            "42704",
            "pg_get_wal_resource_managers",
        ),
        (format!("{range}, ''"), "42704", "does not exist"),
        (format!("{range}, NULL, 'v'"), "42809", "storage"),
        (
            format!("{range}, NULL, 4294967295"),
            "42P01",
            "does not exist",
        ),
        (format!("{range}, NULL, 0"), "42P01", "does not exist"),
    ] {
        let sql = format!("SELECT * FROM walker_records({arguments})");
        let error = cluster.psql("postgres", &sql).expect_err(&sql);
        assert_eq!(error.sqlstate, sqlstate, "{sql}: {error}");
        assert!(error.message.contains(part), "{sql}: {error}");
    }
    for arguments in ["NULL, NULL".to_owned(), format!("'{from}', NULL")] {
        let sql = format!("SELECT count(*) FROM walker_records({arguments})");
        assert_eq!(cluster.safe_psql("postgres", &sql), "0");
    }
    let call = format!("SELECT count(*) > 0 FROM walker_records({range})");
    let try_as = |role: &str| match cluster.psql_as(role, "postgres", &call) {
        Ok(rows) => aligned(&rows),
        Err(error) => error.sqlstate,
    };
    assert_eq!(
        (try_as("nobody"), try_as("reader")),
        ("42501".to_owned(), "t".to_owned())
    );
    cluster.safe_psql(
        "postgres",
        "GRANT EXECUTE ON FUNCTION walker_records(pg_lsn, pg_lsn, text, regclass) TO PUBLIC",
    );
    assert_eq!(try_as("nobody"), "42501", "a careless GRANT opens nothing");

    // WAL that has been removed.
    cluster.append_conf("wal_keep_size = 0\nmin_wal_size = '32MB'\nmax_wal_size = '32MB'");
    cluster.reload();
    cluster.poll_query_until("postgres", "SHOW wal_keep_size", "0");
    for _ in 0..5 {
        let write = "SELECT pg_logical_emit_message(false, 'p', 'x'), pg_switch_wal()";
        cluster.safe_psql("postgres", write);
    }
    cluster.safe_psql("postgres", "CHECKPOINT");
    let error = cluster.psql("postgres", &call).expect_err("removed WAL");
    assert_eq!(error.sqlstate, "58P01", "{error}");
    assert!(error.message.contains("oldest WAL"), "{error}");
}

#[test]
fn a_standby_reads_what_it_has_replayed() {
    if plain() {
        return;
    }
    let (primary, from, to) = written("records-primary");
    let standby = Cluster::standby_of("records-standby", &primary);
    primary.safe_psql("postgres", "INSERT INTO t VALUES (-1)");
    primary.wait_for_catchup(&standby);
    let start = standby.safe_psql("postgres", "SELECT redo_lsn FROM pg_control_checkpoint()");
    let sql = format!(
        "SELECT count(*) > 0 FROM walker_records('{start}', pg_last_wal_replay_lsn(), 'Heap', 't')"
    );
    assert_eq!(standby.safe_psql("postgres", &sql), "t", "{from} to {to}");
    let error = standby.psql(
        "postgres",
        &format!("SELECT * FROM walker_records('{start}', 'FFFF/0')"),
    );
    let error = error.expect_err("the future");
    assert!(error.message.contains("replayed up to"), "{error}");
}
