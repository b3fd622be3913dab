//! What the end of a transaction means for a range.

use walker_wal::{OffsetNumber, TransactionId};

use super::{DEAD, DELETED, Group, INSERTED, Range};
use crate::MAX_RANGE_BLOCKS;
use crate::block::{Offsets, block_of, position};
use crate::mem::{Mem, NoMemory};
use crate::xact::Outcome;

impl Range {
    /// A transaction has ended, and inserted and deleted these in the block (0
    /// is none), which were not undecided. Whether that contradicts the state
    /// before. After an error the range is not to be used.
    #[inline]
    pub(crate) fn ended(
        &mut self,
        b: u8,
        (inserted, deleted): (OffsetNumber, OffsetNumber),
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let now_dead = outcome.dead(inserted, deleted);
        // Nearly always the place of what was inserted was free, and nobody has
        // anything undecided here.
        if inserted != 0 && inserted != deleted && self.pending.is_empty() {
            let (absent, dead) = (inserted - 1, now_dead.checked_sub(1));
            if self.garbage.exchange(b, absent, dead) {
                self.normal.increment(b);
                return Ok(false);
            }
        }
        let contradiction = match inserted {
            0 => false,
            off => self.free(b, position(b, off), mem),
        };
        // An update of a tuple to itself deletes nothing.
        if now_dead != 0 && (inserted != deleted || outcome != Outcome::Committed) {
            self.garbage.insert(DEAD, position(b, now_dead), mem)?;
        }
        Ok(contradiction)
    }

    /// The same for many of its changes in the block. Whatever their order was:
    /// what it inserted it may have deleted then, and not the other way round.
    pub(crate) fn all_ended(
        &mut self,
        b: u8,
        inserted: Offsets,
        deleted: Offsets,
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let contradiction = self.free_all(b, inserted, mem);
        let now_dead = outcome.dead(inserted, deleted);
        self.garbage.insert_offsets(DEAD, b, now_dead, mem)?;
        Ok(contradiction)
    }

    /// A transaction has ended; how many of its deletions were updates. After
    /// an error the range is not to be used.
    #[inline]
    pub(crate) fn resolve(
        &mut self,
        xid: TransactionId,
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<u16, NoMemory> {
        if outcome == Outcome::Unknown {
            return self.give_up(xid, mem);
        }
        let (pending, garbage) = (&mut self.pending, &mut self.garbage);
        let (mut updated, mut result) = (0u16, Ok(()));
        let group = pending.take(
            xid,
            |change, mem| {
                if let Some(pos) = outcome.dead(change.inserted(), change.deleted())
                    && let Err(e) = garbage.insert(DEAD, pos, mem)
                {
                    result = Err(e);
                }
                updated += u16::from(change.updated);
            },
            mem,
        );
        result?;
        if let Some(group) = group {
            updated = updated.saturating_add(group.updated);
            self.resolve_group(group, outcome, mem)?;
        }
        Ok(updated)
    }

    #[inline(never)]
    fn resolve_group(
        &mut self,
        group: Group,
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        mem.shrank(group.sets.heap_bytes());
        let now_dead = outcome.dead(INSERTED, DELETED);
        // Block by block only if there are many to a block.
        if group.sets.len(now_dead) < u16::from(u8::MAX) {
            let mut all = group.sets.iter(now_dead);
            return all.try_for_each(|pos| self.garbage.insert(DEAD, pos, mem));
        }
        group
            .sets
            .by_block(now_dead)
            .try_for_each(|(b, offsets)| self.garbage.insert_offsets(DEAD, b, offsets, mem))
    }

    /// Nobody knows what became of the transaction, so its blocks are unknown.
    #[cold]
    fn give_up(&mut self, xid: TransactionId, mem: &mut Mem) -> Result<u16, NoMemory> {
        let mut blocks = [false; MAX_RANGE_BLOCKS as usize];
        let mut concerns = |b: u8| {
            if let Some(block) = blocks.get_mut(usize::from(b)) {
                *block = true;
            }
        };
        let group = self.pending.take(
            xid,
            |change, _| change.positions().map(block_of).for_each(&mut concerns),
            mem,
        );
        if let Some(group) = group {
            let both = [DELETED, INSERTED].into_iter();
            let both = both.flat_map(|which| group.sets.by_block(which));
            both.for_each(|(b, _)| concerns(b));
            mem.shrank(group.sets.heap_bytes());
        }
        for (b, _) in (0..).zip(blocks).filter(|(_, concerned)| *concerned) {
            self.forget_block(b, mem);
        }
        Ok(0)
    }
}
