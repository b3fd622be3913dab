//! `walker_wait`: the one function that waits for the worker.

use super::required_control;
use crate::reader::{current_limit, segment_size};
use crate::worker;
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use core::sync::atomic::fence;
use pgrx::datum::Interval;
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::sql::{PgLsn, ROLE_PG_MONITOR, require_role};
use walker_plugin::wal::{BLCKSZ, Lsn};

/// Longest sleep before the flush is looked at again.
const SLICE: Duration = Duration::from_millis(100);
/// Sizes of the headers of a WAL page (`SizeOfXLogShortPHD`) and of the first
/// page of a segment (`SizeOfXLogLongPHD`).
const SHORT_HEADER: u64 = 24;
const LONG_HEADER: u64 = 40;

/// Force the WAL up to `lsn` to disk and wait until all plugins have seen it.
/// False if that did not happen within `timeout`. For pg_monitor.
#[pg_extern(volatile, parallel_restricted, strict)]
fn walker_wait(lsn: PgLsn, timeout: Interval) -> bool {
    require_role("walker_wait", &[ROLE_PG_MONITOR]);
    let control = required_control();
    let micros = timeout.as_micros();
    if micros < 0 {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "timeout must not be negative"
        );
    }
    let started = Instant::now();
    let timeout = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
    let target = before_page_header(lsn.0);
    let event = crate::compat::wait_event(c"WalkerWaitApplied");

    loop {
        if control.applied_lsn.load(Acquire) >= target.0 {
            return true;
        }
        let Some(left) = timeout.checked_sub(started.elapsed()) else {
            return false;
        };
        flush_up_to(target);
        worker::wake();
        // SAFETY: our own sleep on a condition variable in shared memory; an
        // ERROR by interrupt cancels it (storage/lmgr/condition_variable.c).
        unsafe {
            let cv = control.applied_cv();
            pg_sys::ConditionVariablePrepareToSleep(cv);
            control.waiters.store(1, Relaxed);
            // One of the two sees what the other one stored: see `wake_waiters`.
            fence(SeqCst);
            if control.applied_lsn.load(Acquire) < target.0 {
                let millis = left.min(SLICE).as_millis().max(1);
                pg_sys::ConditionVariableTimedSleep(cv, millis as core::ffi::c_long, event);
            }
            pg_sys::ConditionVariableCancelSleep();
        }
        pgrx::check_for_interrupts!();
    }
}

/// The position where a record that ends "behind a page header" really ends.
///
/// The insert position, unlike the end of a record, skips the header of the
/// next page; nothing will ever end between the two.
fn before_page_header(lsn: Lsn) -> Lsn {
    let segment_size = segment_size();
    let page = BLCKSZ as u64;
    if lsn.0 % segment_size <= LONG_HEADER {
        Lsn(lsn.0 - lsn.0 % segment_size)
    } else if lsn.0 % page <= SHORT_HEADER {
        Lsn(lsn.0 - lsn.0 % page)
    } else {
        lsn
    }
}

/// Flush WAL that has been inserted but not yet flushed, for aborts and
/// asynchronous commits are not flushed by themselves at once.
fn flush_up_to(target: Lsn) {
    let limit = current_limit();
    if limit.in_recovery || limit.lsn >= target {
        return;
    }
    // SAFETY: not in recovery; never more than was inserted, which XLogFlush
    // would complain about (access/transam/xlog.c).
    unsafe {
        let inserted = before_page_header(Lsn(pg_sys::GetXLogInsertRecPtr()));
        pg_sys::XLogFlush(target.min(inserted).0);
    }
}
