//! Where the time of a walk goes, by function: `perf` around one walk.

use crate::data::{self, Backlog};
use crate::walk::walk;
use crate::{hard, others, workloads};
use std::process::{Command, Stdio};
use walker_tests::poll::poll_until;
use walker_tests::process::signal;

/// Prints the functions that take most of the worker's time.
pub fn print(workload: &str, plugins: &str, size: u64) {
    data::libraries();
    let mut all = workloads::ALL.iter().chain(&others::ALL).chain(&hard::ALL);
    let workload = all.find(|w| w.name == workload);
    let workload = workload.unwrap_or_else(|| panic!("there is no such workload"));
    let backlog = Backlog::of(workload, size);
    let data = std::env::temp_dir().join(format!("walker-bench-{}.perf", std::process::id()));
    // Everything, for the worker is not there yet; only it is reported.
    let mut perf = Command::new("perf")
        .args([
            "record",
            "-q",
            "-a",
            "-e",
            "cpu-clock",
            "-F",
            "10000",
            "-g",
            "-o",
        ])
        .arg(&data)
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run perf: {e}"));
    // It does not record before it has begun to write.
    poll_until("perf", || {
        let file = std::fs::metadata(&data).ok()?;
        (file.len() > 0).then_some(())
    });
    let offset = backlog.cluster.log_offset();
    walk(&backlog, plugins, |_| ());
    signal("INT", &[perf.id()]);
    perf.wait().expect("perf");
    let log = backlog.cluster.log_from(offset);
    let line = log.lines().find(|l| l.contains("walker started at "));
    let pid = line.and_then(|l| l.split(['[', ']']).nth(1));
    let pid = pid.unwrap_or_else(|| panic!("the worker's process ID in {log}"));
    let status = Command::new("perf")
        .args([
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--sort",
            "dso,sym",
        ])
        .args([
            "--percent-limit",
            "0.5",
            "--percentage",
            "relative",
            "--pid",
            pid,
            "-i",
        ])
        .arg(&data)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "perf report");
    if std::env::var_os("BENCH_KEEP_PERF").is_some() {
        eprintln!("perf's data are in {}", data.display());
    } else {
        std::fs::remove_file(&data).expect("perf's data");
    }
}
