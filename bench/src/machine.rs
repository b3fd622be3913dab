//! On what was measured.

use std::fs;
use walker_tests::Server;

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown".to_owned(), |(_, v)| v.trim().to_owned())
}

/// Machine and versions.
pub fn facts() -> Vec<(String, String)> {
    let server = Server::get();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let version = server.ask("--version");
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
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
            format!("{}, release build", env!("CARGO_PKG_VERSION")),
        ),
    ]
}
