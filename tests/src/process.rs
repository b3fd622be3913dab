//! Processes, by way of `/proc`.

use crate::server::run;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Sends a signal, given by its name, to processes; one that is gone is fine.
pub fn signal(name: &str, pids: &[u32]) {
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {} 2>/dev/null; true", list.join(" "));
    run(Command::new("sh").arg("-c").arg(script));
}

fn stat_field(pid: u32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields follow it.
    let rest = &stat[stat.rfind(')')? + 2..];
    rest.split(' ').nth(field).map(str::to_owned)
}

/// Whether there is such a process, be it one that waits to be reaped.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether there is such a process, and this is its working directory, or was: one
/// that waits to be reaped has none. Where this user may not know (root in a
/// container, of another user's), whether it is a server at all.
pub(crate) fn runs_in(pid: u32, directory: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(found) => fs::canonicalize(directory).is_ok_and(|wanted| found == wanted),
        Err(e) if e.kind() == ErrorKind::NotFound => exists(pid),
        Err(_) => fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"postgres\n"),
    }
}

/// Whether a process has not ended yet, reaped or not.
pub fn is_alive(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

/// Whether a process has stopped on a signal: until it goes on it cannot end
/// by itself.
pub fn is_stopped(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state == "T")
}

/// The processes whose parent is this one.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat_field(*pid, 1) == Some(parent.to_string()))
        .collect()
}
