//! How much private memory the worker has, and which plugin it grew in.
//!
//! A process that eats the machine is killed by the kernel, and a killed
//! process restarts every session. `walker.max_memory` ends it earlier and in
//! order. Only the kernel sees all of palloc, malloc and Rust, so it is asked.

use crate::guc::MAX_PLUGINS;
use core::ffi::{c_int, c_long};
use core::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

static MEASURING: AtomicBool = AtomicBool::new(false);
static GROWN: [AtomicI64; MAX_PLUGINS] = [const { AtomicI64::new(0) }; MAX_PLUGINS];

/// Resident memory that is this process's alone, in bytes; 0 where the kernel
/// does not tell.
pub fn private_bytes() -> u64 {
    static STATM: OnceLock<Option<File>> = OnceLock::new();
    let Some(file) = STATM.get_or_init(|| File::open("/proc/self/statm").ok()) else {
        return 0;
    };
    let mut buffer = [0u8; 128];
    let read = file.read_at(&mut buffer, 0).unwrap_or(0);
    // Pages: whole size, resident, and of these shared with others.
    let mut numbers = buffer
        .get(..read)
        .unwrap_or(&[])
        .split(|b| *b == b' ')
        .map(|digits| str::from_utf8(digits).ok()?.parse::<u64>().ok());
    let (resident, shared) = (numbers.nth(1).flatten(), numbers.next().flatten());
    match (resident, shared) {
        (Some(resident), Some(shared)) => resident.saturating_sub(shared) * page_size(),
        _ => 0,
    }
}

fn page_size() -> u64 {
    unsafe extern "C" {
        fn sysconf(name: c_int) -> c_long;
    }
    const SC_PAGESIZE: c_int = 30;
    // SAFETY: sysconf only reads a constant of the system.
    u64::try_from(unsafe { sysconf(SC_PAGESIZE) }).unwrap_or(4096)
}

/// Measure callbacks from now on, or no more: it costs two system calls each.
pub fn measure(on: bool) {
    MEASURING.store(on, Relaxed);
}

/// The memory before a callback, if it is to be measured.
#[inline]
pub fn before() -> Option<u64> {
    MEASURING.load(Relaxed).then(private_bytes)
}

/// A measured callback of a plugin came back.
pub fn after(plugin: u32, before: Option<u64>) {
    let Some(before) = before else { return };
    if let Some(grown) = GROWN.get(plugin as usize) {
        let more = private_bytes() as i64 - before as i64;
        grown.fetch_add(more, Relaxed);
    }
}

/// The plugin in whose callbacks memory grew most, if it grew in any.
pub fn grew_most() -> Option<u32> {
    let most = (0u32..).zip(&GROWN).max_by_key(|(_, g)| g.load(Relaxed))?;
    (most.1.load(Relaxed) > 0).then_some(most.0)
}
