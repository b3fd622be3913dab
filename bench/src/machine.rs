//! On what was measured.

use std::fs;
use std::process::Command;
use walker_tests::Server;

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown".to_owned(), |(_, v)| v.trim().to_owned())
}

/// What a program says, in one line; nothing if it cannot be asked.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Machine and versions, and how often each walk is measured.
pub fn facts(rounds: usize) -> Vec<(String, String)> {
    let server = Server::get();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let mut version = server.ask("--version");
    if server.ask("--configure").contains("--enable-cassert") {
        version += " with assertions, which is no server to time";
    }
    let at = format!("{}/..", env!("CARGO_MANIFEST_DIR"));
    let commit = said("git", &["-C", &at, "describe", "--always", "--dirty"]);
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact(
            "machine",
            format!(
                "{cores} cores of {}, {} of memory, Linux {}",
                field("/proc/cpuinfo", "model name"),
                field("/proc/meminfo", "MemTotal"),
                kernel.trim()
            ),
        ),
        fact(
            "server",
            format!("{version}, load before the run {load} (0 is a quiet machine)"),
        ),
        fact(
            "walker",
            format!(
                "{}, commit {commit}, release build by {}; {rounds} rounds",
                env!("CARGO_PKG_VERSION"),
                said("rustc", &["--version"])
            ),
        ),
    ];
    let modules = ["pgstattuple", "pg_walinspect"];
    let mut missing: Vec<&str> = modules
        .into_iter()
        .filter(|name| !server.has_contrib(name))
        .collect();
    if server.major < 17 {
        missing.push("WAL summarizer");
    }
    if !missing.is_empty() {
        let name = format!("not in {}", server.major);
        facts.push((name, missing.join(", ")));
    }
    facts
}
