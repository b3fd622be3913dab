//! What to do: each recommendation in the situation it is for, not in the
//! opposite one, and following it helps.

use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

/// Autovacuum is on and does not come.
const CONF: &str = "autovacuum_naptime = '20 d'\nmaintenance_work_mem = '64 MB'";

/// The default.
const PLAIN: &str = "fillfactor = 100";

/// 60 rows a page; 400 pages, or 2,000 of seven rows.
fn fill(cluster: &Cluster, table: &str, options: &str, wide: bool) {
    let (rows, length) = if wide { (14_000, 1_000) } else { (24_000, 90) };
    for sql in [
        format!("CREATE TABLE {table} (a int PRIMARY KEY, b int, pad text) WITH ({options})"),
        format!("ALTER TABLE {table} ALTER pad SET STORAGE plain"),
        format!(
            "INSERT INTO {table} SELECT g, g, repeat('x', {length})
             FROM generate_series(1, {rows}) AS g"
        ),
        format!("VACUUM (ANALYZE) {table}"),
    ] {
        cluster.safe_psql("postgres", &sql);
    }
}

fn cell(cluster: &Cluster, table: &str, column: &str) -> String {
    cluster.walker_wait();
    let sql = format!("SELECT {column} FROM garbage_candidates WHERE relid = '{table}'::regclass");
    cluster.safe_psql("postgres", &sql)
}

fn number(cluster: &Cluster, table: &str, column: &str) -> f64 {
    let printed = cell(cluster, table, column);
    printed
        .parse()
        .unwrap_or_else(|_| panic!("{column} of {table} is \"{printed}\""))
}

fn expect(cluster: &Cluster, table: &str, code: &str, words: &[&str]) {
    let found = cell(cluster, table, "recommendation");
    let reason = cell(cluster, table, "reason");
    assert_eq!(found, code, "{table}: {reason}");
    for word in words {
        assert!(reason.contains(word), "{table}: no \"{word}\" in: {reason}");
    }
}

/// Do what is recommended.
fn follow(cluster: &Cluster, table: &str) {
    let command = cell(cluster, table, "command");
    cluster.safe_psql("postgres", &command);
}

const SLOW: &str = "autovacuum_vacuum_scale_factor = 0.9";

#[test]
fn prune_what_is_close_together() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("prune", &[], CONF);
    for table in ["clean", "near", "far", "held"] {
        fill(&cluster, table, SLOW, false);
    }
    expect(&cluster, "clean", "nothing", &["no garbage"]);
    cluster.safe_psql("postgres", "DELETE FROM near WHERE a BETWEEN 6001 AND 9000");
    cluster.safe_psql("postgres", "DELETE FROM far WHERE a % 8 = 0");
    expect(&cluster, "near", "prune", &["of 3000 dead tuples"]);
    expect(&cluster, "far", "nothing", &["too far apart"]);
    // The numbers are those of a scan, and how well they are known.
    let scan = "SELECT dead_tuple_len FROM pgstattuple('near')";
    if cluster.server.has_contrib("pgstattuple") {
        let bytes: f64 = cluster.safe_psql("postgres", scan).parse().expect("bytes");
        let reckoned = number(&cluster, "near", "dead_bytes");
        assert!(
            (reckoned / bytes - 1.0).abs() < 0.1,
            "{reckoned} for {bytes}"
        );
    }
    assert_eq!(cell(&cluster, "near", "dead_bytes_quality"), "good");
    let near = number(&cluster, "near", "share_in_20_percent");
    let far = number(&cluster, "far", "share_in_20_percent");
    assert!(near > 0.99 && far < 0.3, "{near} {far}");
    let one = number(&cluster, "near", "share_in_1_percent");
    let five = number(&cluster, "near", "share_in_5_percent");
    assert!(
        one > 0.3 && one <= five && five <= near,
        "{one} {five} {near}"
    );
    let pages = number(&cluster, "near", "pages_to_vacuum");
    assert!((48.0..=60.0).contains(&pages), "{pages} pages");

    expect(
        &cluster,
        "near",
        "prune",
        &["ranges; pruning them reads no index", "VACUUM visits"],
    );
    follow(&cluster, "near");
    expect(
        &cluster,
        "near",
        "nothing",
        &["0 dead tuples and 3000 dead line pointers"],
    );

    // What may not go is not to be pruned.
    let mut old = Session::open(&cluster, "postgres");
    old.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.safe("SELECT count(*) FROM clean");
    cluster.safe_psql("postgres", "DELETE FROM held WHERE a BETWEEN 6001 AND 9000");
    expect(&cluster, "held", "nothing", &["may not go yet"]);
    old.safe("COMMIT");
    expect(&cluster, "held", "prune", &[]);
}

#[test]
fn vacuum_what_autovacuum_would() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("vacuum", &[], CONF);
    fill(&cluster, "due", PLAIN, false);
    fill(&cluster, "lazy", SLOW, false);
    fill(&cluster, "off", "autovacuum_enabled = off", false);
    for table in ["due", "lazy", "off"] {
        cluster.safe_psql("postgres", &format!("DELETE FROM {table} WHERE a % 3 = 0"));
    }
    // 50 + 0.2 * 24,000.
    assert_eq!(cell(&cluster, "due", "autovacuum_threshold"), "4850");
    assert_eq!(cell(&cluster, "lazy", "autovacuum_threshold"), "21650");
    expect(
        &cluster,
        "due",
        "vacuum",
        &["8000 dead tuples", "threshold of 4850", "pages"],
    );
    expect(&cluster, "lazy", "nothing", &["threshold of 21650"]);
    expect(&cluster, "off", "vacuum", &["autovacuum is off"]);
    assert_eq!(cell(&cluster, "due", "autovacuum_in"), "00:00:00");
    assert_eq!(cell(&cluster, "off", "autovacuum_in"), "");
    // 8,000 in some seconds: the rest comes within the hour.
    let soon = "autovacuum_in BETWEEN '1 s' AND '1 h', created_per_second_5m > 10";
    assert_eq!(cell(&cluster, "lazy", soon), "t|t");
    follow(&cluster, "due");
    expect(&cluster, "due", "nothing", &["no garbage"]);

    // Line pointers that pruning has left are VACUUM's.
    cluster.safe_psql("postgres", "DELETE FROM due WHERE a % 3 = 1");
    cluster.walker_wait();
    cluster.safe_psql("postgres", "CALL garbage_prune('due')");
    expect(
        &cluster,
        "due",
        "vacuum",
        &["0 dead tuples", "8000 dead line pointers"],
    );
    follow(&cluster, "due");
    expect(&cluster, "due", "nothing", &[]);
}

#[test]
fn release_what_is_held() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("release", &[], CONF);
    fill(&cluster, "t", PLAIN, false);
    cluster.safe_psql("postgres", "CREATE TABLE other (a int)");
    let mut session = Session::open(&cluster, "postgres");
    session.safe("BEGIN");
    session.safe("INSERT INTO other VALUES (1)");
    session.safe("PREPARE TRANSACTION 'forgotten'");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 3 = 0");
    expect(
        &cluster,
        "t",
        "release",
        &["8000 of 8000", "prepared transaction forgotten"],
    );
    assert_eq!(
        cell(&cluster, "t", "command"),
        "ROLLBACK PREPARED 'forgotten'"
    );
    follow(&cluster, "t");
    expect(&cluster, "t", "vacuum", &[]);

    session.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    session.safe("SELECT count(*) FROM other");
    cluster.safe_psql("postgres", "VACUUM t");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 3 = 1");
    let pid = session.pid.to_string();
    expect(&cluster, "t", "release", &["backend", &pid]);
    // So it is told to who may not see what other roles' sessions do.
    cluster.safe_psql(
        "postgres",
        "CREATE ROLE looker; GRANT pg_stat_scan_tables TO looker",
    );
    let looked = "SET ROLE looker; SELECT recommendation, held_by, holder
                  FROM garbage_candidates WHERE relid = 't'::regclass";
    assert_eq!(
        cluster.safe_psql("postgres", looked),
        format!("release|backend|{pid}")
    );
    follow(&cluster, "t");
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    cluster.poll_query_until("postgres", &gone, "0");
    expect(&cluster, "t", "vacuum", &[]);
}

/// It looks as if it did: it has a snapshot as long as it runs.
#[test]
fn a_running_vacuum_holds_nothing_back() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("vacuuming", &[], CONF);
    fill(&cluster, "t", PLAIN, false);
    fill(&cluster, "other", PLAIN, false);
    let begin_vacuum = || {
        let mut vacuum = Session::open(&cluster, "postgres");
        vacuum.safe("SET vacuum_cost_delay = '100 ms'");
        vacuum.safe("SET vacuum_cost_limit = 1");
        vacuum.send("VACUUM (DISABLE_PAGE_SKIPPING) other");
        let begun = format!(
            "SELECT backend_xmin IS NOT NULL AND EXISTS (
                 SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
             FROM pg_stat_activity AS a WHERE pid = {}",
            vacuum.pid
        );
        cluster.poll_query_until("postgres", &begun, "t");
        vacuum
    };
    let cancel = |mut vacuum: Session| {
        let cancel = format!("SELECT pg_cancel_backend({})", vacuum.pid);
        cluster.safe_psql("postgres", &cancel);
        assert!(vacuum.wait().is_err(), "the VACUUM had come to its end");
    };
    // Its snapshot is older than that of who does.
    let vacuum = begin_vacuum();
    cluster.safe_psql("postgres", "SELECT txid_current()");
    let mut old = Session::open(&cluster, "postgres");
    old.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.safe("SELECT count(*) FROM other");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 3 = 0");
    let pid = format!("backend {},", old.pid);
    expect(&cluster, "t", "release", &["8000 of 8000", &pid]);
    cancel(vacuum);
    old.safe("COMMIT");
    expect(&cluster, "t", "vacuum", &[]);
    follow(&cluster, "t");

    // And looks back to the same transaction, as all do that begin now.
    old.safe("BEGIN");
    old.safe("SELECT txid_current()");
    let vacuum = begin_vacuum();
    let mut later = Session::open(&cluster, "postgres");
    later.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    later.safe("SELECT count(*) FROM other");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 3 = 1");
    expect(&cluster, "t", "release", &["8000 of 8000", &pid]);
    cancel(vacuum);
}

/// A saved state does not say how old garbage is, so nobody is accused.
#[test]
fn nobody_is_held_responsible_for_what_is_not_known() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("undated", &[], CONF);
    fill(&cluster, "t", PLAIN, false);
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 3 = 0");
    let mut old = Session::open(&cluster, "postgres");
    old.safe("BEGIN ISOLATION LEVEL REPEATABLE READ");
    // Of the table it would remove what is dead.
    old.safe("SELECT pg_current_snapshot()");
    cluster.safe_psql("postgres", "SELECT txid_current()");
    cluster.walker_wait();
    cluster.safe_psql("postgres", "SELECT walker_restart()");
    let again = "SELECT restarts, pid > 0 FROM walker_status";
    cluster.poll_query_until("postgres", again, "1|t");
    let sides = "SELECT n_removable, n_kept, n_uncertain FROM garbage_horizon \
                 WHERE relid = 't'::regclass";
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", sides), "0|8000|8000");
    expect(&cluster, "t", "vacuum", &["8000 dead tuples"]);
    // It is older than the next transaction, though there was none since.
    old.safe("COMMIT");
    assert_eq!(cluster.safe_psql("postgres", sides), "8000|0|0");
}

#[test]
fn rewrite_what_cannot_shrink() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("rewrite", &[], CONF);
    for table in ["pinned", "empty", "dense"] {
        fill(&cluster, table, "vacuum_truncate = off", true);
    }
    cluster.safe_psql(
        "postgres",
        "DELETE FROM pinned WHERE a BETWEEN 2001 AND 13950",
    );
    cluster.safe_psql("postgres", "DELETE FROM empty WHERE a > 2000");
    cluster.safe_psql("postgres", "DELETE FROM dense WHERE a > 9000");
    for table in ["pinned", "empty", "dense"] {
        expect(&cluster, table, "vacuum", &["past autovacuum's threshold"]);
        follow(&cluster, table);
    }
    expect(
        &cluster,
        "pinned",
        "rewrite",
        &["hold 50 of them", "VACUUM FULL locks"],
    );
    expect(&cluster, "empty", "vacuum", &["hold no live tuple"]);
    expect(&cluster, "dense", "nothing", &[]);
    let blocks = |table: &str| number(&cluster, table, "blocks");
    let before = blocks("pinned");
    follow(&cluster, "pinned");
    assert!(blocks("pinned") < before / 5.0);
    // Though the table has vacuum_truncate off.
    follow(&cluster, "empty");
    assert!(blocks("empty") < before / 5.0, "{}", blocks("empty"));
    for table in ["pinned", "empty"] {
        expect(&cluster, table, "nothing", &[]);
    }
    // The worst come first, and nobody is told to do what catalogs forbid.
    let order = "SELECT bool_and(recommendation = 'nothing' OR before IS DISTINCT FROM 'nothing')
        FROM (SELECT recommendation, lag(recommendation) OVER () AS before
              FROM garbage_candidates) AS q";
    assert_eq!(cluster.safe_psql("postgres", order), "t");
}

#[test]
fn too_little_is_known() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("unknown", &[], CONF);
    fill(&cluster, "t", PLAIN, false);
    cluster.stop(walker_tests::Mode::Fast);
    std::fs::remove_dir_all(cluster.data_dir().join("pg_walker")).expect("pg_walker");
    cluster.start();
    expect(&cluster, "t", "nothing", &["only 0%"]);
    assert_eq!(cell(&cluster, "t", "dead_bytes_quality"), "at least");
    // 0 would be an answer; nor is there one in what only adds up.
    let none = "num_nulls(n_tuples, n_dead_tuples, n_dead_items, dead_bytes, n_removable, n_kept)";
    assert_eq!(cell(&cluster, "t", none), "6");
    let table = "SELECT n_dead_tuples, n_dead_items, exact FROM garbage_tables
                 WHERE relid = 't'::regclass";
    assert_eq!(cluster.safe_psql("postgres", table), "||f");
    follow(&cluster, "t");
    expect(&cluster, "t", "nothing", &["no garbage"]);
}

/// A transaction that has looked before locks nothing new, so nothing else tells it
/// that the table has another file now.
#[test]
fn a_table_is_rewritten_between_two_looks() {
    if plain() {
        return;
    }
    let cluster = Cluster::with_walker("rewritten", &[], CONF);
    fill(&cluster, "t", PLAIN, false);
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a % 4 = 0");
    cluster.walker_wait();
    let mut client = cluster.connect("postgres");
    let mut transaction = client.transaction().expect("a transaction");
    let look = transaction
        .prepare(
            "SELECT v.blocks, v.n_tuples, v.n_dead_tuples, v.exact, c.dead_by_delete
             FROM garbage_tables v LEFT JOIN garbage_counters c USING (relid)
             WHERE relid = 't'::regclass",
        )
        .expect("a statement");
    let mut look = || {
        let row = transaction.query_one(&look, &[]).expect("a row");
        let number = |column| row.get::<_, Option<i64>>(column);
        let exact: bool = row.get(3);
        (number(0), number(1), number(2), exact, number(4))
    };
    let size = || -> i64 {
        let sql = "SELECT pg_relation_size('t') / 8192";
        let printed = cluster.safe_psql("postgres", sql);
        printed.parse().expect("a number")
    };
    let garbage = Some(6_000);
    let expected = (Some(size()), Some(18_000), garbage, true, garbage);
    assert_eq!(look(), expected);
    cluster.safe_psql("postgres", "VACUUM FULL t");
    cluster.walker_wait();
    assert!(size() > 0);
    let expected = (Some(size()), Some(18_000), Some(0), true, Some(0));
    assert_eq!(look(), expected);
}
