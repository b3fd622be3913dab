//! Pruning a page, as any query that reads it might.
//!
//! The server's own `heap_page_prune_opt` does it, under its own conditional
//! cleanup lock and with its own horizon: it removes nothing that a snapshot
//! may need, writes the WAL, and tells the cumulative statistics. Not
//! `heap_page_prune`, which has other parameters in each major version and
//! even in different minor versions of 15 and 16, so that a library built with
//! one would crash another.
//!
//! Two of its conditions are about saving work, not about safety: the page
//! must be nearly full, and `pd_prune_xid` must name a transaction that is old
//! enough. The map knows better than both, so they are met beforehand by
//! setting the two hints. Neither is ever written to the WAL by the server
//! either (`PageSetFull` in `heap_update`), a page is not made dirty for them,
//! and nothing but pruning looks at them.

use crate::relation::OpenTable;
use crate::scan::{Ring, max_offset};
use pgrx::pg_sys;

/// What became of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// There was nothing to remove.
    Clean,
    /// A snapshot needs what is there, or may.
    Held,
    /// Somebody else has the page pinned.
    Busy,
    /// So many tuples and bytes are gone.
    Pruned { tuples: u64, bytes: u64 },
}

/// Prunes pages of one table.
pub struct Pruner<'t> {
    table: &'t OpenTable,
    ring: &'t Ring,
}

impl<'t> Pruner<'t> {
    pub fn new(table: &'t OpenTable, ring: &'t Ring) -> Self {
        Pruner { table, ring }
    }

    /// Prune one page, and record its free space for insertions to find.
    pub fn page(&self, blkno: u32) -> Outcome {
        let rel = self.table.rel();
        // SAFETY: the relation is open and the block was in it under our lock,
        // which keeps it from being truncated. The pin is held to the end; on
        // an error the resource owner releases pin and lock. What is read and
        // written of the page is under its exclusive lock.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(
                rel,
                pg_sys::ForkNumber::MAIN_FORKNUM,
                blkno,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                self.ring.strategy(),
            );
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            let page = HeapPage::of(buffer);
            // GlobalVisTestFor (storage/ipc/procarray.c) wants a snapshot to
            // have been taken in this process, which the caller did.
            let horizon = pg_sys::GlobalVisTestFor(rel);
            let removable = |xid: &u32| pg_sys::GlobalVisTestIsRemovableXid(horizon, (*xid).into());
            let hint = page.prune_xid();
            // Tuples are looked at only where the hint does not do.
            let oldest = match hint.filter(removable) {
                Some(xid) => Some(xid),
                None => page.oldest_inserter().filter(removable),
            };
            let Some(oldest) = oldest else {
                pg_sys::UnlockReleaseBuffer(buffer);
                return match hint {
                    Some(_) => Outcome::Held,
                    None => Outcome::Clean,
                };
            };
            let before = page.contents();
            let was_full = page.set_hints(oldest);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);

            pg_sys::heap_page_prune_opt(rel, buffer);

            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            // Pruning clears the hint, whether it removes something or not.
            let busy = page.is_full();
            if busy && !was_full {
                page.clear_full();
            }
            let after = page.contents();
            let space = pg_sys::PageGetHeapFreeSpace(page.0.cast());
            pg_sys::UnlockReleaseBuffer(buffer);
            if busy {
                return Outcome::Busy;
            }
            pg_sys::RecordPageWithFreeSpace(rel, blkno, space);
            if after.tuples < before.tuples || after.free > before.free {
                Outcome::Pruned {
                    tuples: before.tuples.saturating_sub(after.tuples),
                    bytes: before.free_grew_to(after),
                }
            } else {
                Outcome::Clean
            }
        }
    }

    /// Let insertions find the space recorded in these blocks.
    pub fn publish_space(&self, start: u32, end: u32) {
        // SAFETY: the relation is open (storage/freespace/freespace.c).
        unsafe { pg_sys::FreeSpaceMapVacuumRange(self.table.rel(), start, end) };
    }
}

/// What pruning changes.
#[derive(Clone, Copy)]
struct Contents {
    /// Tuples with storage.
    tuples: u64,
    /// Bytes between line pointers and tuples.
    free: u64,
}

impl Contents {
    fn free_grew_to(self, after: Contents) -> u64 {
        after.free.saturating_sub(self.free)
    }
}

/// A page whose buffer is pinned. Its functions want the exclusive lock.
#[derive(Clone, Copy)]
struct HeapPage(*mut pg_sys::PageHeaderData);

/// `FirstNormalTransactionId` (access/transam.h).
const FIRST_NORMAL_XID: u32 = 3;

const PD_PAGE_FULL: u16 = pg_sys::PD_PAGE_FULL as u16;

impl HeapPage {
    /// # Safety
    /// The buffer must stay pinned as long as the result is used.
    unsafe fn of(buffer: pg_sys::Buffer) -> HeapPage {
        // SAFETY: the caller's promise.
        HeapPage(unsafe { pg_sys::BufferGetPage(buffer) }.cast())
    }

    /// # Safety
    /// Pinned and locked, as for all the following.
    unsafe fn contents(self) -> Contents {
        let (mut tuples, header) = (0, self.0);
        // SAFETY: the caller's promise. ReadBufferExtended has checked the
        // header, so the line pointers are on the page.
        unsafe {
            let line = (&raw const (*header).pd_linp).cast::<pg_sys::ItemIdData>();
            for index in 0..usize::from(max_offset(header)) {
                let used = (*line.add(index)).lp_flags() == pg_sys::LP_NORMAL;
                tuples += u64::from(used);
            }
            let free = (*header).pd_upper.saturating_sub((*header).pd_lower);
            Contents {
                tuples,
                free: u64::from(free),
            }
        }
    }

    /// `pd_prune_xid`, if it names a transaction: whose end may have left
    /// something to remove.
    unsafe fn prune_xid(self) -> Option<u32> {
        // SAFETY: as above.
        let xid = unsafe { (*self.0).pd_prune_xid.into_inner() };
        (xid >= FIRST_NORMAL_XID).then_some(xid)
    }

    /// The oldest transaction that inserted here and is not known to have
    /// committed: of those that were rolled back `pd_prune_xid` does not speak.
    unsafe fn oldest_inserter(self) -> Option<u32> {
        let header = self.0;
        let mut oldest: Option<u32> = None;
        // SAFETY: as above; an item with storage begins with a tuple header.
        unsafe {
            let line = (&raw const (*header).pd_linp).cast::<pg_sys::ItemIdData>();
            for index in 0..usize::from(max_offset(header)) {
                let item = *line.add(index);
                if item.lp_flags() != pg_sys::LP_NORMAL {
                    continue;
                }
                let tuple = header.cast::<u8>().add(item.lp_off() as usize);
                let tuple = tuple.cast::<pg_sys::HeapTupleHeaderData>();
                let xmin = (*tuple).t_choice.t_heap.t_xmin.into_inner();
                let committed = u32::from((*tuple).t_infomask) & pg_sys::HEAP_XMIN_COMMITTED != 0;
                if !committed
                    && xmin >= FIRST_NORMAL_XID
                    && oldest.is_none_or(|old| precedes(xmin, old))
                {
                    oldest = Some(xmin);
                }
            }
        }
        oldest
    }

    /// `PageSetFull` and `PageSetPrunable` (storage/bufpage.h). Whether the
    /// page was called full before.
    unsafe fn set_hints(self, oldest: u32) -> bool {
        // SAFETY: as above.
        unsafe {
            let was_full = self.is_full();
            (*self.0).pd_flags |= PD_PAGE_FULL;
            (*self.0).pd_prune_xid = oldest.into();
            was_full
        }
    }

    unsafe fn is_full(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.0).pd_flags & PD_PAGE_FULL != 0 }
    }

    /// `pd_prune_xid` stays: it is true, and others may have relied on it
    /// meanwhile.
    unsafe fn clear_full(self) {
        // SAFETY: as above.
        unsafe { (*self.0).pd_flags &= !PD_PAGE_FULL };
    }
}

/// `TransactionIdPrecedes` of normal transactions.
fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
