//! The optional physical replication slot that keeps WAL until it was read.
//!
//! Off by default, because an orphaned slot fills disks. With
//! `walker.slot_name` the worker owns a slot, bounded by our own
//! `walker.max_retained_wal`: past it the slot is dropped, and made again once
//! the worker is close behind. Whatever goes wrong with it, the worker runs on
//! without, and says so.

use crate::compat;
use crate::guc;
use crate::plugin::message_of;
use crate::reader::redo_pointer;
use crate::shared::Control;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU8, Ordering};
use pgrx::prelude::*;
use std::collections::VecDeque;
use std::ffi::CString;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Pause before a slot that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// The slot of this worker, if there is one.
pub struct Slot {
    name: String,
    held: bool,
    next_try: Option<Instant>,
    /// Why it could not be had, as last logged.
    complaint: String,
    /// Records that ended where state was written, from the oldest to the
    /// youngest: begin and end.
    passed: VecDeque<(Lsn, Lsn)>,
    /// From here on the slot keeps WAL, and the record that ends here.
    held_from: Lsn,
}

/// So many of them are remembered.
const PASSED: usize = 64;

impl Slot {
    /// Take the configured slot, making it if it does not exist.
    pub fn new(control: &Control) -> Slot {
        let mut slot = Slot {
            name: guc::slot_name(),
            held: false,
            next_try: None,
            complaint: String::new(),
            passed: VecDeque::new(),
            held_from: Lsn(0),
        };
        // What the last process held, it no longer does.
        let left = control.text(&control.slot);
        control.set_text(&control.slot, "");
        if !left.is_empty() && left != slot.name {
            drop_unconfigured(&left);
        }
        slot.take(control);
        slot
    }

    fn take(&mut self, control: &Control) {
        if self.name.is_empty() || self.held {
            return;
        }
        match take_slot(&self.name) {
            Ok(()) => {
                self.held = true;
                self.held_from = restart_lsn();
                self.next_try = None;
                self.complaint.clear();
                control.set_text(&control.slot, &self.name);
            }
            Err(why) => {
                self.next_try = Some(Instant::now() + RETRY);
                if why == self.complaint {
                    return;
                }
                ereport!(
                    WARNING,
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("walker could not use replication slot \"{}\"", self.name),
                    format!("{why}. The worker goes on without a slot.")
                );
                self.complaint.clone_from(&why);
                control.set_text(&control.last_error, &why);
                control.last_error_at.store(super::failure::now(), Relaxed);
            }
        }
    }

    /// State is written that ends with this record (begin and end).
    pub fn passed(&mut self, record: Option<(Lsn, Lsn)>) {
        if let Some((begin, end)) = record
            && self.passed.back().is_none_or(|(_, last)| *last < end)
        {
            if self.passed.len() == PASSED {
                // Every second one will do.
                let mut odd = false;
                self.passed.retain(|_| {
                    odd = !odd;
                    odd
                });
            }
            self.passed.push_back((begin, end));
        }
    }

    /// All plugins' state is durable up to here: older WAL may go, but for the
    /// last record, by which the state is proven. It can begin in the segment
    /// before, as one that ends a segment does.
    pub fn advance(&mut self, durable: Lsn) {
        let before = self.passed.partition_point(|(_, end)| *end <= durable);
        let Some((begin, end)) = self.passed.drain(..before).next_back() else {
            return;
        };
        if self.held {
            advance_slot(begin);
            self.held_from = self.held_from.max(end);
        }
    }

    /// WAL after which state should be made durable so that the slot can
    /// follow well before it is dropped for what it retains.
    pub fn flush_after(&self) -> u64 {
        if self.held {
            guc::max_retained_wal() / 4
        } else {
            u64::MAX
        }
    }

    /// Drop the slot if it is no longer the configured one.
    pub fn leave_behind(&mut self, control: &Control) {
        if self.held && self.name != guc::slot_name() {
            drop_unconfigured(&self.name);
            self.lost(control);
        }
    }

    /// Keep to `walker.max_retained_wal`; called now and then.
    pub fn check(&mut self, control: &Control, read: Lsn, written: Lsn) {
        let most = guc::max_retained_wal();
        if self.held {
            // Up to the redo pointer the server keeps it anyway.
            let retained = written.bytes_since(restart_lsn());
            if retained > most && self.held_from < redo_pointer() {
                self.give_up(control, retained);
            }
        } else if self.next_try.is_some_and(|t| Instant::now() >= t)
            && written.bytes_since(read) < most / 2
        {
            self.take(control);
        }
    }

    fn give_up(&mut self, control: &Control, retained: u64) {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!(
                "walker drops replication slot \"{}\", which retains {} MB of WAL",
                self.name,
                retained >> 20
            ),
            "More than walker.max_retained_wal; WAL that is removed before it was read will be \
             reported as a gap."
        );
        self.drop_it(control);
        self.next_try = Some(Instant::now() + RETRY);
    }

    fn drop_it(&mut self, control: &Control) {
        drop_slot(&self.name);
        self.lost(control);
    }

    fn lost(&mut self, control: &Control) {
        self.held = false;
        control.set_text(&control.slot, "");
    }
}

/// A slot that the worker held is no longer the configured one: nobody would
/// advance it, and what nobody advances fills the disk.
fn drop_unconfigured(name: &str) {
    ereport!(
        LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("walker drops replication slot \"{name}\", which is no longer walker.slot_name")
    );
    drop_slot(name);
}

/// Drop a slot that this process or the one before it held. Who has dropped it
/// before has done what was wanted.
fn drop_slot(name: &str) {
    let dropped = CString::new(name)
        .map_err(|e| e.to_string())
        .and_then(|name| {
            // SAFETY: nowait makes the drop fail rather than wait for whoever may
            // have taken it (replication/slot.c).
            guarded(|| unsafe {
                let_go();
                if !pg_sys::SearchNamedReplicationSlot(name.as_ptr(), true).is_null() {
                    pg_sys::ReplicationSlotDrop(name.as_ptr(), true);
                }
            })
        });
    if let Err(why) = dropped {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!("walker could not drop replication slot \"{name}\""),
            why
        );
    }
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
fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
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

fn take_slot(name: &str) -> Result<(), String> {
    let c_name = CString::new(name).map_err(|e| e.to_string())?;
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
                return;
            }
            // Invalidated, or never used: make it anew.
            pg_sys::ReplicationSlotRelease();
            pg_sys::ReplicationSlotDrop(c_name.as_ptr(), true);
        }
        compat::create_physical_slot(&c_name);
        pg_sys::ReplicationSlotReserveWal();
        pg_sys::ReplicationSlotMarkDirty();
        pg_sys::ReplicationSlotSave();
    });
    if taken.is_err() {
        // Made or taken, but not written: it is taken anew the next time.
        // SAFETY: as above.
        let _ = guarded(|| unsafe { let_go() });
    }
    taken
}

fn restart_lsn() -> Lsn {
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
fn advance_slot(to: Lsn) {
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
