//! What a server loses that has walker: pgbench with and without, in turns.

use crate::cpu;
use crate::report::{Report, Row};
use crate::stats::{ratio, summary};
use std::fs;
use std::time::{Duration, Instant};
use walker_tests::Cluster;
use walker_tests::pgbench::Pgbench;
use walker_tests::poll::env_number;
use walker_tests::session::{aligned, rows};
use walker_tests::walker::PRELOAD;

const CONF: &str = "fsync = on
     shared_buffers = '512MB'
     checkpoint_timeout = '1h'
     max_wal_size = '16GB'
     min_wal_size = '2GB'
     wal_keep_size = 0";

/// Files of WAL that are there to be used again: more than a half of a round
/// needs. Who has none left makes one in the middle of a turn, with zeroes, and
/// all wait for it; how many there were was chance.
const SPARE: usize = 40;

/// As many as there are cores, so that the worker takes its time from them.
fn clients() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// Servers take turns of so many seconds each.
const TURN: u64 = 2;

/// Turns of each server until walker moves to the other one: half a round. Of an
/// even number each has as many early ones as the other.
fn turns() -> u64 {
    let quick = env_number("BENCH_QUICK", 0) != 0;
    let seconds = env_number("BENCH_SECONDS", if quick { 4 } else { 16 });
    seconds.div_ceil(2 * TURN).next_multiple_of(2)
}

fn new_cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &[], CONF);
    Pgbench::init(&cluster, "postgres", 10);
    cluster
}

/// As [`new_cluster`], with files of WAL to be used again.
fn new_cluster_with_spare_wal(name: &str) -> Cluster {
    let cluster = new_cluster(name);
    for _ in 0..SPARE {
        cluster.safe_psql(
            "postgres",
            "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal()",
        );
    }
    cluster
}

/// What a server did in its turns.
#[derive(Clone, Copy, Default)]
struct Done {
    transactions: f64,
    seconds: f64,
    /// Of all its processes, in seconds.
    cpu: f64,
    /// Of walker's worker, in seconds.
    worker: f64,
}

impl Done {
    /// One turn of pgbench, with `worker` or without.
    fn turn(&mut self, cluster: &Cluster, worker: Option<u32>) {
        let postmaster = cluster.postmaster_pid().expect("the server runs");
        let of_worker = || worker.map_or(0.0, |pid| cpu::of_process(pid).expect("it runs"));
        let before = (cpu::of_server(postmaster), of_worker());
        let tps = Pgbench::seconds(cluster, "postgres", clients(), TURN).run();
        self.cpu += cpu::of_server(postmaster) - before.0;
        self.worker += of_worker() - before.1;
        self.seconds += TURN as f64;
        self.transactions += tps * TURN as f64;
    }

    fn tps(self) -> f64 {
        self.transactions / self.seconds
    }

    /// Microseconds of the server for each transaction,
    fn cpu_each(self) -> f64 {
        self.cpu / self.transactions * 1e6
    }

    /// and of them the worker's.
    fn worker_each(self) -> f64 {
        self.worker / self.transactions * 1e6
    }
}

/// Have walker in the first of the servers and not in the second, and both warm;
/// the process of its worker.
fn change_places(commit: &str, with: &Cluster, without: &Cluster) -> u32 {
    for (cluster, preload) in [(with, PRELOAD), (without, "shared_preload_libraries = ''")] {
        cluster.append_conf(&format!("{preload}\nsynchronous_commit = {commit}"));
        cluster.restart();
        // Files of WAL of before are there to be used again.
        cluster.safe_psql("postgres", "CHECKPOINT");
    }
    // What was written while it was not there.
    with.walker_wait();
    for cluster in [with, without] {
        Done::default().turn(cluster, None);
    }
    with.worker_pid()
}

/// Transactions per second, of two servers that take short turns: what the
/// machine does to one it does to the other as well. No two servers are equally
/// fast, so each has walker in one half of a round.
pub fn measure(rounds: usize, _: u64, to: &mut Report) {
    let servers = ["tps", "tps-other"].map(new_cluster_with_spare_wal);
    for commit in ["on", "off"] {
        let (mut with, mut without): (Vec<_>, Vec<_>) = Default::default();
        for round in 1..=rounds {
            eprintln!("pgbench, synchronous_commit = {commit}, round {round}");
            let mut done = [Done::default(); 2];
            for half in 0..2 {
                let (one, other) = (&servers[half], &servers[1 - half]);
                let worker = change_places(commit, one, other);
                for turn in 0..turns() {
                    let mut order = [(one, 0, Some(worker)), (other, 1, None)];
                    if turn % 2 == 1 {
                        order.reverse();
                    }
                    for (cluster, which, worker) in order {
                        done[which].turn(cluster, worker);
                    }
                }
            }
            with.push(done[0]);
            without.push(done[1]);
        }
        let tps = |all: &[Done]| all.iter().map(|done| done.tps()).collect::<Vec<_>>();
        let cpu = |all: &[Done]| all.iter().map(|done| done.cpu_each()).collect::<Vec<_>>();
        let worker: Vec<_> = with.iter().map(|done| done.worker_each()).collect();
        let section = &format!(
            "pgbench with walker and garbagemap, {0} clients on {0} cores",
            clients()
        );
        let subject = format!("synchronous_commit = {commit}");
        let row = Row::new(section, &subject, "tps", "/s", summary(&tps(&with)));
        let row = row.against("without walker", ratio(&tps(&with), &tps(&without)));
        to.rows.push(row.goal("≥ 0.99"));
        let what = "CPU of the whole server per transaction";
        let row = Row::new(section, &subject, what, "µs", summary(&cpu(&with)));
        to.rows
            .push(row.against("without walker", ratio(&cpu(&with), &cpu(&without))));
        // To a thousandth, which the difference of two servers is not.
        let what = "of it the worker's";
        let row = Row::new(section, &subject, what, "µs", summary(&worker));
        to.rows
            .push(row.against("server without walker", ratio(&worker, &cpu(&without))));
    }
}

/// How long after its commit a deletion is in the map, under load.
pub fn lag(_: usize, size: u64, to: &mut Report) {
    let cluster = new_cluster("lag");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE probe (id int) WITH (autovacuum_enabled = off);
         INSERT INTO probe SELECT generate_series(1, 2000)",
    );
    cluster.walker_wait();
    let mut client = cluster.connect("postgres");
    let mut ask = |sql: &str| aligned(&rows(&mut client, sql).unwrap_or_else(|e| panic!("{e}")));
    let seconds = (size / 2).clamp(5, 40);
    // Longer than it can take; it is ended when there are enough probes.
    let load = Pgbench::seconds(&cluster, "postgres", clients(), seconds * 100).start();
    let began = Instant::now();
    let mut lags = Vec::new();
    for id in 1..=2000 {
        if began.elapsed() > Duration::from_secs(seconds) {
            break;
        }
        // Pruning may make an LP_DEAD item of what was a dead tuple.
        ask(&format!("DELETE FROM probe WHERE id = {id}"));
        let committed = Instant::now();
        let seen =
            format!("SELECT sum(n_dead_tuples + n_dead_items) >= {id} FROM garbage_map('probe')");
        while ask(&seen) != "t" {
            assert!(committed.elapsed() < Duration::from_secs(60), "not seen");
        }
        lags.push(committed.elapsed().as_secs_f64() * 1000.0);
    }
    load.end();
    let section = &format!(
        "from a commit to the map, under pgbench with {} clients",
        clients()
    );
    let at = |p: f64| summary(&[crate::stats::percentile(&lags, p)]);
    let subject = format!("{} commits", lags.len());
    to.rows
        .push(Row::new(section, &subject, "p50", "ms", at(50.0)));
    to.rows
        .push(Row::new(section, &subject, "p99", "ms", at(99.0)).goal("≤ 50 ms"));
    to.rows
        .push(Row::new(section, &subject, "longest", "ms", at(100.0)));
}

/// What the worker does while nobody does anything.
pub fn idle(_: usize, size: u64, to: &mut Report) {
    let cluster = Cluster::with_walker("idle", &[], "autovacuum = off");
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.walker_wait();
    let pid = cluster.safe_psql("postgres", "SELECT pid FROM walker_status");
    let read = |file: &str, name: &str| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split(':').nth(1)?.trim().parse().ok());
        Some(value.unwrap_or_else(|| panic!("no {name} in {text}")))
    };
    let switches = || read("status", "voluntary_ctxt_switches").expect("the worker runs");
    // Of another user's process not even root may know it everywhere.
    let reads = || read("io", "rchar");
    // The server writes one more record 15 seconds after the last, and the
    // worker looks more often for 5 seconds after that.
    std::thread::sleep(Duration::from_secs(25));
    let seconds = (size / 2).clamp(10, 30);
    let (switches_before, reads_before) = (switches(), reads());
    let cpu_before = cpu::of_process(pid.parse().expect("a number")).expect("the worker runs");
    std::thread::sleep(Duration::from_secs(seconds));
    let per_second = |n: f64| summary(&[n / seconds as f64]);
    let cpu = cpu::of_process(pid.parse().expect("a number")).expect("the worker runs");
    let (section, subject) = ("an idle server", format!("{seconds} s"));
    let mut add = |what: &str, unit: &str, value: f64, goal: &str| {
        let row = Row::new(section, &subject, what, unit, per_second(value));
        to.rows.push(row.goal(goal));
    };
    let woken = switches() - switches_before;
    add("wake-ups of the worker", "/s", woken, "≤ 1");
    // Reading a signal from its descriptor counts as 128 bytes.
    match (reads_before, reads()) {
        (Some(before), Some(now)) => add("bytes read by it, signals too", "/s", now - before, ""),
        _ => eprintln!("what the worker reads cannot be known here"),
    }
    add("CPU of it", "µs/s", (cpu - cpu_before) * 1e6, "");
}
