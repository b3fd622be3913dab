//! `walker_restart`.

use super::required_control;
use crate::worker;
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;

/// Lift quarantines and restart the worker, which comes back after the restart
/// interval. False if it was not running. For superusers.
#[pg_extern(volatile, parallel_restricted)]
fn walker_restart() -> bool {
    // SAFETY: reads the current user's attributes.
    if !unsafe { pg_sys::superuser() } {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied for function walker_restart",
            "Only superusers may restart the walker."
        );
    }
    let control = required_control();
    for plugin in control.configured() {
        plugin.forgive();
    }
    control.forgive_crashes.store(1, Relaxed);
    if control.pid.load(Relaxed) == 0 {
        return false;
    }
    control.restart_requested.store(1, Relaxed);
    worker::wake();
    true
}
