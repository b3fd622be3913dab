//! Runs the bench on one server, or puts the results of several together.
//!
//! `walker-bench run RESULT.json [PART...]`, `walker-bench report PAGE.md ALL.json RESULT.json...`,
//! `walker-bench profile WORKLOAD PLUGINS`

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use walker_bench::report::Report;
use walker_bench::{instructions, machine, profile, prune, queries, rivals, scaling, tps};
use walker_tests::Server;
use walker_tests::poll::env_number;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["run", result, parts @ ..] => run(result, parts),
        ["profile", workload, plugins] => {
            profile::print(workload, plugins, size());
            ExitCode::SUCCESS
        }
        ["report", page, all, results @ ..] => {
            report(page, all, results);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!(
                "usage: walker-bench run RESULT.json [PART...] | report PAGE.md ALL.json RESULT.json... | \
             profile WORKLOAD PLUGINS"
            );
            ExitCode::from(2)
        }
    }
}

/// A part of the bench: rounds, size in per cent, where the lines go.
type Part = fn(usize, u64, &mut Report);

const PARTS: [(&str, Part); 11] = [
    ("walk", rivals::measure),
    ("others", rivals::measure_others),
    ("hard", rivals::measure_hard),
    ("tables", queries::measure),
    ("prune", prune::measure),
    ("tps", tps::measure),
    ("lag", tps::lag),
    ("idle", tps::idle),
    ("plugins", scaling::plugins),
    ("pure", scaling::pure),
    ("instructions", instructions::measure),
];

/// Measures the parts that are named, or all. One that fails is said to have failed in
/// the report, and the others are measured nevertheless: they take half an hour.
fn run(result: &str, parts: &[&str]) -> ExitCode {
    let quick = env_number("BENCH_QUICK", 0) != 0;
    let rounds = env_number("BENCH_ROUNDS", if quick { 3 } else { 5 }) as usize;
    let size = size();
    let mut report = Report {
        facts: machine::facts(rounds),
        rows: Vec::new(),
    };
    let version = Server::get().ask("--version");
    let version = version.split(' ').nth(1).unwrap_or_default();
    let mut failed = false;
    for (name, part) in PARTS {
        if !parts.is_empty() && !parts.contains(&name) {
            continue;
        }
        let before = report.rows.len();
        let done = catch_unwind(AssertUnwindSafe(|| part(rounds, size, &mut report)));
        if done.is_err() {
            let what = format!("part \"{name}\" of {version}");
            let why = "failed, and is not all in the table".to_owned();
            report.facts.push((what, why));
            failed = true;
        }
        for row in report.rows.iter_mut().skip(before) {
            row.server = version.to_owned();
        }
        // What was measured is kept, whatever comes next.
        save(result, &report);
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Of the workloads, in per cent.
fn size() -> u64 {
    let quick = env_number("BENCH_QUICK", 0) != 0;
    env_number("BENCH_SIZE", if quick { 10 } else { 100 })
}

fn save(path: &str, report: &Report) {
    let text = serde_json::to_string_pretty(report).expect("plain data");
    fs::write(path, text).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn report(page: &str, json: &str, results: &[&str]) {
    let mut all = Report::default();
    for path in results {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        all.add(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}")));
    }
    save(json, &all);
    fs::write(page, all.markdown()).unwrap_or_else(|e| panic!("{page}: {e}"));
    print!("{}", all.markdown());
}
