//! Which callback is running: for the report when it does not come back.
//!
//! Written before and after every call of plugin code; read by the error
//! report, by the exit callback, and by signal handlers, so it is plain
//! atomics of this process.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;
use walker_plugin::wal::Lsn;

const NONE: u32 = u32::MAX;
static PLUGIN: AtomicU32 = AtomicU32::new(NONE);
static LSN: AtomicU64 = AtomicU64::new(0);
static RMID: AtomicU32 = AtomicU32::new(NONE);
static CALLBACK: AtomicU32 = AtomicU32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
/// End of the last record that was read, whether or not all plugins had it.
static READ_TO: AtomicU64 = AtomicU64::new(0);
static NAMES: OnceLock<Vec<String>> = OnceLock::new();

/// What plugin code may be running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Callback {
    /// A record callback.
    Record = 0,
    /// `startup_cb`
    Startup = 1,
    /// `start_lsn_cb`
    StartLsn = 2,
    /// `flush_cb`
    Flush = 3,
    /// `gap_cb`
    Gap = 4,
    /// `timeline_cb`
    Timeline = 5,
    /// `poll_cb`
    Poll = 6,
    /// `shutdown_cb`
    Shutdown = 7,
    /// `_PG_init` and `_PG_walker_plugin_init`
    Load = 8,
    /// None: the plugin's memory grew beyond the limit.
    Memory = 9,
}

impl Callback {
    const ALL: [Callback; 10] = [
        Callback::Record,
        Callback::Startup,
        Callback::StartLsn,
        Callback::Flush,
        Callback::Gap,
        Callback::Timeline,
        Callback::Poll,
        Callback::Shutdown,
        Callback::Load,
        Callback::Memory,
    ];

    /// From its number in shared memory.
    pub fn from_u32(n: u32) -> Callback {
        let at = usize::try_from(n).unwrap_or(0);
        Callback::ALL.get(at).copied().unwrap_or(Callback::Record)
    }

    /// As log and view name it.
    pub fn name(self) -> &'static str {
        match self {
            Callback::Record => "record",
            Callback::Startup => "startup",
            Callback::StartLsn => "start_lsn",
            Callback::Flush => "flush",
            Callback::Gap => "gap",
            Callback::Timeline => "timeline",
            Callback::Poll => "poll",
            Callback::Shutdown => "shutdown",
            Callback::Load => "init",
            Callback::Memory => "(memory)",
        }
    }
}

/// A running callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Running {
    /// Index of the plugin.
    pub plugin: u32,
    /// Begin of the record, or the position.
    pub lsn: Lsn,
    /// Resource manager of the record.
    pub rmid: Option<u8>,
    /// What it is.
    pub callback: Callback,
    /// Tells calls apart that take no record and so may share an LSN.
    pub call: u64,
}

/// A record callback begins.
#[inline]
pub(super) fn record(plugin: u32, lsn: u64, rmid: u8) {
    LSN.store(lsn, Relaxed);
    RMID.store(u32::from(rmid), Relaxed);
    CALLBACK.store(Callback::Record as u32, Relaxed);
    PLUGIN.store(plugin, Relaxed);
}

/// A callback that takes no record begins.
pub fn enter(plugin: u32, callback: Callback, lsn: Lsn) {
    CALLS.fetch_add(1, Relaxed);
    LSN.store(lsn.0, Relaxed);
    RMID.store(NONE, Relaxed);
    CALLBACK.store(callback as u32, Relaxed);
    PLUGIN.store(plugin, Relaxed);
}

/// The callback came back.
#[inline]
pub fn leave() {
    PLUGIN.store(NONE, Relaxed);
}

/// The callback that is running, or that did not come back.
pub fn running() -> Option<Running> {
    let plugin = PLUGIN.load(Relaxed);
    (plugin != NONE).then(|| Running {
        plugin,
        lsn: Lsn(LSN.load(Relaxed)),
        rmid: u8::try_from(RMID.load(Relaxed)).ok(),
        callback: Callback::from_u32(CALLBACK.load(Relaxed)),
        call: CALLS.load(Relaxed),
    })
}

/// A record was read that ends here.
#[inline]
pub(super) fn read_to(end: u64) {
    READ_TO.store(end, Relaxed);
}

/// End of the last record that was read; `None` before the first.
pub fn last_read() -> Option<Lsn> {
    let end = READ_TO.load(Relaxed);
    (end != 0).then_some(Lsn(end))
}

/// Remember the plugins' names, by index, where a signal handler may read them.
pub fn set_names(names: &[String]) {
    let _ = NAMES.set(names.to_vec());
}

/// Name of a plugin; takes no lock and no memory.
pub fn name(plugin: u32) -> &'static str {
    NAMES
        .get()
        .and_then(|names| names.get(usize::try_from(plugin).ok()?))
        .map_or("", String::as_str)
}
