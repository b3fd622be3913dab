//! Targeted reclaim: what is dead and may go is gone, what a snapshot needs
//! stays, and tables and indexes are whole, as contrib modules see them.

use walker_tests::oracle::assert_map_exact;
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

/// Rows of about 120 bytes, 60 a page; no autovacuum and no full page writes
/// of hint bits in between.
const TABLE: &str = "
CREATE TABLE t (a int PRIMARY KEY, b int, pad text) WITH (autovacuum_enabled = off);
CREATE INDEX t_b ON t (b);
INSERT INTO t SELECT g, g % 1000, repeat('x', 80) FROM generate_series(1, 30000) AS g;
VACUUM (ANALYZE) t;";

fn cluster(name: &str, conf: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &[], &format!("autovacuum = off\n{conf}"));
    for contrib in ["amcheck", "pg_freespacemap"] {
        if cluster.server.has_contrib(contrib) {
            cluster.safe_psql("postgres", &format!("CREATE EXTENSION {contrib}"));
        }
    }
    TABLE
        .split_inclusive(';')
        .for_each(|sql| drop(cluster.safe_psql("postgres", sql)));
    cluster
}

/// The row of `garbage_prune`: pages visited and pruned, tuples, bytes, pages
/// held and busy; and why it stopped.
fn prune(cluster: &Cluster, call: &str) -> ([i64; 6], String) {
    cluster.walker_wait();
    let printed = cluster.safe_psql("postgres", call);
    let mut cells = printed.split('|');
    let numbers = [(); 6].map(|()| cells.next().and_then(|c| c.parse().ok()).expect(&printed));
    (numbers, cells.next().expect(&printed).to_owned())
}

fn number(cluster: &Cluster, sql: &str) -> i64 {
    let printed = cluster.safe_psql("postgres", sql);
    printed
        .parse()
        .unwrap_or_else(|_| panic!("{sql}\n{printed}"))
}

/// Bytes between line pointers and tuples, by pageinspect.
const HOLES: &str = "SELECT sum(h.upper - h.lower) FROM generate_series(0,
    pg_relation_size('t') / 8192 - 1) AS b, page_header(get_raw_page('t', b::int)) AS h";
const SPACE: &str = "SELECT sum(avail) FROM pg_freespace('t')";
const DEAD: &str = "SELECT n_dead_tuples FROM garbage_tables WHERE relid = 't'::regclass";

/// The heap and its indexes, by the server's own checks and by counting.
fn assert_sound(cluster: &Cluster, table: &str) {
    if cluster.server.has_contrib("amcheck") {
        let heap = format!("SELECT * FROM verify_heapam('{table}')");
        assert_eq!(cluster.safe_psql("postgres", &heap), "");
        cluster.safe_psql(
            "postgres",
            &format!(
                "SELECT bt_index_check(indexrelid, true) FROM pg_index
                 WHERE indrelid = '{table}'::regclass"
            ),
        );
    }
    let count = |off: &str| {
        let sql = format!(
            "SET {off} = off; SET enable_bitmapscan = off; SELECT count(*) FROM t WHERE a > 0"
        );
        cluster.safe_psql("postgres", &sql)
    };
    if table == "t" {
        assert_eq!(count("enable_seqscan"), count("enable_indexscan"));
    }
}

#[test]
fn space_is_freed_found_and_used_again() {
    if plain() {
        return;
    }
    let cluster = cluster("prune", "");
    let contrib = cluster.server.has_contrib("pg_freespacemap");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a BETWEEN 6001 AND 18000");
    let before = contrib.then(|| (number(&cluster, HOLES), number(&cluster, SPACE)));
    cluster.walker_wait();
    assert_eq!(number(&cluster, DEAD), 12000);
    let size = "SELECT pg_relation_size('t')";
    let full = number(&cluster, size);

    let ([visited, pruned, tuples, bytes, held, busy], stop) =
        prune(&cluster, "CALL garbage_prune('t')");
    assert_eq!((tuples, held, busy, stop.as_str()), (12000, 0, 0, ""));
    // 12,000 rows of 112 or more bytes; the ranges with garbage, not the table.
    assert!(bytes > 12000 * 112, "{bytes} bytes");
    assert!(
        pruned <= visited && visited < full / 8192 * 6 / 10,
        "{visited} of {}",
        full / 8192
    );
    if let Some((holes, space)) = before {
        assert_eq!(number(&cluster, HOLES) - holes, bytes, "pageinspect");
        let found = number(&cluster, SPACE) - space;
        assert!(
            (found - bytes).abs() < bytes / 50,
            "{found} in the map, {bytes} freed"
        );
    }
    cluster.walker_wait();
    assert_eq!(number(&cluster, DEAD), 0);
    assert_map_exact(&cluster, "postgres");
    assert_sound(&cluster, "t");

    // Line pointers are left, and their index entries, until VACUUM.
    let items = "SELECT n_dead_items FROM garbage_tables WHERE relid = 't'::regclass";
    assert_eq!(number(&cluster, items), 12000);
    cluster.safe_psql(
        "postgres",
        "INSERT INTO t SELECT g, 0, repeat('y', 80) FROM generate_series(40001, 50000) AS g",
    );
    assert_eq!(number(&cluster, size), full, "the space was not used again");
    assert_sound(&cluster, "t");
    cluster.safe_psql("postgres", "VACUUM t");
    cluster.walker_wait();
    assert_eq!(number(&cluster, items), 0);
    assert_map_exact(&cluster, "postgres");
    assert_sound(&cluster, "t");
    let nothing = prune(&cluster, "CALL garbage_prune('t')");
    assert_eq!(nothing, ([0; 6], String::new()));
}

#[test]
fn pages_that_no_query_would_prune() {
    if plain() {
        return;
    }
    let cluster = cluster("hints", "");
    // Pages that are half empty, so that the server sees no need; and a
    // rollback, which no prunable transaction ID on the page speaks of.
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 2 = 0");
    cluster.safe_psql("postgres", "VACUUM t");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 8 = 1 AND a < 8000");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE back (LIKE t) WITH (autovacuum_enabled = off)",
    );
    cluster.safe_psql(
        "postgres",
        "BEGIN; INSERT INTO back SELECT * FROM t; ROLLBACK",
    );
    // A page that somebody has pinned is left to the next call.
    let mut other = Session::open(&cluster, "postgres");
    other.safe("BEGIN");
    other.safe("DECLARE c CURSOR FOR SELECT * FROM t");
    other.safe("FETCH 1 FROM c");
    let ([_, pruned, tuples, _, held, busy], _) = prune(&cluster, "CALL garbage_prune('t')");
    assert!(tuples < 1000 && tuples > 300, "{tuples} tuples");
    assert_eq!(held, 0);
    assert!(
        pruned > 50 && busy > 0 && busy < 60,
        "{pruned} pruned, {busy} busy"
    );
    other.safe("COMMIT");
    let ([_, _, rest, _, held, busy], _) = prune(&cluster, "CALL garbage_prune('t')");
    assert_eq!((tuples + rest, held, busy), (1000, 0, 0));
    let ([_, _, tuples, bytes, held, _], _) = prune(&cluster, "CALL garbage_prune('back')");
    assert_eq!((tuples, held), (14000, 0));
    assert!(bytes > 14000 * 112, "{bytes}");
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
    assert_sound(&cluster, "t");
}

#[test]
fn what_a_snapshot_needs_stays() {
    if plain() {
        return;
    }
    let cluster = cluster("snapshot", "");
    let mut old = Session::open(&cluster, "postgres");
    old.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let sees = |old: &mut Session| {
        old.safe("SELECT count(*), sum(length(pad)) FROM t")[0][0]
            .clone()
            .expect("a count")
    };
    assert_eq!(sees(&mut old), "30000");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a <= 10000");
    let ([visited, pruned, tuples, bytes, held, _], _) = prune(&cluster, "CALL garbage_prune('t')");
    assert_eq!((pruned, tuples, bytes), (0, 0, 0));
    assert!(held > 100 && held <= visited, "{held} of {visited}");
    assert_eq!(sees(&mut old), "30000");
    old.safe("COMMIT");
    let ([_, _, tuples, ..], _) = prune(&cluster, "CALL garbage_prune('t')");
    assert_eq!(tuples, 10000);
    assert_eq!(sees(&mut old), "20000");
    assert_sound(&cluster, "t");
}

#[test]
fn in_concert_with_writers() {
    if plain() {
        return;
    }
    let cluster = cluster("concert", "");
    Pgbench::init(&cluster, "postgres", 1);
    let load = mixed(&cluster, "postgres", 4, 3).start();
    let (mut calls, mut freed) = (0, 0);
    for table in [
        "pgbench_accounts",
        "pgbench_tellers",
        "pgbench_branches",
        "pgbench_history",
    ]
    .iter()
    .cycle()
    .take(60)
    {
        let (row, _) = prune(&cluster, &format!("CALL garbage_prune('{table}')"));
        calls += 1;
        freed += row[3];
        if calls % 20 == 0 {
            cluster.safe_psql("postgres", &format!("VACUUM {table}"));
        }
    }
    assert!(freed > 10_000, "{freed} bytes in {calls} calls");
    load.wait();
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
    for table in [
        "pgbench_accounts",
        "pgbench_tellers",
        "pgbench_branches",
        "pgbench_history",
    ] {
        assert_sound(&cluster, table);
    }
    // No update was lost.
    let tellers = "SELECT (SELECT sum(tbalance) FROM pgbench_tellers)
                        = (SELECT sum(bbalance) FROM pgbench_branches)";
    assert_eq!(cluster.safe_psql("postgres", tellers), "t");
}

#[test]
fn limits_progress_delay_and_cancel() {
    if plain() {
        return;
    }
    let cluster = cluster("limits", "");
    cluster.safe_psql(
        "postgres",
        "DELETE FROM t WHERE a % 3 = 0 OR a BETWEEN 19000 AND 23000",
    );
    // The hottest range is that in which everything is dead.
    let (row, stop) = prune(&cluster, "CALL garbage_prune('t', 5)");
    assert_eq!((row[0], stop.as_str()), (5, "max_pages"));
    assert!(row[2] >= 5 * 40, "{} tuples on five pages", row[2]);
    let (row, stop) = prune(&cluster, "CALL garbage_prune('t', max_time => '0 s')");
    assert_eq!((row[0], stop.as_str()), (0, "max_time"));
    let (row, _) = prune(&cluster, "CALL garbage_prune('t', min_dead => 1000)");
    assert!((1..=64).contains(&row[0]), "{} pages", row[0]);

    let mut slow = Session::open(&cluster, "postgres");
    slow.safe("SET vacuum_cost_delay = '10 ms'; SET vacuum_cost_limit = 1");
    slow.send("CALL garbage_prune('t')");
    let progress = "SELECT count(*) FROM garbage_prune_progress
        WHERE relid = 't'::regclass AND datname = 'postgres' AND pages_visited > 0
          AND ranges_done < ranges_total AND bytes_freed > 0 AND pages_pruned <= pages_visited";
    cluster.poll_query_until("postgres", progress, "1");
    // It holds back nobody while it sleeps, and is in nobody's way for long.
    let xmin = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND backend_xmin IS NULL",
        slow.pid
    );
    cluster.poll_query_until("postgres", &xmin, "1");
    cluster.safe_psql(
        "postgres",
        "SET lock_timeout = '20 s'; ALTER TABLE t ADD c int",
    );
    cluster.safe_psql(
        "postgres",
        "SELECT pg_cancel_backend(pid) FROM garbage_prune_progress",
    );
    let error = slow.wait().expect_err("it was not cancelled");
    assert_eq!(error.sqlstate, "57014");
    // The server tells of the error before it ends the transaction, and the
    // progress with it.
    let gone = "SELECT count(*) FROM garbage_prune_progress";
    cluster.poll_query_until("postgres", gone, "0");
    let (row, stop) = prune(&cluster, "CALL garbage_prune('t')");
    assert!(row[2] > 0 && stop.is_empty(), "{row:?} {stop}");

    // Inside a transaction it ends none.
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a < 500");
    cluster.walker_wait();
    slow.safe("RESET ALL; BEGIN; CREATE TABLE mine ()");
    slow.safe("CALL garbage_prune('t')");
    slow.safe("ROLLBACK");
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT to_regclass('mine')"),
        ""
    );
    cluster.walker_wait();
    assert_eq!(number(&cluster, DEAD), 0);
    assert_map_exact(&cluster, "postgres");
    assert_sound(&cluster, "t");
}

#[test]
fn not_on_a_standby() {
    if plain() {
        return;
    }
    let primary = cluster("primary", "");
    let standby = Cluster::standby_of("standby", &primary);
    primary.safe_psql("postgres", "DELETE FROM t WHERE a <= 1000");
    primary.wait_for_catchup(&standby);
    let error = standby
        .psql("postgres", "CALL garbage_prune('t')")
        .expect_err("a standby");
    assert_eq!(error.sqlstate, "25006", "{error}");
    // What the primary prunes is pruned there.
    let (row, _) = prune(&primary, "CALL garbage_prune('t')");
    assert_eq!(row[2], 1000);
    primary.flush_wal();
    primary.wait_for_catchup(&standby);
    standby.walker_wait();
    assert_eq!(number(&standby, DEAD), 0);
    assert_map_exact(&standby, "postgres");
}
