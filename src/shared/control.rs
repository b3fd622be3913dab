//! The control block: what the worker shows of itself and of its plugins.

use super::Text;
use super::area::AreaDirectory;
use crate::guc::{MAX_NAME, MAX_PLUGINS};
use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed,
};
use pgrx::pg_sys;
use walker_plugin::wal::Lsn;

/// What the worker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum WorkerState {
    /// No process.
    NotRunning = 0,
    /// Loading plugins, finding the start.
    Starting = 1,
    /// Reading WAL that was written before it came.
    CatchingUp = 2,
    /// Reading WAL as it is written.
    Streaming = 3,
    /// All WAL is read, waiting for more.
    Waiting = 4,
    /// The last process ended by an error; the next one is due.
    Failed = 5,
}

impl WorkerState {
    /// The state as SQL shows it.
    pub fn name(self) -> &'static str {
        match self {
            WorkerState::NotRunning => "not running",
            WorkerState::Starting => "starting",
            WorkerState::CatchingUp => "catching up",
            WorkerState::Streaming => "streaming",
            WorkerState::Waiting => "waiting",
            WorkerState::Failed => "failed",
        }
    }

    fn from_u32(n: u32) -> WorkerState {
        match n {
            1 => WorkerState::Starting,
            2 => WorkerState::CatchingUp,
            3 => WorkerState::Streaming,
            4 => WorkerState::Waiting,
            5 => WorkerState::Failed,
            _ => WorkerState::NotRunning,
        }
    }
}

/// What became of a configured plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum PluginState {
    /// Not yet looked at.
    Unknown = 0,
    /// Receives records, while there is a worker.
    Running = 1,
    /// Its library could not be used.
    LoadFailed = 2,
    /// Failed too often; left out until `walker_restart()`, a new list or, unless it
    /// crashed, a new start of the server.
    Quarantined = 3,
}

impl PluginState {
    /// The state as SQL shows it.
    pub fn name(self) -> &'static str {
        match self {
            PluginState::Unknown => "unknown",
            PluginState::Running => "running",
            PluginState::LoadFailed => "failed to load",
            PluginState::Quarantined => "quarantined",
        }
    }

    /// From its number in shared memory.
    pub fn from_u32(n: u32) -> PluginState {
        match n {
            1 => PluginState::Running,
            2 => PluginState::LoadFailed,
            3 => PluginState::Quarantined,
            _ => PluginState::Unknown,
        }
    }
}

/// Status of one configured plugin. Positions are LSNs, 0 for none.
#[repr(C)]
pub struct PluginStatus {
    /// Its name in `walker.plugins`.
    pub name: Text<{ MAX_NAME + 1 }>,
    /// The file the library was loaded from.
    pub library: Text<256>,
    /// [`PluginState`]
    pub state: AtomicU32,
    /// ABI version it declares.
    pub abi_version: AtomicU32,
    /// Where delivery began.
    pub start_lsn: AtomicU64,
    /// Up to where records were delivered.
    pub applied_lsn: AtomicU64,
    /// Up to where its state is durable.
    pub durable_lsn: AtomicU64,
    /// 1 if walker remembers its position, and that no further than the plugin's
    /// `flush_cb` has said.
    pub bounded: AtomicU64,
    /// Records delivered since the server started.
    pub records: AtomicU64,
    /// Nanoseconds in its callbacks, by sampling.
    pub time_ns: AtomicU64,
    /// Errors since the server started.
    pub errors: AtomicU64,
    /// The last error.
    pub last_error: Text<512>,
    /// The record, or the position, at which it happened.
    pub last_error_lsn: AtomicU64,
    /// Failures in a row at `failed_lsn`, or in one callback without a record.
    pub failures: AtomicU32,
    /// Where the last of them was.
    pub failed_lsn: AtomicU64,
    /// The callback of the last failure.
    pub failed_callback: AtomicU32,
    /// Failures at any position, each soon after the worker had started.
    pub streak: AtomicU32,
    /// The same for lack of memory, which is seldom the plugin's fault.
    pub shortages: AtomicU32,
    /// Where memory was short last.
    pub short_lsn: AtomicU64,
}

impl PluginStatus {
    /// The numbers that belong to the plugin, whichever row it stands in.
    fn numbers(&self) -> [&AtomicU64; 8] {
        [
            &self.start_lsn,
            &self.applied_lsn,
            &self.durable_lsn,
            &self.bounded,
            &self.records,
            &self.time_ns,
            &self.errors,
            &self.last_error_lsn,
        ]
    }

    /// Failures are forgotten: the plugin gets a new try.
    pub fn forgive(&self) {
        self.failures.store(0, Relaxed);
        self.streak.store(0, Relaxed);
        self.shortages.store(0, Relaxed);
    }
}

/// A row of [`PluginStatus`] on its way to another place in the list.
pub struct SavedStatus {
    /// The plugin's name.
    pub name: String,
    last_error: String,
    numbers: [u64; 8],
}

/// Counters of one resource manager.
#[repr(C)]
pub struct RmgrStats {
    /// Records.
    pub records: AtomicU64,
    /// Bytes of whole records, images included.
    pub bytes: AtomicU64,
    /// Bytes of page images.
    pub fpi_bytes: AtomicU64,
}

/// The head of walker's shared memory.
#[repr(C)]
pub struct Control {
    lock: AtomicPtr<pg_sys::LWLock>,
    applied_cv: UnsafeCell<pg_sys::ConditionVariable>,
    /// Not 0 if a backend may be in `walker_wait`.
    pub waiters: AtomicU32,
    /// Somebody woke the worker and waits for what it does; taken back by the
    /// worker before it lets commits gather (16 and later).
    pub awaited: AtomicU32,

    /// Process ID of the worker, 0 if there is none.
    pub pid: AtomicI32,
    state: AtomicU32,
    /// Worker processes started since the server started.
    pub starts: AtomicU64,
    /// The next worker is to forget who crashed.
    pub forgive_crashes: AtomicU32,
    /// When this process began, or the last one ended.
    pub since: AtomicI64,
    /// Timeline the worker reads.
    pub timeline: AtomicU32,
    /// Counting of records began here.
    pub counted_from_lsn: AtomicU64,
    /// Records that begin before this are counted.
    pub counted_to_lsn: AtomicU64,
    /// End of the last record handed to all plugins.
    pub applied_lsn: AtomicU64,
    /// Where reading must stop: flush or replay position.
    pub limit_lsn: AtomicU64,
    /// When the worker last had nothing left to read.
    pub caught_up_at: AtomicI64,
    /// Bytes of WAL a second, lately.
    pub rate: AtomicU64,
    /// The last error of the worker itself.
    pub last_error: Text<512>,
    /// When it happened, 0 for never.
    pub last_error_at: AtomicI64,
    /// The last stretch of WAL that was lost.
    pub gap_from: AtomicU64,
    /// Its end.
    pub gap_to: AtomicU64,
    /// How many there were.
    pub gaps: AtomicU64,
    /// The replication slot the worker holds, empty for none.
    pub slot: Text<64>,
    /// Set by `walker_restart()`.
    pub restart_requested: AtomicU32,

    /// Index of a plugin whose callback has been running for a while,
    pub running_plugin: AtomicU32,
    /// which callback it is,
    pub running_callback: AtomicU32,
    /// at which position,
    pub running_lsn: AtomicU64,
    /// and since when; 0 if there is none.
    pub running_since: AtomicI64,

    /// Number of plugins in `plugins`.
    pub n_plugins: AtomicU32,
    /// The plugins, in order.
    pub plugins: [PluginStatus; MAX_PLUGINS],
    /// By resource manager ID.
    pub rmgrs: [RmgrStats; 256],
    /// The memory lent to plugins.
    pub areas: AreaDirectory,
}

// SAFETY: everything is atomic but the condition variable, which PostgreSQL's
// own functions access under its spinlock.
unsafe impl Sync for Control {}

impl Control {
    /// # Safety
    /// `ptr` must be zeroed shared memory that no other process uses yet.
    pub(super) unsafe fn init(ptr: *mut Control, lock: *mut pg_sys::LWLock, lendable: usize) {
        // SAFETY: the caller's promise; all-zero is a valid Control.
        unsafe {
            let control = &*ptr;
            control.lock.store(lock, Relaxed);
            pg_sys::ConditionVariableInit(control.applied_cv.get());
            control
                .areas
                .init(size_of::<Control>().next_multiple_of(128), lendable);
        }
    }

    /// WAL was lost. Whether that is news: who loses it may be several plugins,
    /// one after the other.
    pub fn lost(&self, from: Lsn, to: Lsn) -> bool {
        let known = self.gap_to.load(Relaxed) == to.0;
        let from = match known {
            true => from.0.min(self.gap_from.load(Relaxed)),
            false => from.0,
        };
        self.gap_from.store(from, Relaxed);
        self.gap_to.store(to.0, Relaxed);
        if !known {
            self.gaps.fetch_add(1, Relaxed);
        }
        !known
    }

    /// The worker's state.
    pub fn state(&self) -> WorkerState {
        WorkerState::from_u32(self.state.load(Relaxed))
    }

    /// Show a new state.
    pub fn set_state(&self, state: WorkerState) {
        self.state.store(state as u32, Relaxed);
    }

    /// The condition variable broadcast when `applied_lsn` moved and somebody
    /// waits.
    pub fn applied_cv(&self) -> *mut pg_sys::ConditionVariable {
        self.applied_cv.get()
    }

    /// Status of the plugins that are configured.
    pub fn configured(&self) -> &[PluginStatus] {
        let n = (self.n_plugins.load(Relaxed) as usize).min(MAX_PLUGINS);
        &self.plugins[..n]
    }

    /// What is known of the configured plugins.
    pub fn save_status(&self) -> Vec<SavedStatus> {
        let save = |p: &PluginStatus| SavedStatus {
            name: self.text(&p.name),
            last_error: self.text(&p.last_error),
            numbers: p.numbers().map(|n| n.load(Relaxed)),
        };
        self.configured().iter().map(save).collect()
    }

    /// Make a row that of the named plugin: with what is known of it, or new.
    pub fn set_status(&self, row: &PluginStatus, name: &str, saved: Option<&SavedStatus>) {
        let numbers = saved.map_or([0; 8], |s| s.numbers);
        for (to, from) in row.numbers().into_iter().zip(numbers) {
            to.store(from, Relaxed);
        }
        self.set_text(&row.name, name);
        self.set_text(&row.library, "");
        self.set_text(&row.last_error, saved.map_or("", |s| &s.last_error));
        row.abi_version.store(0, Relaxed);
        row.state.store(PluginState::Unknown as u32, Relaxed);
        row.forgive();
    }

    /// Read a text.
    pub fn text<const N: usize>(&self, text: &Text<N>) -> String {
        let (bytes, len) = self.locked(pg_sys::LWLockMode::LW_SHARED, || text.copy());
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    /// Write a text, cut to its size.
    pub fn set_text<const N: usize>(&self, text: &Text<N>, value: &str) {
        self.locked(pg_sys::LWLockMode::LW_EXCLUSIVE, || text.set(value));
    }

    /// Run `f`, which must neither fail, nor wait, nor allocate, under the lock.
    pub(super) fn locked<R>(&self, mode: pg_sys::LWLockMode::Type, f: impl FnOnce() -> R) -> R {
        let lock = self.lock.load(Relaxed);
        // SAFETY: the lock of our tranche, set before any reader exists.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        let result = f();
        // SAFETY: acquired above, by this process.
        unsafe { pg_sys::LWLockRelease(lock) };
        result
    }
}
