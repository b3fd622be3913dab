//! The ledger against page images: the proof that goes along with the work.
//!
//! Every image of a block that was known is compared with the state the ledger
//! had, after the record's own change. A difference is never expected; it is
//! counted, told once per relation, and the image wins.

use walker_wal::{BlockNumber, Lsn, OffsetNumber, RelFileLocator};

use crate::Sink;
use crate::block::{BlockState, Offsets};
use crate::ledger::{At, Ledger};

/// What a record and the ledger promise about the image that came with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// The record's change was applied to the ledger before.
    Exact,
    /// The page was pruned, but the image took the place of the details: dead
    /// tuples can only be fewer.
    Pruned,
    /// Items were freed, but the image took the place of the details.
    Vacuumed,
    /// The page is new, or was replaced as a whole.
    Nothing,
}

/// What the audit says of a line pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// A dead tuple.
    DeadTuple,
    /// An `LP_DEAD` item.
    DeadItem,
    /// Anything else.
    Other,
}

/// A page image that contradicts the ledger. Never expected; the image wins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The relation.
    pub locator: RelFileLocator,
    /// The block.
    pub blkno: BlockNumber,
    /// The first line pointer that differs.
    pub offnum: OffsetNumber,
    /// The end of the record with the image.
    pub end_lsn: Lsn,
    /// What the ledger had.
    pub expected: ItemKind,
    /// What the page shows.
    pub found: ItemKind,
}

/// Mismatches kept until they are taken.
const MAX_MISMATCHES: usize = 64;

impl<S: Sink> Ledger<S> {
    /// The mismatches since the last call, one per relation at most.
    pub fn take_mismatches(&mut self) -> Vec<Mismatch> {
        std::mem::take(&mut self.mismatches)
    }

    /// Compare a known block with what its image shows. Whether nothing of it
    /// has to be taken over, for all of it is known.
    pub(crate) fn audit(&mut self, state: &BlockState, at: At, expect: Expect) -> bool {
        let (rangeno, b) = self.geo.split(at.blkno);
        let Some(rel) = self
            .rels
            .find(at.locator)
            .and_then(|idx| self.rels.get_mut(idx))
        else {
            return false;
        };
        let Some(range) = rel.ranges.get(rangeno).filter(|r| r.is_known(b)) else {
            return false;
        };
        // A status may have been learned from the server before its record
        // came by; that is no difference.
        let open = range.pending.offsets(b).or(state.pending_offsets());
        let both = range.garbage.block(b);
        let (dead, items) = (both.one, both.other);
        let differ = match expect {
            Expect::Exact => state.dead.xor(dead).or(state.items.xor(items)),
            Expect::Pruned => state.dead.without(dead),
            Expect::Vacuumed => state.dead.xor(dead).or(state.items.without(items)),
            Expect::Nothing => return false,
        };
        self.stats.images_checked += 1;
        let count = range.normal.get(b).filter(|_| expect != Expect::Pruned);
        if count.is_some_and(|n| n != state.normal) {
            self.stats.count_mismatches += 1;
        }
        let Some(offnum) = differ.without(open).first() else {
            let counted = !range.normal.is_tracked() || range.normal.get(b) == Some(state.normal);
            let same = (state.dead, state.items) == (dead, items);
            // A base scan must be told of every image.
            let known = !rel.scanning && counted && same && range.pending.are(b, &state.pending);
            rel.last_touch = rel.last_touch.max(at.end_lsn.0);
            return known;
        };
        self.stats.image_mismatches += 1;
        if !std::mem::replace(&mut rel.mismatch_reported, true)
            && self.mismatches.len() < MAX_MISMATCHES
            && self.mismatches.try_reserve(1).is_ok()
        {
            self.mismatches.push(Mismatch {
                locator: at.locator,
                blkno: at.blkno,
                offnum,
                end_lsn: at.end_lsn,
                expected: kind(offnum, &dead, &items),
                found: kind(offnum, &state.dead, &state.items),
            });
        }
        false
    }
}

fn kind(off: OffsetNumber, dead: &Offsets, items: &Offsets) -> ItemKind {
    if dead.contains(off) {
        ItemKind::DeadTuple
    } else if items.contains(off) {
        ItemKind::DeadItem
    } else {
        ItemKind::Other
    }
}
