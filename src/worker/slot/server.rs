//! What the server does for a replication slot of this process.

use crate::compat;
use crate::plugin::message_of;
use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering};
use pgrx::prelude::*;
use std::ffi::CString;
use walker_plugin::wal::Lsn;

/// Let go of the slot that this process holds, if it holds one, and drop this one.
/// Who has dropped it before has done what was wanted.
pub fn drop_slot(name: &str) -> Result<(), String> {
    let name = CString::new(name).map_err(|e| e.to_string())?;
    // SAFETY: nowait makes the drop fail rather than wait for whoever may have
    // taken it (replication/slot.c).
    guarded(|| unsafe {
        let_go();
        if !pg_sys::SearchNamedReplicationSlot(name.as_ptr(), true).is_null() {
            pg_sys::ReplicationSlotDrop(name.as_ptr(), true);
        }
    })
}

/// Release the slot that this process holds, if it holds one.
///
/// # Safety
/// In the worker, whose main thread alone sets MyReplicationSlot; what fails is an
/// ERROR (replication/slot.c).
unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe {
        if !pg_sys::MyReplicationSlot.is_null() {
            pg_sys::ReplicationSlotRelease();
        }
    }
}

/// Run `f`; an ERROR becomes its message, with locks released as an aborting
/// transaction would.
pub fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    let f = std::panic::AssertUnwindSafe(f);
    PgTryBuilder::new(|| Ok({ f }.0()))
        .catch_others(|error| {
            // SAFETY: between two records this process holds no lock of its
            // own; what is held now is what the failed call left.
            unsafe { pg_sys::LWLockReleaseAll() };
            Err(message_of(&error))
        })
        .execute()
}

/// Take a slot, making it if need be; whether that was done.
pub fn take_slot(name: &str) -> Result<bool, String> {
    let c_name = CString::new(name).map_err(|e| e.to_string())?;
    let made = Cell::new(false);
    // SAFETY: plain functions of replication/slot.c, each raising an ERROR for
    // what it refuses; none needs a transaction.
    let taken = guarded(|| unsafe {
        pg_sys::CheckSlotRequirements();
        pg_sys::ReplicationSlotValidateName(c_name.as_ptr(), PgLogLevel::ERROR as i32);
        let found = pg_sys::SearchNamedReplicationSlot(c_name.as_ptr(), true);
        if !found.is_null() {
            compat::acquire_slot(&c_name);
            let data = &(*pg_sys::MyReplicationSlot).data;
            if data.database != pg_sys::InvalidOid {
                pg_sys::ReplicationSlotRelease();
                error!("replication slot \"{name}\" is a logical slot");
            }
            if data.restart_lsn != 0 && !compat::is_invalidated(data) {
                return false;
            }
            // Invalidated, or never used: make it anew.
            pg_sys::ReplicationSlotRelease();
            pg_sys::ReplicationSlotDrop(c_name.as_ptr(), true);
        }
        compat::create_physical_slot(&c_name);
        made.set(true);
        pg_sys::ReplicationSlotReserveWal();
        pg_sys::ReplicationSlotMarkDirty();
        pg_sys::ReplicationSlotSave();
        true
    });
    if taken.is_err() {
        // SAFETY: as above.
        let _ = guarded(|| unsafe { let_go() });
        if made.get() {
            // Not written, so it is made anew the next time.
            let _ = drop_slot(name);
        }
    }
    taken
}

/// Whether a process holds the slot, as far as a look without its lock tells.
pub fn is_in_use(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: a slot is in shared memory for ever, and its active_pid a number of
    // 32 bits (replication/slot.h).
    let found = guarded(|| unsafe {
        let slot = pg_sys::SearchNamedReplicationSlot(name.as_ptr(), true);
        !slot.is_null() && (&raw const (*slot).active_pid).read_volatile() != 0
    });
    found.unwrap_or(true)
}

pub fn holds_slot() -> bool {
    // SAFETY: a variable of this process, which its main thread alone sets.
    unsafe { !pg_sys::MyReplicationSlot.is_null() }
}

pub fn restart_lsn() -> Lsn {
    // SAFETY: the slot we hold; only its owner and an invalidation write the
    // position, 64 bits that are read at once.
    unsafe {
        let slot = pg_sys::MyReplicationSlot;
        if slot.is_null() {
            Lsn(u64::MAX)
        } else {
            Lsn((*slot).data.restart_lsn)
        }
    }
}

/// As pg_physical_replication_slot_advance (replication/slotfuncs.c) does it.
pub fn advance_slot(to: Lsn) {
    // SAFETY: the slot we hold; its position is changed under its spinlock and
    // then made durable, in this order.
    let moved = unsafe {
        let slot = pg_sys::MyReplicationSlot;
        if slot.is_null() {
            return;
        }
        let _lock = SpinLock::acquire(&raw mut (*slot).mutex);
        let at = &raw mut (*slot).data.restart_lsn;
        let moved = *at != 0 && *at < to.0;
        if moved {
            *at = to.0;
        }
        moved
    };
    if !moved {
        return;
    }
    // SAFETY: as above. A failed write is an ERROR; the slot stays dirty and is
    // written the next time.
    let saved = guarded(|| unsafe {
        pg_sys::ReplicationSlotMarkDirty();
        pg_sys::ReplicationSlotSave();
        pg_sys::ReplicationSlotsComputeRequiredLSN();
    });
    if let Err(why) = saved {
        pgrx::warning!("walker could not save its replication slot: {why}");
    }
}

/// A PostgreSQL spinlock (storage/s_lock.h): a byte that is exchanged for 1.
struct SpinLock<'a>(&'a AtomicU8);

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the type of slock_t on this architecture has not been looked at");

impl SpinLock<'_> {
    /// # Safety
    /// `lock` must be an initialised spinlock that outlives the guard; while
    /// it is held nothing may fail or wait.
    unsafe fn acquire<'a>(lock: *mut pg_sys::slock_t) -> SpinLock<'a> {
        // SAFETY: the caller's promise; slock_t is an unsigned char here.
        let byte = unsafe { AtomicU8::from_ptr(lock) };
        while byte.swap(1, Ordering::Acquire) != 0 {
            core::hint::spin_loop();
        }
        SpinLock(byte)
    }
}

impl Drop for SpinLock<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
