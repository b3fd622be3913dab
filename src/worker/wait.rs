//! Waiting for WAL.

use super::{signals, watch};
use crate::compat;
use crate::reader::current_limit;
use crate::shared::Control;
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Longest sleep: at most one wake-up a second when nothing happens.
const IDLE: Duration = Duration::from_millis(1000);
/// Sleep between looks where the server cannot wake us, while WAL keeps
/// coming.
const POLL: Duration = Duration::from_millis(20);
/// For so long after the last WAL we poll at that pace.
const BUSY: Duration = Duration::from_secs(5);
/// After a wake-up: let more commits gather, so that few of them pay for a signal
/// to us, and we for coming. As long as where the server cannot wake us. Not if
/// somebody woke us who waits.
const COALESCE: Duration = POLL;

/// Waits for the limit to move.
pub struct Waiter {
    event: u32,
    last_wal: Instant,
}

impl Waiter {
    /// Register the wait event.
    pub fn new() -> Waiter {
        Waiter {
            event: compat::wait_event(c"WalkerWaitForWal"),
            last_wal: Instant::now(),
        }
    }

    /// WAL came.
    pub fn saw_wal(&mut self) {
        self.last_wal = Instant::now();
    }

    /// Sleep until WAL beyond `read` may be there, a signal comes, or it is
    /// time to look around.
    pub fn wait(&self, control: &Control, read: Lsn, in_recovery: bool) {
        match compat::wal_condition_variable(in_recovery) {
            Some(cv) => self.wait_on(cv, control, read),
            None => {
                let pace = if self.last_wal.elapsed() < BUSY {
                    POLL
                } else {
                    IDLE
                };
                self.sleep(pace);
            }
        }
    }

    /// The condition variable only sets our latch; sleeping on the latch and
    /// not in ConditionVariableSleep lets signals and `walker_wait` end it too.
    fn wait_on(&self, cv: *mut pg_sys::ConditionVariable, control: &Control, read: Lsn) {
        // SAFETY: a condition variable in shared memory; we enter its list
        // before the condition is looked at, so that no broadcast is missed,
        // and leave it before anything else (storage/lmgr/condition_variable.c).
        unsafe { pg_sys::ConditionVariablePrepareToSleep(cv) };
        let moved = current_limit().lsn > read;
        if !moved && !signals::shutdown_requested() {
            self.sleep(IDLE);
        }
        // SAFETY: as above.
        unsafe { pg_sys::ConditionVariableCancelSleep() };
        // Who waits may have set the latch along with the broadcast; who comes
        // after this look sets it again, and ends the sleep.
        let awaited = control.awaited.swap(0, Relaxed) != 0;
        if !moved && !awaited && !signals::shutdown_requested() && current_limit().lsn > read {
            self.sleep(COALESCE);
        }
    }

    /// Sleep for a while; a signal or a set latch ends it.
    pub fn sleep(&self, time: Duration) {
        // Its timer must not wake an idle worker.
        watch::off();
        // SAFETY: our own latch.
        unsafe {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            let happened = pg_sys::WaitLatch(
                pg_sys::MyLatch,
                events as i32,
                time.as_millis() as core::ffi::c_long,
                self.event,
            );
            if happened & pg_sys::WL_LATCH_SET as i32 != 0 {
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
        }
    }
}
