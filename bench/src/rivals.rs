//! Walker's walk against whoever else reads the same WAL, in turns.

use crate::cpu::{self, Cost};
use crate::data::{self, Backlog};
use crate::report::{Report, Row, number};
use crate::stats::{ratio, summary};
use crate::walk::{check, start, wait_for, walk};
use crate::workloads::{self, Workload};
use crate::{hard, others};
use std::fs;
use std::process::Command;
use walker_tests::poll::env_number;
use walker_tests::session::{aligned, rows};
use walker_tests::{Cluster, Mode, Server};

const SECTION: &str = "walk of a backlog, CPU time";
const HARD: &str = "walk of hard WAL, CPU time";
const OTHERS: &str = "walk of other WAL, CPU time";
/// Whom walker is compared with.
pub const QUIET: &str = "pg_waldump -q";

/// By who did it, one cost per round; in the order in which they were.
type Costs = Vec<(&'static str, Vec<Cost>)>;

/// The workloads that there are goals for, and all who read their WAL.
pub fn measure(rounds: usize, size: u64, to: &mut Report) {
    let short = env_number("BENCH_SHORT", 0) != 0;
    walks(&workloads::ALL, (rounds, size, short), SECTION, to);
}

/// Workloads thought of to be hard, and only `pg_waldump -q` beside walker.
pub fn measure_hard(rounds: usize, size: u64, to: &mut Report) {
    // They are many, and no goal hangs on them.
    walks(&hard::ALL, (rounds.min(3), size, true), HARD, to);
}

/// Other workloads, and only `pg_waldump -q` beside walker.
pub fn measure_others(rounds: usize, size: u64, to: &mut Report) {
    walks(&others::ALL, (rounds, size, true), OTHERS, to);
}

fn walks(
    of: &[Workload],
    (rounds, size, short): (usize, u64, bool),
    section: &str,
    to: &mut Report,
) {
    data::libraries();
    for workload in of.iter().filter(|w| workloads::is_chosen(w.name)) {
        let backlog = Backlog::of(workload, size);
        let (mut costs, mut looks) = (Costs::new(), Vec::new());
        for round in 0..rounds {
            eprintln!("walking: {}, round {}", workload.name, round + 1);
            one_round(&backlog, short, &mut costs, &mut looks);
        }
        // Last, for it writes to the tables, and so to the WAL.
        check(&backlog);
        report((section, workload.name), &backlog, &costs, to);
        let what = "the machine, a look at memory";
        let looks = summary(&looks);
        to.rows
            .push(Row::new(section, workload.name, what, "ns", looks));
    }
}

fn one_round(backlog: &Backlog, short: bool, costs: &mut Costs, looks: &mut Vec<f64>) {
    let mut add = |who: &'static str, cost| match costs.iter_mut().find(|(w, _)| *w == who) {
        Some((_, list)) => list.push(cost),
        None => costs.push((who, vec![cost])),
    };
    add(QUIET, waldump(backlog, "-q"));
    looks.push(cpu::of_a_look_at_memory() * 1e9);
    add(
        "walker, no callbacks",
        walk(backlog, "no_callbacks", |_| ()),
    );
    looks.push(cpu::of_a_look_at_memory() * 1e9);
    add("walker, garbagemap", walk(backlog, "garbagemap", |_| ()));
    looks.push(cpu::of_a_look_at_memory() * 1e9);
    if short {
        return;
    }
    let mut stock = None;
    let mut inspect = None;
    let both = walk(backlog, "garbagemap, walstat", |cluster| {
        stock = Some(stock_reader(cluster, backlog));
        inspect = walinspect(cluster, backlog);
    });
    add("walker, garbagemap and walstat", both);
    if let Some(cost) = stock {
        add("stock page_read, records only", cost);
    }
    if let Some(cost) = inspect {
        add("pg_walinspect, pg_get_wal_stats", cost);
    }
    add("pg_waldump --stats", waldump(backlog, "--stats"));
    if Server::get().major >= 17 {
        add("WAL summarizer", summarizer(backlog));
    }
}

/// The stretch through pg_waldump.
fn waldump(backlog: &Backlog, option: &str) -> Cost {
    let command = backlog.cluster.server.command("pg_waldump");
    cpu::run(&mut over_stretch(command, backlog, option))
}

/// What runs pg_waldump, told to read the stretch.
pub fn over_stretch(mut command: Command, backlog: &Backlog, option: &str) -> Command {
    command.arg(option).arg("-p");
    command.arg(backlog.cluster.data_dir().join("pg_wal"));
    command.args(["-s", &backlog.stretch.from, "-e", &backlog.stretch.to]);
    command
}

/// The CPU time a session needs for a statement.
fn session(cluster: &Cluster, sql: &str) -> Cost {
    let mut client = cluster.connect("postgres");
    let mut ask =
        |sql: &str| aligned(&rows(&mut client, sql).unwrap_or_else(|e| panic!("{sql}: {e}")));
    let pid = ask("SELECT pg_backend_pid()").parse().expect("a number");
    let before = cpu::of_process(pid).expect("a session");
    let began = std::time::Instant::now();
    ask(sql);
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu::of_process(pid).expect("a session") - before;
    Cost { cpu, wall }
}

fn stock_reader(cluster: &Cluster, backlog: &Backlog) -> Cost {
    let (from, to) = (&backlog.stretch.from, &backlog.stretch.to);
    cluster.safe_psql(
        "postgres",
        "CREATE OR REPLACE FUNCTION stock_read(pg_lsn, pg_lsn) RETURNS bigint
         AS 'stock_reader' LANGUAGE C STRICT",
    );
    session(cluster, &format!("SELECT stock_read('{from}', '{to}')"))
}

fn walinspect(cluster: &Cluster, backlog: &Backlog) -> Option<Cost> {
    let (from, to) = (&backlog.stretch.from, &backlog.stretch.to);
    if !cluster.server.has_contrib("pg_walinspect") {
        return None;
    }
    cluster.safe_psql("postgres", "CREATE EXTENSION IF NOT EXISTS pg_walinspect");
    let sql = format!("SELECT count(*) FROM pg_get_wal_stats('{from}', '{to}')");
    Some(session(cluster, &sql))
}

/// The summarizer begins with the oldest segment there is.
fn summarizer(backlog: &Backlog) -> Cost {
    let cluster = &backlog.cluster;
    let summaries = cluster.data_dir().join("pg_wal/summaries");
    for entry in fs::read_dir(&summaries).expect("summaries") {
        fs::remove_file(entry.expect("summaries").path()).expect("a summary");
    }
    cluster.append_conf("walker.plugins = ''\nsummarize_wal = on");
    let mut client = start(cluster);
    let sql = format!(
        "SELECT summarizer_pid, extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())
         FROM pg_get_wal_summarizer_state() WHERE summarized_lsn >= '{}'",
        backlog.stretch.to
    );
    let answer = wait_for(&mut client, &sql);
    let (pid, wall) = answer.split_once('|').expect("two columns");
    let cost = Cost {
        cpu: cpu::of_process(pid.parse().expect("a number")).expect("the summarizer runs"),
        wall: wall.parse().expect("a number"),
    };
    drop(client);
    cluster.stop(Mode::Fast);
    cluster.append_conf("summarize_wal = off");
    cost
}

fn report((section, name): (&str, &str), backlog: &Backlog, costs: &Costs, to: &mut Report) {
    let stretch = &backlog.stretch;
    to.facts.push((
        format!("WAL of {}, {name}", Server::get().major),
        format!(
            "{} MB, {} records, {:.0} % page images",
            stretch.bytes >> 20,
            number(stretch.records as f64),
            stretch.image_share
        ),
    ));
    let (_, quiet) = costs
        .iter()
        .find(|(who, _)| *who == QUIET)
        .expect("the first");
    let cpu = |costs: &[Cost]| -> Vec<f64> { costs.iter().map(|c| c.cpu * 1000.0).collect() };
    for (who, list) in costs {
        let mut row = Row::new(section, name, who, "ms", summary(&cpu(list)));
        if *who != QUIET {
            row = row.against(QUIET, ratio(&cpu(list), &cpu(quiet)));
        }
        row.goal = match (*who, name) {
            _ if section != SECTION => None,
            ("walker, no callbacks", _) => Some("≤ 0.8".to_owned()),
            ("walker, garbagemap", "pgbench mix") => Some("≤ 1.0".to_owned()),
            ("walker, garbagemap", _) => Some("≤ 2".to_owned()),
            _ => None,
        };
        to.rows.push(row);
        if *who == "walker, garbagemap" {
            let walls: Vec<f64> = list.iter().map(|c| c.wall * 1000.0).collect();
            let what = "walker, garbagemap, on the clock";
            to.rows
                .push(Row::new(section, name, what, "ms", summary(&walls)));
        }
    }
}
