//! Descriptors, shared memory, disk and address space run out: the worker
//! waits or makes way for a new one, no session notices, nothing is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use walker_tests::Cluster;
use walker_tests::cluster::signal;
use walker_tests::crash::end_worker;
use walker_tests::faults::{EIO, EMFILE, ENOSPC, Fault, Faults, What, Whose};
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::poll::poll_until;
use walker_tests::process::{children, is_alive};
use walker_tests::server::{output, run};
use walker_tests::skip::skipped;
use walker_tests::walker::plain;

const CONF: &str = "autovacuum = off
wal_buffers = '64kB'
wal_keep_size = '256MB'
checkpoint_timeout = '1h'
shared_preload_libraries = 'walker'
walker.plugins = 'garbagemap, walstat'
walker.restart_interval = 0";

fn not_started(name: &str) -> Cluster {
    let cluster = Cluster::new(name);
    cluster.init_with(&["--wal-segsize=1"]);
    cluster.append_conf(CONF);
    cluster
}

fn fill(cluster: &Cluster) {
    cluster.create_extensions("postgres");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 5000) g;
         DELETE FROM t WHERE a % 5 = 0;
         CHECKPOINT",
    );
    cluster.wait_for_saved_state();
    assert_map_exact_and_known(cluster, "postgres");
}

/// Some segments of WAL, and a state.
fn write_segments(cluster: &Cluster, segments: usize) {
    let mut client = cluster.connect("postgres");
    for _ in 0..segments {
        for sql in [
            "UPDATE t SET b = b + 1 WHERE a % 10 = 1",
            "SELECT pg_switch_wal()",
        ] {
            client.simple_query(sql).expect("a segment");
        }
    }
    client.simple_query("CHECKPOINT").expect("a checkpoint");
}

fn write_and_wait(cluster: &Cluster, segments: usize) {
    write_segments(cluster, segments);
    cluster.walker_wait();
    cluster.wait_for_durable_plugins();
}

/// What the descriptors of a process lead to.
fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let directory = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    let entries = directory.filter_map(|entry| {
        let entry = entry.ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    let mut found: Vec<_> = entries.collect();
    found.sort();
    found
}

/// At rest: what is opened for a moment is closed again.
fn descriptors_at_rest(cluster: &Cluster) -> Vec<(u32, PathBuf)> {
    let pid = cluster.worker_pid();
    cluster.wait_for_state(&["waiting"]);
    descriptors(pid)
}

fn assert_no_crash(cluster: &Cluster) {
    let log = cluster.log_from(0);
    for bad in [
        "was terminated by",
        "all server processes terminated",
        "PANIC:",
    ] {
        assert!(!log.contains(bad), "{log}");
    }
    assert!(!log.contains("walker lost"), "{log}");
}

/// Sets a process a limit, as its owner may.
fn limit(cluster: &Cluster, what: &str, pid: u32, number: u64) {
    let mut command = cluster.server.owned(Command::new("prlimit"));
    command.arg(format!("--pid={pid}"));
    run(command.arg(format!("--{what}={number}:")));
}

/// A server that has hardly more descriptors than it needs to start.
#[test]
fn few_descriptors() {
    if plain() {
        return;
    }
    let mut cluster = not_started("descriptors");
    cluster.append_conf("max_files_per_process = 64");
    let fewest = (50..200).step_by(2).find(|n| {
        cluster.launch.script = Some(format!("ulimit -n {n}; exec \"$@\""));
        cluster.try_start().is_ok()
    });
    let fewest = fewest.expect("a number of descriptors a server starts with");
    fill(&cluster);
    write_and_wait(&cluster, 3);
    let before = descriptors_at_rest(&cluster);
    for _ in 0..2 {
        write_and_wait(&cluster, 15);
    }
    let after = descriptors_at_rest(&cluster);
    eprintln!(
        "of {fewest} descriptors the worker has {} before 30 segments, {} after",
        before.len(),
        after.len()
    );
    assert!(after.len() <= before.len(), "{before:?}\n{after:?}");
    for _ in 0..3 {
        let pid = cluster.worker_pid();
        end_worker(pid);
        write_and_wait(&cluster, 1);
    }
    let after = descriptors_at_rest(&cluster);
    assert!(after.len() <= before.len(), "{before:?}\n{after:?}");
    assert_map_exact_and_known(&cluster, "postgres");
    let log = cluster.log_from(0);
    assert!(!log.contains("Too many open files"), "{log}");
    assert_no_crash(&cluster);
}

/// The worker gets no descriptor at all for a while.
#[test]
fn no_descriptor() {
    if plain() {
        return;
    }
    let mut cluster = not_started("nodescriptor");
    let faults = Faults::new(&mut cluster);
    cluster.start();
    fill(&cluster);
    let pid = cluster.worker_pid();
    let highest = descriptors_at_rest(&cluster)
        .last()
        .expect("a descriptor")
        .0;
    let offset = cluster.log_offset();
    // The segment that is open may be closed, its number is then free.
    limit(&cluster, "nofile", pid, 1);
    write_segments(&cluster, 8);
    let behind = cluster.wait_for_log("WARNING:  walker could not read WAL", offset);
    cluster.wait_for_log("Too many open files", behind);
    assert_eq!(cluster.worker_pid(), pid, "it need not have ended");
    limit(&cluster, "nofile", pid, u64::from(highest) + 100);
    cluster.walker_wait();
    assert_eq!(cluster.worker_pid(), pid, "it need not have ended");
    write_and_wait(&cluster, 2);
    assert_map_exact_and_known(&cluster, "postgres");
    // One complaint, not one for each try.
    let log = cluster.log_from(offset);
    assert_eq!(log.matches("walker could not read WAL").count(), 1, "{log}");

    // State that cannot be opened for want of a descriptor is still good, and
    // so is one that cannot be proven; and who has crashed is asked first.
    for (what, nth, words) in [
        (
            What::Open,
            1,
            "could not read file \"pg_walker/crashes\": Too many",
        ),
        (What::Open, 2, "could not read its state file: Too many"),
        (What::Open, 3, "could not read the state file: Too many"),
        (What::OpenWal, 1, "could not read WAL at "),
        (What::OpenWal, 2, "could not read WAL at "),
    ] {
        // Asked for before, as the session that asks is a new process, too.
        let pid = cluster.worker_pid();
        let offset = cluster.log_offset();
        let fault = Fault {
            error: EMFILE,
            what,
            ..Fault::nth_allocation(nth)
        };
        faults.begin(Whose::NextChild, fault);
        signal("TERM", &[pid]);
        poll_until("the fault", || (faults.hits() == 1).then_some(()));
        cluster.wait_for_log(words, offset);
        faults.end();
        cluster.walker_wait();
        assert_map_exact_and_known(&cluster, "postgres");
    }
    for name in ["walker.bad", "garbagemap.bad", "walstat.bad"] {
        assert!(
            !cluster.data_dir().join("pg_walker").join(name).exists(),
            "{name}"
        );
    }
    assert_no_crash(&cluster);
}

fn in_dev_shm(pid: u32) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process");
    let files = maps.lines().filter_map(|l| l.split_whitespace().nth(5));
    let shared = files.filter(|f| f.starts_with("/dev/shm"));
    shared.map(str::to_owned).collect()
}

/// `/dev/shm` is tiny, as in a container.
#[test]
fn no_shared_memory_to_speak_of() {
    if plain() {
        return;
    }
    let mut probe = Command::new("unshare");
    probe.args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]);
    if !output(&mut probe).status.success() {
        skipped("a small /dev/shm: this user cannot mount one");
        return;
    }
    let mut cluster = not_started("shm");
    cluster.append_conf("dynamic_shared_memory_type = posix");
    let least = [1, 2, 3, 4].iter().find(|megabytes| {
        let mount =
            format!("mount -t tmpfs -o size={megabytes}m,mode=1777 tmpfs /dev/shm && exec \"$@\"");
        cluster.launch.script = Some(format!("exec unshare -m sh -c '{mount}' sh \"$@\""));
        cluster.try_start().is_ok()
    });
    let least = least.expect("a size of /dev/shm a server starts with");
    eprintln!("/dev/shm has {least} MB");
    fill(&cluster);
    cluster.safe_psql(
        "postgres",
        "SELECT garbage_base_scan(); SELECT * FROM garbage_candidates",
    );
    write_and_wait(&cluster, 5);
    assert_map_exact_and_known(&cluster, "postgres");
    let postmaster = cluster.postmaster_pid().expect("a server");
    let worker = cluster.worker_pid();
    assert!(children(postmaster).contains(&worker));
    let (servers, workers) = (in_dev_shm(postmaster), in_dev_shm(worker));
    assert!(!servers.is_empty(), "the server itself uses none?");
    assert!(
        workers.is_subset(&servers),
        "{workers:?}, the server {servers:?}"
    );
    let log = cluster.log_from(0);
    assert!(
        !log.contains("ERROR:") && !log.contains("WARNING:"),
        "{log}"
    );
    assert_no_crash(&cluster);
}

/// Each step of writing a state fails in turn.
#[test]
fn a_disk_that_fails() {
    if plain() {
        return;
    }
    let mut cluster = not_started("disk");
    cluster.append_conf("fsync = on");
    let faults = Faults::new(&mut cluster);
    cluster.start();
    fill(&cluster);
    let pid = cluster.worker_pid();
    let file = cluster.data_dir().join("pg_walker/garbagemap");
    for (what, why) in [
        (What::Open, "opening"),
        (What::Write, "writing"),
        (What::Sync, "syncing"),
        (What::Rename, "renaming"),
    ] {
        faults.begin(Whose::Process(pid), Fault::none(what));
        write_and_wait(&cluster, 1);
        cluster.wait_for_state(&["waiting"]);
        let calls = faults.seen();
        assert!(calls > 0, "{why}: no state is written");
        for n in 1..=calls {
            let (error, words) = match n % 2 {
                0 => (EIO, "Input/output error"),
                _ => (ENOSPC, "No space left on device"),
            };
            let offset = cluster.log_offset();
            let old = fs::read(&file).expect("a state");
            let fault = Fault {
                what,
                error,
                ..Fault::nth_allocation(n)
            };
            faults.begin(Whose::Process(pid), fault);
            write_segments(&cluster, 1);
            poll_until("the fault", || (faults.hits() == 1).then_some(()));
            cluster.wait_for_log(words, offset);
            cluster.walker_wait();
            let log = cluster.log_from(offset);
            assert!(log.contains("WARNING:  walker"), "{why} {n}: {log}");
            assert!(
                log.contains("write") && !log.contains("ERROR:"),
                "{why} {n}: {log}"
            );
            // The directory is opened and synced when the file is in place.
            let unfinished = [What::Write, What::Rename].contains(&what);
            if unfinished && log.contains("\"garbagemap\"") {
                assert_eq!(fs::read(&file).expect("a state"), old, "{why} {n}");
            }
            faults.end();
            assert_eq!(
                cluster.worker_pid(),
                pid,
                "{why} {n}: it need not have ended"
            );
            write_and_wait(&cluster, 1);
            assert_ne!(fs::read(&file).expect("a state"), old, "{why} {n}");
        }
        eprintln!("{why}: {calls} calls failed in turn");
    }
    for entry in fs::read_dir(cluster.data_dir().join("pg_walker")).expect("a directory") {
        let name = entry.expect("a file").file_name();
        let known = ["garbagemap", "walstat", "walker"];
        assert!(known.iter().any(|k| name == *k), "{name:?} is left");
    }
    // The disk fails for long, and then the server.
    let fault = Fault {
        error: EIO,
        what: What::Sync,
        count: u64::from(u32::MAX),
        ..Fault::nth_allocation(1)
    };
    let offset = cluster.log_offset();
    faults.begin(Whose::Process(pid), fault);
    for _ in 0..3 {
        write_segments(&cluster, 1);
    }
    cluster.walker_wait();
    // It is not tried again and again, by none of the plugins.
    let asleep = "SELECT clock_timestamp() > caught_up_at + interval '0.9 s' FROM walker_status";
    cluster.poll_query_until("postgres", asleep, "t");
    let complaints = cluster.log_from(offset).matches("WARNING:").count();
    assert!((1..=20).contains(&complaints), "{complaints} warnings");
    cluster.kill9();
    faults.end();
    cluster.start();
    assert_map_exact(&cluster, "postgres");
    assert_no_crash(&cluster);
}

/// The worker's address space ends where it is now.
#[test]
fn no_address_space() {
    if plain() {
        return;
    }
    let cluster = not_started("space");
    cluster.start();
    fill(&cluster);
    let pid = cluster.worker_pid();
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    let pages: u64 = statm
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    limit(&cluster, "as", pid, pages * 4096 + (1 << 20));
    cluster.safe_psql(
        "postgres",
        "INSERT INTO t SELECT g, 0 FROM generate_series(1, 300000) g;
         DELETE FROM t WHERE a % 3 = 0;
         SELECT pg_logical_emit_message(true, 'large', repeat('x', 100000000))",
    );
    poll_until("the worker to end", || (!is_alive(pid)).then_some(()));
    cluster.walker_wait();
    assert!(cluster.log_from(0).contains("out of memory"));
    assert_map_exact_and_known(&cluster, "postgres");
    assert_no_crash(&cluster);
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
}
