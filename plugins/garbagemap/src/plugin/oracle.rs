//! What became of a transaction, as the server knows it.
//!
//! Asked for tuples in page images whose hint bits do not tell and whose
//! transaction ended before our WAL begins.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use garbagemap_core::{Oracle, XidStatus};
use pgrx::prelude::*;

/// `XactTruncationLock`'s place in the main array of lightweight locks, the
/// same in 15 to 18 (storage/lwlocklist.h, lwlocknames.h).
const XACT_TRUNCATION_LOCK: usize = 44;

/// `MultiXactTruncationLock`'s place there.
const MULTIXACT_TRUNCATION_LOCK: usize = 41;

/// No commit that we were told of is behind this. 0 if all were durable then.
static LAST_COMMIT: AtomicU64 = AtomicU64::new(0);

/// Whether all transactions that this process was told are committed stay so
/// after a crash. The server says so of asynchronous commits before they are on
/// disk; a ledger that was saved before would then contradict the table. On a
/// standby a restart may come to rest in front of what was replayed before,
/// unless that is behind the minimum recovery point. With `flush` they are made
/// durable now, as by a synchronous commit or by writing a page.
pub fn commits_are_durable(flush: bool) -> bool {
    let lsn = LAST_COMMIT.load(Relaxed);
    // SAFETY: XLogNeedsFlush and XLogFlush (access/transam/xlog.c) take the end
    // of a record that was inserted, or replayed, which is what the commit log
    // remembers. In recovery they look to, and move, the minimum recovery point.
    unsafe {
        if !pg_sys::XLogNeedsFlush(lsn) {
            return true;
        }
        if flush {
            pg_sys::XLogFlush(lsn);
        }
    }
    flush
}

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
            let lock = individual_lock(XACT_TRUNCATION_LOCK);
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED);
            let status = status_of(xid, oldest_clog_xid());
            pg_sys::LWLockRelease(lock);
            status
        }
    }

    /// For multixacts that are older than our WAL. In a transaction, because
    /// only its end takes back the horizon that reading one sets
    /// (AtEOXact_MultiXact), and under the truncation lock, because asking for
    /// one that is being truncated away is an ERROR.
    fn multixact_updater(&mut self, mxid: u32) -> Option<u32> {
        // SAFETY: this process went through InitPostgres, so it has a slot for
        // the horizon; there is no other transaction; the context that was
        // current is current again afterwards.
        unsafe {
            let context = pg_sys::CurrentMemoryContext;
            pg_sys::StartTransactionCommand();
            let lock = individual_lock(MULTIXACT_TRUNCATION_LOCK);
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED);
            let updater = updater_of(mxid);
            pg_sys::LWLockRelease(lock);
            pg_sys::CommitTransactionCommand();
            pg_sys::CurrentMemoryContext = context;
            updater
        }
    }
}

/// # Safety
/// `index` must be that of an individual lock.
unsafe fn individual_lock(index: usize) -> *mut pg_sys::LWLock {
    // SAFETY: MainLWLockArray begins with the individual locks.
    unsafe { &raw mut (*pg_sys::MainLWLockArray.add(index)).lock }
}

fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The member that updated the tuple, 0 if there is none; `None` if the
/// multixact is no longer, or not yet, there.
///
/// # Safety
/// In a transaction, with MultiXactTruncationLock held.
unsafe fn updater_of(mxid: u32) -> Option<u32> {
    let (mut oldest, mut next) = Default::default();
    // SAFETY: ReadMultiXactIdRange reads shared memory
    // (access/transam/multixact.c).
    unsafe { pg_sys::ReadMultiXactIdRange(&mut oldest, &mut next) };
    if precedes(mxid, oldest.into_inner()) || !precedes(mxid, next.into_inner()) {
        return None;
    }
    let mut members: *mut pg_sys::MultiXactMember = core::ptr::null_mut();
    // SAFETY: within the range, so the members are there; the array is
    // palloc'd in the transaction's memory.
    let members = unsafe {
        let n = pg_sys::GetMultiXactIdMembers(mxid.into(), &mut members, false, false);
        match usize::try_from(n) {
            Ok(n) if !members.is_null() => core::slice::from_raw_parts(members, n),
            _ => return Some(0),
        }
    };
    let updates = |m: &&pg_sys::MultiXactMember| {
        m.status >= pg_sys::MultiXactStatus::MultiXactStatusNoKeyUpdate
    };
    Some(
        members
            .iter()
            .find(updates)
            .map_or(0, |m| m.xid.into_inner()),
    )
}

/// Nothing older is running; and whose subtransaction anything younger is, the
/// server remembers, as long as this one runs. (If it ends just now, and a
/// checkpoint forgets at the same time, the question may be an ERROR. The next
/// time it is none.)
pub fn oldest_running() -> pg_sys::TransactionId {
    // SAFETY: both look through the process array under its lock
    // (storage/ipc/procarray.c). The first must not be asked in recovery, to which
    // nobody goes back; the second also minds what snapshots see, for which it
    // looks at every process.
    unsafe {
        match pg_sys::RecoveryInProgress() {
            false => pg_sys::GetOldestActiveTransactionId(),
            true => pg_sys::GetOldestTransactionIdConsideredRunning(),
        }
    }
}

/// # Safety
/// XactTruncationLock must be held.
unsafe fn status_of(xid: u32, oldest: u32) -> XidStatus {
    if precedes(xid, oldest) {
        return XidStatus::Unknown;
    }
    let xid = pg_sys::TransactionId::from(xid);
    // SAFETY: TransactionIdIsInProgress, TransactionIdDidCommit and
    // TransactionIdGetCommitLSN take any xid whose status is kept. The first two
    // trust two horizons that a snapshot would set; we take none, so they get
    // the oldest xid that runs. "In progress" is asked first: a transaction
    // leaves the list of running ones only after its status is in the commit log.
    unsafe {
        let oldest = oldest_running();
        pg_sys::RecentXmin = oldest;
        pg_sys::TransactionXmin = oldest;
        if pg_sys::TransactionIdIsInProgress(xid) {
            XidStatus::InProgress
        } else if pg_sys::TransactionIdDidCommit(xid) {
            // 0 but for an asynchronous commit of it, or of one nearby, of lately
            // (TransactionIdGetCommitLSN in access/transam/transam.c).
            LAST_COMMIT.fetch_max(pg_sys::TransactionIdGetCommitLSN(xid), Relaxed);
            XidStatus::Committed
        } else {
            XidStatus::Aborted
        }
    }
}
