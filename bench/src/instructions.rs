//! Instructions of a walk in user space, counted by callgrind.
//!
//! No neighbour on the machine changes them, as it does times; but they do not
//! say how long each of them takes, and nothing of the kernel. What the worker
//! does by the clock it does some more of, for it takes ten times as long.

use crate::data::{self, Backlog};
use crate::report::{Report, Row};
use crate::rivals::{QUIET, over_stretch};
use crate::stats::{ratio, summary};
use crate::walk::catch_up;
use crate::workloads;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use walker_tests::Mode;
use walker_tests::poll::poll_until;
use walker_tests::process::is_alive;
use walker_tests::session::{aligned, rows};

const SECTION: &str = "walk of a backlog, instructions in user space";
/// The others would take as long, and say less.
const WORKLOAD: &str = "pgbench mix";

/// Of the workload with the strictest goal; once, for they are nearly the same
/// each time.
pub fn measure(_: usize, size: u64, to: &mut Report) {
    if !workloads::is_chosen(WORKLOAD) {
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("there is no valgrind: instructions are not counted");
        return;
    }
    data::libraries();
    let workload = workloads::ALL.iter().find(|w| w.name == WORKLOAD);
    let backlog = Backlog::of(workload.expect("a workload"), size);
    let records = backlog.stretch.records as f64;
    let quiet = [waldump(&backlog) / records];
    let mut add = |who: &str, count: [f64; 1]| {
        let row = Row::new(SECTION, WORKLOAD, who, "per record", summary(&count));
        to.rows.push(match who {
            QUIET => row,
            _ => row.against(QUIET, ratio(&count, &quiet)),
        });
    };
    add(QUIET, quiet);
    for plugins in ["no_callbacks", "garbagemap"] {
        let who = format!("walker, {}", plugins.replace('_', " "));
        add(&who, [worker(&backlog, plugins) / records]);
    }
}

fn waldump(backlog: &Backlog) -> f64 {
    let cluster = &backlog.cluster;
    let out = cluster.path("callgrind.waldump");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind");
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(cluster.server.program("pg_waldump"));
    let mut command = cluster.server.owned(over_stretch(command, backlog, "-q"));
    let null = command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(null.status().is_ok_and(|s| s.success()), "{command:?}");
    count(&out)
}

/// Of the worker's process, from its main function to its end: a process that
/// is forked goes on counting from what the one before it had.
fn worker(backlog: &Backlog, plugins: &str) -> f64 {
    let cluster = &backlog.cluster;
    let by = cluster.path("postgres-counted");
    let script = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --zero-before=walker_main \
         --callgrind-out-file='{}' '{}' \"$@\"\n",
        cluster.path("callgrind.%p").display(),
        cluster.server.program("postgres").display()
    );
    fs::write(&by, script).expect("a script");
    fs::set_permissions(&by, fs::Permissions::from_mode(0o755)).expect("a script");
    let (mut client, _) = catch_up(backlog, plugins, Some(&by));
    let answer = rows(&mut client, "SELECT pid FROM walker_status").expect("walker_status");
    drop(client);
    // Each process writes down what it counted when it ends, the postmaster when
    // its clients believe that it has.
    let postmaster = cluster.postmaster_pid().expect("the server runs");
    cluster.stop(Mode::Fast);
    poll_until("the end of the postmaster", || {
        (!is_alive(postmaster)).then_some(())
    });
    let n = count(&cluster.path(&format!("callgrind.{}", aligned(&answer))));
    let records = backlog.stretch.records;
    assert!(
        n > 100.0 * records as f64,
        "{n} instructions cannot be all of {records} records"
    );
    n
}

/// What callgrind has counted: the sum of all costs it wrote down. Its own
/// summary may lack what a process that was forked did.
fn count(out: &Path) -> f64 {
    let text = fs::read_to_string(out).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let number = line.and_then(|number| number.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no count in {}", out.display()))
}
