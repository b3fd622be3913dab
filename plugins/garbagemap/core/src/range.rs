//! The state of one block range.
//!
//! Invariants: a block that is neither known nor held by a base scan has no
//! position in any set and a count of 0. A [`DEAD`] position and one in
//! `pending` is an `LP_NORMAL` item, an [`ITEM`] is `LP_DEAD`.

mod change;
mod ended;
mod group;
mod groups;
mod index;
mod pending;
mod small;

use walker_wal::{OffsetNumber, TransactionId};

use crate::RangeCounts;
use crate::block::{BlockMask, BlockState, Event, Offsets, Pruned, position};
use crate::mem::{Mem, NoMemory};
use crate::normal::Normal;
use crate::sets::{Both, Sets, Which};
use crate::shown::Shown;
pub(crate) use group::{DELETED, Group, INSERTED};
pub(crate) use pending::Pending;

/// In a range's garbage: dead tuples, and `LP_DEAD` items.
pub(crate) const DEAD: Which = Which::One;
pub(crate) const ITEM: Which = Which::Other;

/// See the module's documentation. What every change looks at comes first and
/// together, up to where it is seen that nothing is undecided, for a range is
/// seldom in the processor's cache.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Range {
    pub(crate) known: BlockMask,
    /// The save it was written in, as it is now.
    pub(crate) saved: u32,
    /// Dead tuples that are counted with the relation's garbage.
    pub(crate) aged: u16,
    /// It waits to be shown.
    pub(crate) waiting: bool,
    /// What it showed last.
    pub(crate) shown: Shown,
    /// [`DEAD`] tuples and [`ITEM`]s.
    pub(crate) garbage: Sets,
    pub(crate) normal: Normal,
    pub(crate) pending: Pending,
}

/// What a change found out besides.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Effect {
    /// The transaction has something undecided here for the first time, and
    /// must remember this range.
    pub new_touch: bool,
    /// The state before contradicts the record.
    pub contradiction: bool,
}

impl Range {
    /// A range of which the blocks in `known` are known to be empty.
    pub(crate) fn new(known: BlockMask, normal: Normal) -> Self {
        Range {
            known,
            normal,
            ..Range::default()
        }
    }

    /// What the range costs beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.garbage.heap_bytes() + self.normal.heap_bytes() + self.pending.heap_bytes()
    }

    /// A copy that was not shown or counted yet.
    pub(crate) fn try_clone(&self, mem: &mut Mem) -> Result<Range, NoMemory> {
        // What fails halfway is accounted for nowhere.
        let mut own = Mem::default();
        let copy = Range {
            known: self.known,
            garbage: self.garbage.try_clone(&mut own)?,
            pending: self.pending.try_clone(&mut own)?,
            normal: self.normal.try_clone()?,
            ..Range::default()
        };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }

    /// Whether there is nothing to keep of it but that its blocks, which are `all`,
    /// are known.
    pub(crate) fn is_clean(&self, all: BlockMask) -> bool {
        self.known == all
            && (self.garbage.len(DEAD), self.garbage.len(ITEM)) == (0, 0)
            && self.pending.is_empty()
            && !self.normal.is_tracked()
            && self.aged == 0
    }

    #[inline]
    pub(crate) fn is_known(&self, b: u8) -> bool {
        self.known.get(b)
    }

    pub(crate) fn shows(&self) -> (RangeCounts, Shown) {
        let dead = self.garbage.len(DEAD);
        let counts = RangeCounts {
            dead,
            items: self.garbage.len(ITEM),
            tuples: self.normal.total().and_then(|n| n.checked_sub(dead)),
            first_unknown: self.known.first_clear(),
        };
        let shown = Shown::new(counts, self.known.count(), self.garbage.blocks());
        (counts, shown)
    }

    /// How many more dead tuples there are than were counted, which they are
    /// from now on.
    #[inline]
    pub(crate) fn age(&mut self) -> i32 {
        let dead = self.garbage.len(DEAD);
        let before = std::mem::replace(&mut self.aged, dead);
        i32::from(dead) - i32::from(before)
    }

    /// The range was changed: how many more dead tuples there are, and whether
    /// it is to be put with those that wait to be shown.
    #[inline]
    pub(crate) fn changed(&mut self) -> (i32, bool) {
        (self.age(), !std::mem::replace(&mut self.waiting, true))
    }

    /// Count the tuples again, if that was given up. Those that are there now, in
    /// blocks that are known or `held` back, are for the caller to count. Without
    /// memory it stays as it is.
    pub(crate) fn count_again(&mut self, blocks: u8, held: BlockMask, mem: &mut Mem) {
        if self.normal.is_tracked() {
            return;
        }
        if let Ok(normal) = Normal::uncounted(blocks, mem) {
            self.normal = normal;
            let empty = (0..blocks).filter(|&b| !self.known.get(b) && !held.get(b));
            empty.for_each(|b| self.normal.set(b, Some(0)));
        }
    }

    /// These blocks, of which nothing is held, are known to be empty.
    pub(crate) fn know_empty(&mut self, blocks: BlockMask) {
        for b in (0..crate::MAX_RANGE_BLOCKS as u8).filter(|&b| blocks.get(b)) {
            self.known.set(b, true);
            self.normal.set(b, Some(0));
        }
    }

    /// The page was (re-)initialised: known, and empty.
    pub(crate) fn init_block(&mut self, b: u8, mem: &mut Mem) {
        self.clear_block(b, mem);
        self.known.set(b, true);
        self.normal.set(b, Some(0));
    }

    /// Nothing is known of the block any more.
    pub(crate) fn forget_block(&mut self, b: u8, mem: &mut Mem) {
        self.clear_block(b, mem);
        self.known.set(b, false);
        self.normal.set(b, Some(0));
    }

    /// The block was found all-visible: it holds no garbage, how much else is
    /// not said.
    pub(crate) fn set_visible(&mut self, b: u8, mem: &mut Mem) -> Effect {
        let contradiction = self.garbage.block(b) != Both::default();
        let count = self
            .normal
            .get(b)
            .filter(|_| self.known.get(b) && !contradiction);
        self.clear_block(b, mem);
        self.known.set(b, true);
        self.normal.set(b, count);
        Effect {
            contradiction,
            new_touch: false,
        }
    }

    /// A tuple was put at a free offset, by a running transaction unless it
    /// was inserted frozen.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: Option<TransactionId>,
        mem: &mut Mem,
    ) -> Result<Effect, NoMemory> {
        let pos = position(b, off);
        let contradiction = self.free(b, pos, mem);
        let new_touch = match xid {
            Some(xid) => self.pending.add(xid, Some(pos), None, mem)?,
            None => false,
        };
        Ok(Effect {
            new_touch,
            contradiction,
        })
    }

    /// A transaction deletes a tuple. True if this is the first of it here.
    #[inline]
    pub(crate) fn delete(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: TransactionId,
        how: Event,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        self.pending
            .add(xid, None, Some((position(b, off), how)), mem)
    }

    /// A tuple was updated on its page: deleted at one offset and inserted at
    /// another.
    #[inline]
    pub(crate) fn update(
        &mut self,
        b: u8,
        (old_off, new_off): (OffsetNumber, OffsetNumber),
        xid: TransactionId,
        mem: &mut Mem,
    ) -> Result<Effect, NoMemory> {
        let (old, new) = (position(b, old_off), position(b, new_off));
        let contradiction = self.free(b, new, mem);
        let del = Some((old, Event::Update)).filter(|_| old != new);
        let new_touch = self.pending.add(xid, Some(new), del, mem)?;
        Ok(Effect {
            new_touch,
            contradiction,
        })
    }

    /// An event that a page shows. True if it is the first of its transaction
    /// here.
    pub(crate) fn add_event(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: TransactionId,
        event: Event,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        match event {
            Event::Insert => self.pending.add(xid, Some(position(b, off)), None, mem),
            Event::Delete | Event::Update => self.delete(b, off, xid, event, mem),
        }
    }

    /// A tuple comes to this position, which cannot have held one. Whether it
    /// did, for all we know.
    #[inline]
    fn free(&mut self, b: u8, pos: u16, mem: &mut Mem) -> bool {
        if !self.pending.is_empty() {
            self.pending.forget(pos, mem);
        }
        let (was_dead, was_item) = self.garbage.remove(pos, mem);
        if was_dead {
            self.normal.set(b, None);
        } else {
            self.normal.increment(b);
        }
        was_dead || was_item
    }

    /// The same for many of a block.
    pub(crate) fn free_all(&mut self, b: u8, offsets: Offsets, mem: &mut Mem) -> bool {
        if offsets.is_empty() {
            return false;
        }
        if !self.pending.is_empty() {
            self.pending.remove_offsets(b, offsets, mem);
        }
        let both = Both {
            one: offsets,
            other: offsets,
        };
        let was = self.garbage.take(b, both, mem);
        match was.one.is_empty() {
            true => self.normal.add(b, offsets.count()),
            false => self.normal.set(b, None),
        }
        was != Both::default()
    }

    /// A running transaction inserted and then deleted these of a block, of
    /// which so many were updates.
    pub(crate) fn changed_by(
        &mut self,
        b: u8,
        (inserted, deleted): (Offsets, Offsets),
        (xid, updated): (TransactionId, u16),
        mem: &mut Mem,
    ) -> Result<Effect, NoMemory> {
        let contradiction = self.free_all(b, inserted, mem);
        let new_touch = self
            .pending
            .add_all(b, (inserted, deleted), (xid, updated), mem)?;
        Ok(Effect {
            new_touch,
            contradiction,
        })
    }

    /// The tuple is dead whatever its transactions do (a super-deleted
    /// speculative insertion).
    pub(crate) fn kill(&mut self, b: u8, off: OffsetNumber, mem: &mut Mem) -> Result<(), NoMemory> {
        let pos = position(b, off);
        self.pending.forget(pos, mem);
        self.garbage.insert(DEAD, pos, mem)
    }

    /// Whether a running transaction deletes the tuple.
    #[inline]
    pub(crate) fn has_deleter(&self, b: u8, off: OffsetNumber) -> bool {
        !self.pending.is_empty() && self.pending.deletes(position(b, off))
    }

    /// The tuple was locked in a way that shows that nobody deletes it: an
    /// updater it had must have aborted.
    pub(crate) fn clear_deleters(&mut self, b: u8, off: OffsetNumber, mem: &mut Mem) {
        if !self.pending.is_empty() {
            self.pending.forget_deletion(position(b, off), mem);
        }
    }

    /// The block was pruned.
    ///
    /// Only dead tuples are pruned, so an item was `LP_NORMAL` exactly if it
    /// counts as dead, or as undecided where a transaction ended without a
    /// record of it.
    #[inline]
    pub(crate) fn prune(&mut self, b: u8, pruned: &Pruned, mem: &mut Mem) -> Result<(), NoMemory> {
        let gone = Both {
            one: pruned.gone,
            other: pruned.nowunused,
        };
        let tuples = match self.pending.is_empty() {
            true => self.garbage.take_away(b, gone, mem),
            false => {
                let dead = self.garbage.take(b, gone, mem).one;
                dead.or(self.pending.remove_offsets(b, gone.one, mem))
                    .count()
            }
        };
        if tuples != 0 {
            self.normal.subtract(b, tuples);
        }
        match pruned.nowdead.is_empty() {
            true => Ok(()),
            false => self.garbage.insert_offsets(ITEM, b, pruned.nowdead, mem),
        }
    }

    /// Take over what a page shows. Its pending events are the caller's to
    /// add, who must also note them with their transactions.
    pub(crate) fn set_block(
        &mut self,
        b: u8,
        state: &BlockState,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        self.pending.clear_block(b, mem);
        self.normal.set(b, Some(state.normal));
        let both = Both {
            one: state.dead,
            other: state.items,
        };
        self.garbage.set_block(b, both, mem)
    }

    /// Add a group that was loaded, as far as its blocks are known. False if it
    /// does not come behind all there is.
    pub(crate) fn add_group(
        &mut self,
        mut group: Group,
        blocks: u8,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let mut own = Mem::of(group.sets.heap_bytes());
        for b in (0..blocks).filter(|&b| !self.known.get(b)) {
            group.sets.clear_block(b, &mut own);
        }
        self.pending.add_group(group, mem)
    }

    /// Make what was loaded obey the invariants: nothing is held of blocks
    /// that are not known.
    pub(crate) fn forget_unknown(&mut self, blocks: u8, mem: &mut Mem) {
        let known = self.known;
        if known.count() == blocks {
            return;
        }
        for b in (0..blocks).filter(|&b| !known.get(b)) {
            self.forget_block(b, mem);
        }
    }

    fn clear_block(&mut self, b: u8, mem: &mut Mem) {
        self.garbage.clear_block(b, mem);
        self.pending.clear_block(b, mem);
    }
}

#[cfg(test)]
mod tests;
