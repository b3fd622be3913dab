//! The walk: a worker starts in front of a stretch of WAL and catches up.

use crate::cpu::{self, Cost};
use crate::data::Backlog;
use std::process::Stdio;
use std::time::{Duration, Instant};
use walker_tests::poll::timeout;
use walker_tests::session::{aligned, rows};
use walker_tests::{Cluster, Mode};

/// Lets a worker with these plugins walk the whole stretch, from the start of
/// its process until it has caught up and written its state. The server runs
/// on, for `then`; it is down again afterwards.
pub fn walk(backlog: &Backlog, plugins: &str, then: impl FnOnce(&Cluster)) -> Cost {
    let cluster = &backlog.cluster;
    backlog.rewind();
    cluster.append_conf(&format!("walker.plugins = '{plugins}'"));
    let offset = cluster.log_offset();
    let mut client = start(cluster);
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
    check(backlog, offset, plugins);
    then(cluster);
    drop(client);
    cluster.stop(Mode::Fast);
    cost
}

/// Starts a server and connects as soon as that can be done.
pub fn start(cluster: &Cluster) -> postgres::Client {
    let mut command = cluster.server.command("pg_ctl");
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

/// The worker must have walked all of it, and the map must be right: a fast
/// walk that does not do the work is no measurement.
fn check(backlog: &Backlog, offset: usize, plugins: &str) {
    let cluster = &backlog.cluster;
    let log = cluster.log_from(offset);
    let started = log.split_once("walker started at ");
    let started = started.and_then(|(_, rest)| rest.split(',').next());
    let position = |text: &str| text.parse::<walker_wal::Lsn>().expect("a position");
    let started = position(started.unwrap_or_else(|| panic!("the worker's start in {log}")));
    assert!(
        started <= position(&backlog.stretch.from),
        "the worker began at {started}, not in front of the WAL; remove $WALKER_CACHE/bench"
    );
    if plugins.contains("garbagemap") {
        let sql =
            "SELECT image_mismatches, degraded_relations, known_blocks > 0 FROM garbage_status";
        assert_eq!(
            cluster.safe_psql("postgres", sql),
            "0|0|t",
            "garbage_status"
        );
    }
}
