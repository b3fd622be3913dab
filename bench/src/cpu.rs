//! CPU time of processes. It says what work costs whatever else the machine
//! does, which elapsed time does not.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;
use walker_tests::process::is_alive;

/// What something took, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// On a CPU, in user space and in the kernel.
    pub cpu: f64,
    /// On the clock.
    pub wall: f64,
}

/// CPU seconds of a process of one thread; right to a tick while it runs, and
/// exactly when it sleeps or has ended.
pub fn of_process(pid: u32) -> Option<f64> {
    read(&format!("/proc/{pid}/schedstat"))
}

/// CPU seconds of this thread.
pub fn of_thread() -> f64 {
    // The kernel brings the number up to date when the thread is switched.
    std::thread::yield_now();
    read("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat")
}

fn read(path: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

/// CPU seconds of work that is always the same: a look at one place in 16 MB of
/// memory, which says where the next one is; the mean of many. How it varies
/// says how far this machine's CPU times are to be trusted: whoever else has a
/// part of it takes its caches, and a processor that waits for memory counts as
/// busy.
pub fn of_a_look_at_memory() -> f64 {
    const WORDS: usize = (16 << 20) / size_of::<u64>();
    const STEPS: u32 = 1 << 17;
    let words: Vec<u64> = (0..WORDS as u64).collect();
    let before = of_thread();
    let mut x = 1u64;
    for _ in 0..STEPS {
        let word = words[(x >> 32) as usize % WORDS];
        x = (x ^ word)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    std::hint::black_box(x);
    (of_thread() - before) / f64::from(STEPS)
}

/// Runs a program to its end. What it prints is thrown away.
pub fn run(command: &mut Command) -> Cost {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    // Its output ends when it does. It stays as a zombie, whose CPU time can
    // be read, until it is waited for.
    let mut output = child.stdout.take().expect("a pipe");
    let mut buffer = [0; 65536];
    while output.read(&mut buffer).expect("its output") > 0 {}
    while is_alive(child.id()) {
        std::thread::yield_now();
    }
    let cost = Cost {
        cpu: of_process(child.id()).expect("a process that was not waited for"),
        wall: began.elapsed().as_secs_f64(),
    };
    let status = child.wait().expect("a child");
    assert!(status.success(), "{command:?}: {status}");
    cost
}

/// CPU seconds a server has used up to now: those of its processes that run,
/// and of those that have ended.
pub fn of_server(postmaster: u32) -> f64 {
    let running: f64 = walker_tests::process::children(postmaster)
        .into_iter()
        .filter_map(of_process)
        .sum();
    let stat = fs::read_to_string(format!("/proc/{postmaster}/stat")).expect("the server runs");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = fields.split_whitespace();
    // utime, stime, cutime and cstime are the fields 14 to 17, in ticks.
    let ticks: f64 = (0..15)
        .filter_map(|i| Some((i, fields.next()?.parse::<f64>().unwrap_or(0.0))))
        .filter(|(i, _)| (11..15).contains(i))
        .map(|(_, n)| n)
        .sum();
    running + ticks / 100.0
}
