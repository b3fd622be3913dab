//! Heap and Heap2: the changes of tuples and line pointers.
//!
//! Each record's own change is applied first, to the blocks that are known,
//! and then its images are compared and taken over. Block data are there only
//! where no image took their place.

use walker_wal::heap::{
    HeapRecord, PlainChange, PlainLock, XLH_DELETE_ALL_VISIBLE_CLEARED, XLH_DELETE_IS_SUPER,
    XLH_INSERT_ALL_VISIBLE_CLEARED, XLH_UPDATE_NEW_ALL_VISIBLE_CLEARED,
    XLH_UPDATE_OLD_ALL_VISIBLE_CLEARED, XLHL_XMAX_IS_MULTI, XLHL_XMAX_LOCK_ONLY, XLOG_HEAP_DELETE,
    XLOG_HEAP_HOT_UPDATE, XLOG_HEAP_INSERT, XLOG_HEAP_LOCK, XLOG_HEAP_OPMASK, XLOG_HEAP_UPDATE,
    XlHeapDelete, XlHeapInsert, XlHeapLock, XlHeapUpdate, plain_lock,
};
use walker_wal::heap2::{Heap2Record, XlHeapMultiInsert, XlHeapPrune};
use walker_wal::{
    Block, BlockNumber, ForkNumber, Major, OffsetNumber, Record, RelFileLocator, TransactionId,
    WalError,
};
use walker_wal::{heap, heap2};

use super::{Server, at};
use crate::audit::Expect;
use crate::block::{Event, MAX_OFFSET, Offsets};
use crate::ledger::{At, Ledger};
use crate::recent::{Change, How};
use crate::{Sink, xact};

const UPDATE_VISIBLE_CLEARED: u8 =
    XLH_UPDATE_OLD_ALL_VISIBLE_CLEARED | XLH_UPDATE_NEW_ALL_VISIBLE_CLEARED;
/// Their bits are counted as those of two places.
const _: () = assert!(
    (UPDATE_VISIBLE_CLEARED | XLH_INSERT_ALL_VISIBLE_CLEARED | XLH_DELETE_ALL_VISIBLE_CLEARED)
        == 0b11
);

/// What a change on one page is, and its flags for all-visible bits that were
/// cleared, by opcode: looked up, for which comes next nobody can foresee.
const PLAIN: [(How, u8); 8] = {
    let mut all = [(How::Updated, UPDATE_VISIBLE_CLEARED); 8];
    all[(XLOG_HEAP_INSERT >> 4) as usize] = (How::Plain, XLH_INSERT_ALL_VISIBLE_CLEARED);
    all[(XLOG_HEAP_DELETE >> 4) as usize] = (How::Plain, XLH_DELETE_ALL_VISIBLE_CLEARED);
    all[(XLOG_HEAP_HOT_UPDATE >> 4) as usize] = (How::HotUpdated, UPDATE_VISIBLE_CLEARED);
    all
};

impl<S: Sink> Ledger<S> {
    pub(super) fn apply_heap<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        // The most frequent ones are decoded where they are used, each in a
        // function of its own: what nobody looks at is never copied.
        match rec.info() & XLOG_HEAP_OPMASK {
            XLOG_HEAP_INSERT => self.apply_insert(rec, server),
            XLOG_HEAP_DELETE => self.apply_delete(rec, server),
            XLOG_HEAP_UPDATE | XLOG_HEAP_HOT_UPDATE => self.apply_update(rec, server),
            XLOG_HEAP_LOCK => match plain_lock(rec) {
                Some(lock) => {
                    self.apply_plain_lock(rec, &lock);
                    Ok(())
                }
                None => self.apply_other(major, rec, server),
            },
            _ => self.apply_other(major, rec, server),
        }
    }

    #[inline(never)]
    fn apply_other<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        match heap::decode(major, rec)? {
            // Their callers have them.
            HeapRecord::Insert(_) | HeapRecord::Delete(_) | HeapRecord::Update(_) => Ok(()),
            HeapRecord::Lock(lock) => self.apply_lock(rec, &lock, server),
            // They change no tuple's fate.
            HeapRecord::Confirm(confirm) => {
                self.apply_image(rec, main(&confirm.block)?, Expect::Exact, server)
            }
            HeapRecord::Inplace(inplace) => {
                self.apply_image(rec, main(&inplace.block)?, Expect::Exact, server)
            }
            // The files that go are named by the commit record.
            HeapRecord::Truncate(_) => Ok(()),
            HeapRecord::Other { .. } => {
                self.stats.unknown_records += 1;
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn apply_insert<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let insert = XlHeapInsert::read(rec)?;
        let block = main(&insert.block)?;
        let off = checked(insert.offnum)?;
        let xid = match insert.tuple {
            Some(tuple) if tuple.header.infomask.xmin_frozen() => None,
            _ => Some(writer(rec)?),
        };
        if insert.init_page {
            self.init_page(at(rec, block));
        }
        let rel = self.insert(at(rec, block), off, xid);
        self.count_visible_lost(rel, insert.flags & XLH_INSERT_ALL_VISIBLE_CLEARED);
        self.apply_image(rec, block, Expect::Exact, server)
    }

    #[inline(never)]
    fn apply_delete<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let delete = XlHeapDelete::read(rec)?;
        let block = main(&delete.block)?;
        let off = checked(delete.offnum)?;
        let rel = if delete.flags & XLH_DELETE_IS_SUPER != 0 {
            self.super_delete(at(rec, block), off)
        } else {
            // The record's xmax may be a multixact; its transaction is the
            // one that deletes.
            self.delete(at(rec, block), off, writer(rec)?, Event::Delete)
        };
        self.count_visible_lost(rel, delete.flags & XLH_DELETE_ALL_VISIBLE_CLEARED);
        self.apply_image(rec, block, Expect::Exact, server)
    }

    #[inline(never)]
    fn apply_update<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let update = XlHeapUpdate::read(rec)?;
        let new = main(&update.new_block)?;
        let (new_off, old_off) = (checked(update.new_offnum)?, checked(update.old_offnum)?);
        let xid = writer(rec)?;
        let lost = update.flags & UPDATE_VISIBLE_CLEARED;
        let how = match update.hot {
            true => How::HotUpdated,
            false => How::Updated,
        };
        if let Some(old) = &update.other_old_block
            && old.image.is_none()
            && new.image.is_none()
            && !update.init_page
        {
            self.change_one(
                rec,
                old.locator,
                old.blkno,
                (0, old_off),
                (How::UpdatedAway, 0),
            );
            self.change_one(rec, new.locator, new.blkno, (new_off, 0), (how, lost));
            return Ok(());
        }
        let rel = match &update.other_old_block {
            None => self.update(at(rec, new), old_off, new_off, xid),
            // Of a main fork: the decoder passes others over.
            Some(old) => {
                self.delete(at(rec, old), old_off, xid, Event::Update);
                if update.init_page {
                    self.init_page(at(rec, new));
                }
                self.insert(at(rec, new), new_off, Some(xid))
            }
        };
        if let Some(idx) = rel {
            self.count(idx, |c| {
                match update.hot {
                    true => c.hot_updates += 1,
                    false => c.other_updates += 1,
                }
                if lost != 0 {
                    c.visible_lost += u64::from(lost.count_ones());
                }
            });
        }
        let result = self.apply_image(rec, new, Expect::Exact, server);
        match &update.other_old_block {
            Some(old) => self
                .apply_image(rec, old, Expect::Exact, server)
                .and(result),
            None => result,
        }
    }

    /// A change on one page, without an image.
    #[inline(always)]
    pub(super) fn apply_plain<R: Record + ?Sized>(&mut self, rec: &R, plain: &PlainChange) {
        let (how, cleared) = PLAIN[usize::from(plain.op >> 4) % PLAIN.len()];
        let (offsets, cleared) = ((plain.inserted, plain.deleted), plain.flags & cleared);
        self.change_one(rec, plain.locator, plain.blkno, offsets, (how, cleared));
    }

    /// A transaction inserted and deleted these tuples of a block (0 is none),
    /// of which there is no image.
    #[inline(always)]
    fn change_one<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        locator: RelFileLocator,
        blkno: BlockNumber,
        (inserted, deleted): (OffsetNumber, OffsetNumber),
        (how, cleared): (How, u8),
    ) {
        if let Some(rel) = self.rels.find(locator) {
            let change = Change {
                rel,
                blkno,
                xid: rec.xid(),
                inserted,
                deleted,
                how,
                visible_lost: (cleared & 1) + (cleared >> 1 & 1),
            };
            self.change_tuple(change);
        }
    }

    pub(super) fn apply_heap2<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        if let Some(prune) = XlHeapPrune::read(major, rec) {
            return self.apply_prune(rec, &prune?, server);
        }
        match heap2::decode(major, rec)? {
            Heap2Record::Prune(_) => Ok(()), // read above
            Heap2Record::Vacuum(vacuum) => self.apply_vacuum(rec, &vacuum, server),
            // Freezing changes how a status is written down, not the status.
            Heap2Record::FreezePage(freeze) => {
                self.apply_image(rec, main(&freeze.block)?, Expect::Exact, server)
            }
            Heap2Record::Visible(visible) => {
                let block = main(&visible.block)?;
                self.visible(at(rec, block));
                self.apply_image(rec, block, Expect::Exact, server)
            }
            Heap2Record::MultiInsert(multi) => self.apply_multi_insert(rec, &multi, server),
            Heap2Record::LockUpdated(lock) => self.apply_lock(rec, &lock, server),
            Heap2Record::NewCid(_) | Heap2Record::Rewrite(_) => Ok(()),
            Heap2Record::Other { .. } => {
                self.stats.unknown_records += 1;
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn apply_lock<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        lock: &XlHeapLock<'_>,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let block = main(&lock.block)?;
        let off = checked(lock.offnum)?;
        if shows_no_updater(lock.infobits_set) {
            self.lock_only(at(rec, block), off);
        }
        self.apply_image(rec, block, Expect::Exact, server)
    }

    /// A tuple was locked, and there is no image of its block.
    #[inline]
    fn apply_plain_lock<R: Record + ?Sized>(&mut self, rec: &R, lock: &PlainLock) {
        if shows_no_updater(lock.infobits_set) {
            let at = At {
                locator: lock.locator,
                blkno: lock.blkno,
                end_lsn: rec.end_lsn(),
                sets_page_lsn: true,
            };
            self.lock_only(at, lock.offnum);
        }
    }

    #[inline(never)]
    fn apply_multi_insert<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        multi: &XlHeapMultiInsert<'_>,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let block = main(&multi.block)?;
        if multi.init_page {
            self.init_page(at(rec, block));
        }
        let (mut inserted, mut frozen) = (Offsets::default(), Offsets::default());
        for tuple in multi.tuples() {
            let off = checked(tuple.offnum)?;
            match tuple.tuple {
                Some(tuple) if tuple.header.infomask.xmin_frozen() => frozen.insert(off),
                _ => inserted.insert(off),
            }
        }
        let xid = match inserted.is_empty() {
            true => rec.xid(),
            false => writer(rec)?,
        };
        let rel = self.insert_all(at(rec, block), (inserted, frozen), xid);
        self.count_visible_lost(rel, multi.flags & XLH_INSERT_ALL_VISIBLE_CLEARED);
        self.apply_image(rec, block, Expect::Exact, server)
    }

    #[inline]
    fn count_visible_lost(&mut self, rel: Option<u32>, cleared: u8) {
        if cleared != 0
            && let Some(idx) = rel
        {
            self.count(idx, |c| c.visible_lost += 1);
        }
    }
}

/// With a multixact that is not for locking only, the tuple keeps the updater
/// it had, who may run or have committed. Any other lock shows that an updater
/// it had has aborted.
fn shows_no_updater(infobits_set: u8) -> bool {
    infobits_set & (XLHL_XMAX_IS_MULTI | XLHL_XMAX_LOCK_ONLY) != XLHL_XMAX_IS_MULTI
}

/// Tuples are in main forks. (The initialisation fork of an unlogged relation
/// is logged, but is not where its tuples are.)
pub(super) fn main<'a, 'b>(block: &'b Block<'a>) -> Result<&'b Block<'a>, WalError> {
    match block.fork {
        ForkNumber::MAIN => Ok(block),
        ForkNumber(fork) => Err(WalError::Invalid {
            what: "forkNum",
            value: fork.into(),
        }),
    }
}

pub(super) fn checked(off: OffsetNumber) -> Result<OffsetNumber, WalError> {
    match off {
        1..=MAX_OFFSET => Ok(off),
        _ => Err(WalError::Invalid {
            what: "offnum",
            value: off.into(),
        }),
    }
}

/// The transaction that changes tuples, which has an xid always.
fn writer<R: Record + ?Sized>(rec: &R) -> Result<TransactionId, WalError> {
    match xact::special_xid(rec.xid()) {
        None => Ok(rec.xid()),
        Some(_) => Err(WalError::Invalid {
            what: "xl_xid",
            value: rec.xid().into(),
        }),
    }
}
