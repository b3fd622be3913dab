//! Pruning and vacuum: which items hold tuples no more.

use walker_wal::heap2::{PlainPrune, PruneReason, XlHeapPrune, XlHeapVacuum};
use walker_wal::heap2::{XLHP_HAS_DEAD_ITEMS, XLHP_HAS_NOW_UNUSED_ITEMS, XLHP_HAS_REDIRECTIONS};
use walker_wal::{Block, List, OffsetList, OffsetNumber, Record, WalError};

use super::heap::{checked, main};
use super::{Server, at};
use crate::Sink;
use crate::audit::Expect;
use crate::block::{Offsets, Pruned};
use crate::counters::Why;
use crate::ledger::{At, Ledger};

/// Flags of a pruning record with details about line pointers.
const DETAILS: u8 = XLHP_HAS_REDIRECTIONS | XLHP_HAS_DEAD_ITEMS | XLHP_HAS_NOW_UNUSED_ITEMS;

impl<S: Sink> Ledger<S> {
    pub(super) fn apply_prune<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        prune: &XlHeapPrune<'_>,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        self.why = why(prune.reason);
        let result = self.apply_pruning(rec, prune, server);
        self.why = Why::Learned;
        result
    }

    /// Pruning without an image. False if it is malformed, and nothing was
    /// done.
    #[inline(always)]
    pub(super) fn apply_plain_prune<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        prune: &PlainPrune<'_>,
    ) -> bool {
        let Ok(pruned) = pruned(prune.redirected, prune.nowdead, prune.nowunused) else {
            return false;
        };
        let at = At {
            locator: prune.locator,
            blkno: prune.blkno,
            end_lsn: rec.end_lsn(),
            sets_page_lsn: true,
        };
        self.why = why(prune.reason);
        self.prune(at, &pruned);
        self.why = Why::Learned;
        true
    }

    fn apply_pruning<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        prune: &XlHeapPrune<'_>,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let block = main(&prune.block)?;
        let expect = match &prune.items {
            Some(items) => {
                let pruned = pruned(items.redirected, items.nowdead, items.nowunused)?;
                self.prune(at(rec, block), &pruned);
                Expect::Exact
            }
            // From 17 on the flags tell that there is nothing to tell.
            None if prune.counts.is_none() && prune.flags & DETAILS == 0 => Expect::Exact,
            None if prune.reason == PruneReason::VacuumCleanup => Expect::Vacuumed,
            None => Expect::Pruned,
        };
        self.need_image(block, expect)?;
        self.apply_image(rec, block, expect, server)
    }

    #[inline(never)]
    pub(super) fn apply_vacuum<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        vacuum: &XlHeapVacuum<'_>,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let block = main(&vacuum.block)?;
        let expect = match vacuum.nowunused {
            Some(offs) => {
                let pruned = pruned(List::EMPTY, List::EMPTY, offs)?;
                self.prune(at(rec, block), &pruned);
                Expect::Exact
            }
            None => Expect::Vacuumed,
        };
        self.need_image(block, expect)?;
        self.apply_image(rec, block, expect, server)
    }

    /// What the record does not say, an image must show.
    fn need_image(&self, block: &Block<'_>, expect: Expect) -> Result<(), WalError> {
        match expect {
            Expect::Pruned | Expect::Vacuumed if block.image.is_none() => {
                Err(WalError::MissingBlock { id: block.id })
            }
            _ => Ok(()),
        }
    }
}

fn why(reason: PruneReason) -> Why {
    match reason {
        PruneReason::Any | PruneReason::OnAccess => Why::Pruned,
        PruneReason::VacuumScan | PruneReason::VacuumCleanup => Why::Vacuumed,
    }
}

/// What these lists say. Of a redirection, the first loses its tuple.
#[inline(always)]
fn pruned(
    redirected: List<'_, (OffsetNumber, OffsetNumber)>,
    nowdead: OffsetList<'_>,
    nowunused: OffsetList<'_>,
) -> Result<Pruned, WalError> {
    let froms = offsets(redirected.iter().map(|(from, _)| from))?;
    let (nowdead, nowunused) = (offsets(nowdead.iter())?, offsets(nowunused.iter())?);
    Ok(Pruned {
        gone: froms.or(nowdead).or(nowunused),
        nowdead,
        nowunused,
    })
}

#[inline]
fn offsets(list: impl Iterator<Item = OffsetNumber>) -> Result<Offsets, WalError> {
    let mut offsets = Offsets::default();
    for off in list {
        offsets.insert(checked(off)?);
    }
    Ok(offsets)
}
