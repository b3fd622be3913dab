//! When the worker fails: say where, remember it, leave cleanly.
//!
//! After an ERROR in somebody's code the state of the process cannot be
//! trusted: nothing of it is written, the process ends with exit code 1, the
//! next one resumes from durable state. The failure is counted at exit and not
//! where it is caught, so that a FATAL or an `exit()` in a plugin counts too.

use crate::plugin::dispatch::current;
use crate::services;
use crate::shared::{self, Control, WorkerState};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use walker_plugin::wal::{Lsn, RmgrId};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Clean up the status when the process ends, however it ends.
pub fn watch_exit() {
    // SAFETY: before_shmem_exit (storage/ipc/ipc.c) calls it once, while
    // shared memory is still attached.
    unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0usize)) };
}

#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: core::ffi::c_int, _arg: pg_sys::Datum) {
    let Some(control) = shared::control() else {
        return;
    };
    let mut failed = FAILED.load(Relaxed);
    if let Some(running) = current::running() {
        failed = true;
        count(control, &running);
    }
    control.set_state(if failed {
        WorkerState::Failed
    } else {
        WorkerState::NotRunning
    });
    control.since.store(now(), Relaxed);
    control.pid.store(0, Relaxed);
    services::wake_waiters(control);
}

/// Count a callback that did not come back.
fn count(control: &Control, running: &current::Running) {
    let Some(plugin) = control.plugins.get(running.plugin as usize) else {
        return;
    };
    plugin.errors.fetch_add(1, Relaxed);
    if plugin.last_error_lsn.swap(running.lsn.0, Relaxed) == running.lsn.0 {
        plugin.failures.fetch_add(1, Relaxed);
    } else {
        plugin.failures.store(1, Relaxed);
    }
}

/// Raise the caught error again, naming what was running.
pub fn report(control: &Control, error: CaughtError) {
    FAILED.store(true, Relaxed);
    let (CaughtError::PostgresError(ereport)
    | CaughtError::ErrorReport(ereport)
    | CaughtError::RustPanic { ereport, .. }) = &error;
    let message = ereport.message().to_owned();
    let mut detail = ereport
        .detail()
        .map(|d| format!("{d} "))
        .unwrap_or_default();
    let at = match current::running() {
        Some(running) => {
            let at = describe(control, &running);
            if let Some(plugin) = control.plugins.get(running.plugin as usize) {
                control.set_text(&plugin.last_error, &message);
            }
            at
        }
        None => format!("Position {}.", Lsn(control.applied_lsn.load(Relaxed))),
    };
    detail.push_str(&at);
    control.set_text(&control.last_error, &format!("{message} ({at})"));
    control.last_error_at.store(now(), Relaxed);
    let mut again = pg_sys::panic::ErrorReport::new(ereport.sql_error_code(), message, "walker")
        .set_detail(detail);
    if let Some(hint) = ereport.hint() {
        again = again.set_hint(hint.to_owned());
    }
    again.report(PgLogLevel::ERROR);
}

/// "Plugin "x", callback record, resource manager Heap, LSN 0/1234."
fn describe(control: &Control, running: &current::Running) -> String {
    let name = control
        .plugins
        .get(running.plugin as usize)
        .map(|p| control.text(&p.name))
        .unwrap_or_default();
    match running.rmid {
        Some(rmid) => format!(
            "Plugin \"{name}\", callback {}, resource manager {}, LSN {}.",
            running.callback,
            RmgrId(rmid)
                .builtin_name()
                .map_or_else(|| rmid.to_string(), str::to_owned),
            running.lsn
        ),
        None => format!(
            "Plugin \"{name}\", callback {}, LSN {}.",
            running.callback, running.lsn
        ),
    }
}

/// Now, as a TimestampTz.
pub fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
