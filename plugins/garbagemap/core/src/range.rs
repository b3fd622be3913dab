//! The state of one block range.
//!
//! Invariants: a block that is neither known nor held by a base scan has no
//! position in any set and a count of 0; `pending` is sorted by xid, one group
//! per xid; `garbage_blocks` is the number of blocks with a position in
//! `dead`. A position in `dead` or in a pending set is an `LP_NORMAL` item, a
//! position in `items` an `LP_DEAD` one.

mod pending;

use walker_wal::{OffsetNumber, TransactionId};

use crate::RangeCounts;
use crate::block::{BlockMask, BlockState, Event, MAX_OFFSET, Offsets};
use crate::mem::{Mem, NoMemory};
use crate::normal::Normal;
use crate::posset::PosSet;
use crate::shown::Shown;
pub(crate) use pending::Group;
use pending::pending_bytes;

#[derive(Default)]
pub(crate) struct Range {
    pub(crate) known: BlockMask,
    pub(crate) dead: PosSet,
    pub(crate) items: PosSet,
    pub(crate) pending: Vec<Group>,
    pub(crate) normal: Normal,
    garbage_blocks: u8,
    /// What it showed last.
    pub(crate) shown: Shown,
    /// The save it was written in, as it is now.
    pub(crate) saved: u32,
}

/// What a change found out besides.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Effect {
    /// The transaction has a new group here and must remember this range.
    pub new_group: bool,
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
        self.dead.heap_bytes()
            + self.items.heap_bytes()
            + self.normal.heap_bytes()
            + self.pending.iter().map(Group::heap_bytes).sum::<usize>()
            + pending_bytes(&self.pending)
    }

    /// A copy that was not shown yet.
    pub(crate) fn try_clone(&self, mem: &mut Mem) -> Result<Range, NoMemory> {
        let mut pending = Vec::new();
        pending.try_reserve_exact(self.pending.len())?;
        for group in &self.pending {
            let (ins, del) = (group.ins.try_clone()?, group.del.try_clone()?);
            pending.push(Group { ins, del, ..*group });
        }
        let copy = Range {
            known: self.known,
            dead: self.dead.try_clone()?,
            items: self.items.try_clone()?,
            pending,
            normal: self.normal.try_clone()?,
            garbage_blocks: self.garbage_blocks,
            shown: Shown::default(),
            saved: 0,
        };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }

    #[inline]
    pub(crate) fn is_known(&self, b: u8) -> bool {
        self.known.get(b)
    }

    #[inline]
    pub(crate) fn shows(&self) -> (RangeCounts, Shown) {
        let dead = self.dead.len();
        let counts = RangeCounts {
            dead,
            items: self.items.len(),
            tuples: self.normal.total().and_then(|n| n.checked_sub(dead)),
            first_unknown: self.known.first_clear(),
        };
        let shown = Shown::new(counts, self.known.count(), self.garbage_blocks);
        (counts, shown)
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
        let (lo, hi) = span(b);
        let contradiction = self.dead.any_in(lo, hi) || self.items.any_in(lo, hi);
        let count = self
            .normal
            .get(b)
            .filter(|_| self.known.get(b) && !contradiction);
        self.clear_block(b, mem);
        self.known.set(b, true);
        self.normal.set(b, count);
        Effect {
            contradiction,
            new_group: false,
        }
    }

    /// A tuple was put at a free offset, by a running transaction unless it
    /// was inserted frozen.
    pub(crate) fn insert(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: Option<TransactionId>,
        mem: &mut Mem,
    ) -> Result<Effect, NoMemory> {
        let pos = position(b, off);
        self.remove_pending(pos, mem);
        let contradiction = self.free(b, pos, mem);
        Ok(Effect {
            new_group: match xid {
                Some(xid) => self.add_event(b, off, xid, Event::Insert, mem)?,
                None => false,
            },
            contradiction,
        })
    }

    /// A tuple was updated on its page: deleted at one offset and inserted at
    /// another, by one transaction, whose group is looked up once.
    #[inline]
    pub(crate) fn update(
        &mut self,
        b: u8,
        (old_off, new_off): (OffsetNumber, OffsetNumber),
        xid: TransactionId,
        mem: &mut Mem,
    ) -> Result<Effect, NoMemory> {
        let (at, new_group) = self.group_of(xid, mem)?;
        let (old, new) = (position(b, old_off), position(b, new_off));
        self.pending[at].add(old, Event::Update, mem)?;
        // A group that is new, and the only one, has nothing but `old`.
        let nothing_else = new_group && self.pending.len() == 1 && new != old;
        if !nothing_else {
            self.remove_pending(new, mem);
        }
        let contradiction = self.free(b, new, mem);
        self.pending[at].add(new, Event::Insert, mem)?;
        Ok(Effect {
            new_group,
            contradiction,
        })
    }

    /// A tuple comes to this position, which cannot have held one. Whether it
    /// did, for all we know. Undecided events are the caller's to remove.
    #[inline]
    fn free(&mut self, b: u8, pos: u16, mem: &mut Mem) -> bool {
        let was_dead = self.remove_dead(pos, mem);
        let was_item = take(&mut self.items, pos, mem);
        if was_dead {
            self.normal.set(b, None);
        } else {
            self.normal.increment(b);
        }
        was_dead || was_item
    }

    /// The tuple is dead whatever its transactions do (a super-deleted
    /// speculative insertion).
    pub(crate) fn kill(&mut self, b: u8, off: OffsetNumber, mem: &mut Mem) -> Result<(), NoMemory> {
        let pos = position(b, off);
        self.remove_pending(pos, mem);
        self.insert_dead(pos, mem)
    }

    /// Items became redirects, `LP_DEAD`, `LP_UNUSED`.
    ///
    /// Only dead tuples are pruned, so an item was `LP_NORMAL` exactly if it
    /// counts as dead, or as undecided where a transaction ended without a
    /// record of it.
    pub(crate) fn prune(
        &mut self,
        b: u8,
        redirected: Offsets,
        nowdead: Offsets,
        nowunused: Offsets,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let (lo, hi) = span(b);
        let gone = redirected.or(nowdead).or(nowunused);
        let mut tuples = with(&mut self.dead, mem, |set| set.remove_offsets(lo, gone));
        if !tuples.is_empty() && !self.dead.any_in(lo, hi) {
            self.garbage_blocks -= 1;
        }
        for group in &mut self.pending {
            for set in [&mut group.ins, &mut group.del] {
                tuples = tuples.or(with(set, mem, |set| set.remove_offsets(lo, gone)));
            }
        }
        self.normal.subtract(b, tuples.count());
        with(&mut self.items, mem, |set| {
            set.remove_offsets(lo, nowunused);
            nowdead
                .iter()
                .try_for_each(|off| set.insert(lo + off - 1).map(drop))
        })
    }

    /// Take over what a page shows. Its pending events are the caller's to
    /// add, who must also note them with their transactions.
    pub(crate) fn set_block(
        &mut self,
        b: u8,
        state: &BlockState,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        self.clear_block(b, mem);
        self.normal.set(b, Some(state.normal));
        for off in state.items.iter() {
            with(&mut self.items, mem, |set| set.insert(position(b, off)))?;
        }
        state
            .dead
            .iter()
            .try_for_each(|off| self.insert_dead(position(b, off), mem))
    }

    /// The offsets of a block in a set.
    pub(crate) fn offsets(set: &PosSet, b: u8) -> Offsets {
        let (lo, hi) = span(b);
        let mut offsets = Offsets::default();
        set.iter_range(lo, hi)
            .for_each(|pos| offsets.insert(pos - lo + 1));
        offsets
    }

    fn recount_garbage_blocks(&mut self) {
        let (mut blocks, mut behind) = (0, 0);
        for pos in self.dead.iter() {
            if pos >= behind {
                blocks += 1;
                behind = (pos / MAX_OFFSET + 1) * MAX_OFFSET;
            }
        }
        self.garbage_blocks = blocks;
    }

    /// Make what was loaded obey the invariants: nothing is held of blocks
    /// that are not known.
    pub(crate) fn forget_unknown(&mut self, blocks: u8, mem: &mut Mem) {
        self.recount_garbage_blocks();
        let known = self.known;
        for b in (0..blocks).filter(|&b| !known.get(b)) {
            self.forget_block(b, mem);
        }
    }

    fn clear_block(&mut self, b: u8, mem: &mut Mem) {
        let (lo, hi) = span(b);
        if with(&mut self.dead, mem, |set| set.clear_range(lo, hi)) > 0 {
            self.garbage_blocks -= 1;
        }
        with(&mut self.items, mem, |set| set.clear_range(lo, hi));
        for group in &mut self.pending {
            with(&mut group.ins, mem, |set| set.clear_range(lo, hi));
            with(&mut group.del, mem, |set| set.clear_range(lo, hi));
        }
    }

    #[inline]
    fn insert_dead(&mut self, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        let (lo, hi) = span((pos / MAX_OFFSET) as u8);
        let (new, alone) = with(&mut self.dead, mem, |set| set.insert_in(pos, lo, hi))?;
        self.garbage_blocks += u8::from(new && alone);
        Ok(())
    }

    #[inline]
    fn remove_dead(&mut self, pos: u16, mem: &mut Mem) -> bool {
        let removed = take(&mut self.dead, pos, mem);
        if removed {
            let (lo, hi) = span((pos / MAX_OFFSET) as u8);
            self.garbage_blocks -= u8::from(!self.dead.any_in(lo, hi));
        }
        removed
    }
}

/// The position of an offset. The offset is within 1..=[`MAX_OFFSET`].
#[inline]
pub(crate) fn position(b: u8, off: OffsetNumber) -> u16 {
    u16::from(b) * MAX_OFFSET + off - 1
}

/// The positions of a block.
fn span(b: u8) -> (u16, u16) {
    (position(b, 1), position(b, 1) + MAX_OFFSET)
}

/// Change a set and account for the memory.
#[inline]
fn with<R>(set: &mut PosSet, mem: &mut Mem, change: impl FnOnce(&mut PosSet) -> R) -> R {
    let before = set.heap_bytes();
    let result = change(set);
    mem.changed(before, set.heap_bytes());
    result
}

/// Take a position out of a set it is seldom in.
#[inline]
fn take(set: &mut PosSet, pos: u16, mem: &mut Mem) -> bool {
    set.contains(pos) && with(set, mem, |set| set.remove(pos))
}

#[cfg(test)]
mod tests;
