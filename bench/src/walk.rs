//! The walk: a worker starts in front of a stretch of WAL and catches up.

use crate::cpu::{self, Cost};
use crate::data::Backlog;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use walker_tests::oracle;
use walker_tests::poll::timeout;
use walker_tests::session::{aligned, rows};
use walker_tests::{Cluster, Mode};
use walker_wal::Lsn;

/// Lets a worker with these plugins walk the whole stretch, from the start of
/// its process until it has caught up and written its state. The server runs
/// on, for `then`; it is down again afterwards.
pub fn walk(backlog: &Backlog, plugins: &str, then: impl FnOnce(&Cluster)) -> Cost {
    let cluster = &backlog.cluster;
    let offset = cluster.log_offset();
    let (mut client, cost) = catch_up(backlog, plugins, None);
    assert!(
        started(backlog, offset) <= position(&backlog.stretch.from),
        "the worker did not begin in front of the WAL"
    );
    // A fast walk that does not do the work is no measurement. Of WAL without
    // images this says little: see `check`.
    if plugins.contains("garbagemap") {
        let sql =
            "SELECT image_mismatches, degraded_relations, known_blocks > 0 FROM garbage_status";
        let answer = aligned(&rows(&mut client, sql).expect("garbage_status"));
        assert_eq!(answer, "0|0|t", "garbage_status");
    }
    then(cluster);
    drop(client);
    cluster.stop(Mode::Fast);
    cost
}

/// Lets the worker walk once more, unmeasured, and compares the map with a scan of
/// every table of every database.
pub fn check(backlog: &Backlog) {
    let cluster = &backlog.cluster;
    let (client, _) = catch_up(backlog, "garbagemap", None);
    let mut relations = 0;
    for database in oracle::databases(cluster) {
        for extension in ["garbagemap", "pgstattuple"] {
            if cluster.server.has_contrib(extension) {
                let sql = format!("CREATE EXTENSION IF NOT EXISTS {extension}");
                cluster.safe_psql(&database, &sql);
            }
        }
        let checked = oracle::assert_map_exact(cluster, &database);
        relations += checked.iter().filter(|c| c.exact).count();
    }
    assert!(relations > 0, "no table is known");
    drop(client);
    cluster.stop(Mode::Fast);
}

/// Whether these plugins accept the state that was kept for them.
pub fn begins_in_front(backlog: &Backlog, plugins: &str) -> bool {
    let offset = backlog.cluster.log_offset();
    drop(catch_up(backlog, plugins, None));
    backlog.cluster.stop(Mode::Fast);
    let log = backlog.cluster.log_from(offset);
    !log.contains("ignoring the state file")
        && started(backlog, offset) <= position(&backlog.stretch.from)
}

/// A server whose worker has walked the whole stretch, run by another program
/// than its own if there is one, and what that took. Nothing is checked.
pub fn catch_up(backlog: &Backlog, plugins: &str, by: Option<&Path>) -> (postgres::Client, Cost) {
    let cluster = &backlog.cluster;
    backlog.rewind();
    cluster.append_conf(&format!("walker.plugins = '{plugins}'"));
    let mut client = start_by(cluster, by);
    let caught_up = format!(
        "SELECT pid, extract(epoch FROM caught_up_at - since) FROM walker_status
         WHERE state = 'waiting' AND applied_lsn >= '{}'",
        backlog.stretch.to
    );
    let answer = wait_for(&mut client, &caught_up);
    let (pid, wall) = answer.split_once('|').expect("two columns");
    let cost = Cost {
        cpu: cpu::of_process(pid.parse().expect("a number")).expect("the worker runs"),
        wall: wall.parse().expect("a number"),
    };
    (client, cost)
}

/// Where the worker began to read.
fn started(backlog: &Backlog, offset: usize) -> Lsn {
    let log = backlog.cluster.log_from(offset);
    let started = log.split_once("walker started at ");
    let started = started.and_then(|(_, rest)| rest.split(',').next());
    position(started.unwrap_or_else(|| panic!("the worker's start in {log}")))
}

fn position(text: &str) -> Lsn {
    text.parse().expect("a position")
}

/// Starts a server and connects as soon as that can be done.
pub fn start(cluster: &Cluster) -> postgres::Client {
    start_by(cluster, None)
}

fn start_by(cluster: &Cluster, by: Option<&Path>) -> postgres::Client {
    let mut command = cluster.server.command("pg_ctl");
    if let Some(by) = by {
        command.arg("-p").arg(by);
    }
    command.args(["start", "-W", "-s", "-l"]);
    command
        .arg(cluster.log_path())
        .arg("-D")
        .arg(cluster.data_dir());
    let null = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(null.status().is_ok_and(|s| s.success()), "pg_ctl start");
    let deadline = Instant::now() + timeout();
    loop {
        match cluster.config("postgres").connect(postgres::NoTls) {
            Ok(client) => return client,
            Err(e) if Instant::now() > deadline => panic!("no server: {e:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Asks until there is a row. More often than the tests do, but not so often
/// that asking takes the CPU from who is asked about.
pub fn wait_for(client: &mut postgres::Client, sql: &str) -> String {
    let deadline = Instant::now() + timeout();
    loop {
        let answer = aligned(&rows(client, sql).unwrap_or_else(|e| panic!("{sql}: {e}")));
        if !answer.is_empty() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {sql}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
