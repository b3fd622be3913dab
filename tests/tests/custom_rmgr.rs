//! Records of a custom resource manager, delivered to a plugin that knows only
//! its name: each intact, on a primary, after a crash, on a standby.

use std::collections::BTreeMap;
use walker_tests::plugins::{Library, Setup};
use walker_tests::session::aligned;
use walker_tests::{Cluster, waldump};

const FUNCTIONS: &str = "
CREATE FUNCTION test_message(content bytea, transactional bool) RETURNS pg_lsn
AS 'test_rmgr' LANGUAGE C STRICT;
CREATE FUNCTION heard(OUT lsn pg_lsn, OUT hash bigint, OUT len bigint, OUT xid bigint,
OUT rmid bigint, OUT relfilenode bigint, OUT blocks bigint, OUT blkno bigint)
RETURNS SETOF record AS 'listener' LANGUAGE C;
CREATE TABLE sent (lsn pg_lsn, hash bigint, len bigint, with_xid bool);
CREATE FUNCTION send(content text, transactional bool) RETURNS pg_lsn LANGUAGE sql AS $$
  SELECT test_message(convert_to(content, 'UTF8'), transactional) $$";

fn cluster() -> Cluster {
    let libraries = [
        Library::c("test_rmgr"),
        Library::c("listener"),
        Library::rmgr_counter(),
    ];
    let cluster = Cluster::with_plugins(
        "custom",
        &Setup {
            libraries: &libraries,
            plugins: "listener, rmgr_counter",
            preload: "test_rmgr",
            ..Setup::default()
        },
    );
    cluster.safe_psql("postgres", FUNCTIONS);
    cluster.create_rmgr_counts();
    cluster
}

/// What was sent, as the listener should have heard it: by position.
type Messages = BTreeMap<String, String>;

/// Sends messages of every kind; those of an aborted transaction are sent, too.
fn send_all(cluster: &Cluster, sent: &mut Messages) {
    let big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 32768) g)";
    for content in ["'x'", "repeat('small ', 20)", "repeat('page ', 1700)", big] {
        for (transactional, end) in [(true, "COMMIT"), (true, "ROLLBACK"), (false, "COMMIT")] {
            let mut client = walker_tests::Session::open(cluster, "postgres");
            client.safe("BEGIN");
            let row = client.safe(&format!(
                "SELECT send(c, {transactional}), hashtextextended(c COLLATE \"C\", 0), \
                 octet_length(c), {transactional} FROM (SELECT {content} AS c OFFSET 0) s"
            ));
            client.safe(end);
            let row = aligned(&row);
            let (lsn, rest) = row.split_once('|').expect("a row");
            sent.insert(lsn.to_owned(), rest.to_owned());
        }
    }
    assert!(
        sent.values().any(|message| message.contains("|1048576|")),
        "no message of 1 MB in {sent:?}"
    );
}

fn assert_heard(cluster: &Cluster, sent: &Messages) {
    cluster.walker_wait();
    let heard = cluster.safe_psql(
        "postgres",
        "SELECT lsn, hash, len, xid <> 0, rmid, blocks FROM heard() ORDER BY lsn",
    );
    let mut messages = Messages::new();
    for line in heard.lines() {
        let (lsn, rest) = line.split_once('|').expect("a row");
        let rest = rest.strip_suffix("|128|0").expect("resource manager 128");
        assert_eq!(
            messages.insert(lsn.to_owned(), rest.to_owned()),
            None,
            "{lsn} was heard twice"
        );
    }
    assert_eq!(messages, *sent);
}

#[test]
fn messages_come_intact_wherever_the_worker_runs() {
    let cluster = cluster();
    cluster.walker_wait();
    cluster.wait_for_log(
        "asks for resource manager \"nobody registers this\", which is not registered",
        0,
    );
    let from = cluster.plugin("rmgr_counter", "start_lsn");
    let mut sent = Messages::new();
    send_all(&cluster, &mut sent);
    assert_heard(&cluster, &sent);
    cluster.assert_counts_complete(&from);
    assert_eq!(
        cluster.safe_psql(
            "postgres",
            "SELECT rmid, records FROM walker_rmgr_stats WHERE rmgr = 'walker test messages'"
        ),
        format!("128|{}", sent.len())
    );
    let (from, to, counted) = cluster.rmgr_stats();
    assert_eq!(
        counted["walker test messages"],
        waldump::stats(&cluster, &from, &to)["custom128"]
    );

    // On a standby, which hears what its primary writes.
    let standby = Cluster::standby_of("standby", &cluster);
    standby.walker_wait();
    let before = "SELECT count(*) FROM heard()";
    let before: usize = standby
        .safe_psql("postgres", before)
        .parse()
        .expect("a number");
    let mut more = Messages::new();
    send_all(&cluster, &mut more);
    cluster.wait_for_catchup(&standby);
    standby.walker_wait();
    let first = more.keys().next().expect("messages").clone();
    let all = "SELECT lsn, hash, len, xid <> 0 FROM heard()";
    let heard = standby.safe_psql("postgres", &format!("{all} ORDER BY lsn OFFSET {before}"));
    let expected: Vec<String> = more.iter().map(|(lsn, m)| format!("{lsn}|{m}")).collect();
    let mut heard: Vec<&str> = heard.lines().collect();
    heard.sort();
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected.sort();
    assert_eq!(heard, expected, "from {first}");
}

#[test]
fn messages_of_before_a_crash_are_heard_after_it() {
    let cluster = cluster();
    cluster.walker_wait();
    // A worker that cannot have seen any of them.
    cluster.stop_waiting_worker();
    let mut sent = Messages::new();
    send_all(&cluster, &mut sent);
    cluster.flush_wal();
    cluster.kill9();
    cluster.start();
    cluster.wait_for_plugin("listener", "running");
    assert_heard(&cluster, &sent);
}

/// The worker wakes while a large record is still being written, and must not
/// wait for more than that record.
#[test]
fn a_large_record_is_read_when_it_is_complete() {
    let cluster = cluster();
    let begin = std::time::Instant::now();
    for megabytes in 1..=12 {
        let message = format!("repeat('large record, ', {})", megabytes * 75_000);
        cluster.safe_psql(
            "postgres",
            &format!("SELECT pg_logical_emit_message(true, 'large', {message})"),
        );
        cluster.walker_wait();
    }
    let took = begin.elapsed();
    assert!(took.as_secs() < 30, "12 large records took {took:?}");
}
