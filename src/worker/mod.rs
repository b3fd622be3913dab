//! The background worker: a loop one can read in a minute.

mod budget;
mod call;
mod crash;
mod durable;
mod failure;
mod flush;
mod loading;
mod positions;
mod rate;
mod resume;
mod run;
pub mod signals;
mod slot;
mod trouble;
mod wait;
mod watch;

pub use trouble::lost_behind;

use crate::plugin::current;
use crate::reader::current_limit;
use crate::{guc, shared};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::prelude::*;
use std::time::Duration;
use walker_plugin::wal::Lsn;

/// Time between two looks at the replay position.
const REPLAY_POLL: Duration = Duration::from_millis(50);

static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// Register the worker. Only while libraries are preloaded.
pub fn register() {
    BackgroundWorkerBuilder::new("walker")
        .set_type("walker")
        .set_library("walker")
        .set_function("walker_main")
        .enable_shmem_access(None)
        .enable_spi_access()
        // After enable_spi_access, which would set a start time that never
        // comes on a standby.
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(Some(guc::restart_interval()))
        .load();
}

/// Whether this process is the worker.
pub fn is_worker() -> bool {
    IS_WORKER.load(Relaxed)
}

/// Set the worker's latch, from any process, and say that somebody waits.
pub fn wake() {
    let Some(control) = shared::control() else {
        return;
    };
    let pid = control.pid.load(Relaxed);
    if pid == 0 {
        return;
    }
    // Before the latch, which orders the two (SetLatch in storage/ipc/latch.c).
    control.awaited.store(1, Relaxed);
    // SAFETY: BackendPidGetProc (storage/ipc/procarray.c) returns an entry of
    // the process array or NULL; setting the latch of a process that has just
    // gone is harmless.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        if !proc.is_null() {
            pg_sys::SetLatch(&raw mut (*proc).procLatch);
        }
    }
}

/// On a standby: wait until replay has reached `lsn`, or recovery has ended.
///
/// A plugin's state may be ahead of replay, which begins at the last
/// restartpoint. Until replay is there, the state would run ahead of the
/// tables; and recovery may end before it gets there, on a timeline to which
/// the state does not belong. The plugin that asked is not to blame for the
/// wait, nor for an end of the worker meanwhile.
pub fn wait_for_replay(lsn: Lsn) {
    let ahead = || {
        let limit = current_limit();
        limit.in_recovery && limit.lsn < lsn
    };
    if !ahead() {
        return;
    }
    ereport!(
        LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("walker waits for replay to reach {lsn}, where a plugin's state is")
    );
    while ahead() {
        pause(REPLAY_POLL);
    }
}

/// Let some time pass while a plugin's state is looked at: the same goes for
/// that.
pub fn wait_a_moment() {
    pause(trouble::RETRY);
}

/// Sleep, while no plugin counts as running.
fn pause(time: Duration) {
    let asked = current::running();
    current::leave();
    signals::serve();
    if signals::shutdown_requested() {
        // SAFETY: ends the process the regular way, see walker_main.
        unsafe { pg_sys::proc_exit(1) };
    }
    wait::Waiter::new().sleep(time);
    if let Some(running) = asked {
        watch::enter(running.plugin, running.callback, running.lsn);
    }
}

/// Where the postmaster starts the worker.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn walker_main(_arg: pg_sys::Datum) {
    IS_WORKER.store(true, Relaxed);
    signals::install();
    // SAFETY: no database, bootstrap superuser: see InitPostgres in
    // utils/init/postinit.c. Without a database we are in nobody's way, with
    // InitPostgres we take part in ProcSignal barriers.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnection(core::ptr::null(), core::ptr::null(), 0);
    }
    let Some(control) = shared::control() else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "walker has no shared memory"
        );
    };
    failure::watch_exit();
    crash::install();
    watch::init();
    // Nothing of the control block is left half-changed by an unwind: it is
    // numbers.
    let control = std::panic::AssertUnwindSafe(control);
    PgTryBuilder::new(|| run::run(*control))
        .catch_others(|error| failure::report(*control, error))
        .execute();
    // Exit code 1: the postmaster starts us again unless it is shutting down.
    // Code 0 would be taken as "done for good".
    // SAFETY: ends the process the regular way.
    unsafe { pg_sys::proc_exit(1) };
}
