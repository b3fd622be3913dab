//! What became of a transaction, as the server knows it.
//!
//! Asked for tuples in page images whose hint bits do not tell and whose
//! transaction ended before our WAL begins.

use garbagemap_core::{Oracle, XidStatus};
use pgrx::prelude::*;

/// `XactTruncationLock`'s place in the main array of lightweight locks, the
/// same in 15 to 18 (storage/lwlocklist.h, lwlocknames.h).
const XACT_TRUNCATION_LOCK: usize = 44;

/// The server as an oracle.
pub struct ServerOracle;

/// Oldest xid whose status is kept.
fn oldest_clog_xid() -> u32 {
    // SAFETY: shared memory, read under XactTruncationLock (transam.h).
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let xid = (*pg_sys::ShmemVariableCache).oldestClogXid;
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let xid = (*pg_sys::TransamVariables).oldestClogXid;
        xid.into_inner()
    }
}

impl Oracle for ServerOracle {
    /// Guarded as pg_xact_status is (utils/adt/xid8funcs.c): the status of an
    /// xid that is being truncated away must not be asked for.
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        // SAFETY: MainLWLockArray holds the individual locks in the order of
        // lwlocklist.h; the lock is held while the commit log is read and
        // released before anything else. An ERROR in between ends the worker,
        // which releases all locks.
        unsafe {
            let lock = &raw mut (*pg_sys::MainLWLockArray.add(XACT_TRUNCATION_LOCK)).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED);
            let status = status_of(xid, oldest_clog_xid());
            pg_sys::LWLockRelease(lock);
            status
        }
    }
}

/// # Safety
/// XactTruncationLock must be held.
unsafe fn status_of(xid: u32, oldest: u32) -> XidStatus {
    let precedes = |a: u32, b: u32| (a.wrapping_sub(b) as i32) < 0;
    if precedes(xid, oldest) {
        return XidStatus::Unknown;
    }
    let xid = pg_sys::TransactionId::from(xid);
    // SAFETY: TransactionIdIsInProgress and TransactionIdDidCommit take any
    // xid whose status is kept. Both trust two horizons that a snapshot would
    // set; we take none, so they get the bound that holds for every xid we ask
    // about. "In progress" is asked first: a transaction leaves the list of
    // running ones only after its status is in the commit log.
    unsafe {
        let oldest = pg_sys::TransactionId::from(oldest);
        pg_sys::RecentXmin = oldest;
        pg_sys::TransactionXmin = oldest;
        if pg_sys::TransactionIdIsInProgress(xid) {
            XidStatus::InProgress
        } else if pg_sys::TransactionIdDidCommit(xid) {
            XidStatus::Committed
        } else {
            XidStatus::Aborted
        }
    }
}
