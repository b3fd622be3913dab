//! What transactions have yet to decide in a range.

use walker_wal::{OffsetNumber, TransactionId};

use super::{Range, position, span, take, with};
use crate::block::{Event, MAX_OFFSET, Offsets};
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory};
use crate::posset::PosSet;
use crate::xact::Outcome;

/// What a running transaction did in a range.
pub(crate) struct Group {
    pub xid: TransactionId,
    pub ins: PosSet,
    pub del: PosSet,
    /// How many of the deletions were updates, about: what is taken out of
    /// `del` does not tell.
    pub updated: u16,
}

impl Group {
    pub(crate) fn set(&mut self, event: Event) -> &mut PosSet {
        match event {
            Event::Insert => &mut self.ins,
            Event::Delete | Event::Update => &mut self.del,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.ins.heap_bytes() + self.del.heap_bytes()
    }
}

impl Range {
    /// A transaction has yet to decide about the tuple. True if its group is
    /// new.
    pub(crate) fn add_event(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: TransactionId,
        event: Event,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let pos = position(b, off);
        let (at, new) = match self.find_group(xid) {
            Ok(at) => (at, false),
            Err(at) => {
                let before = pending_bytes(&self.pending);
                if self.pending.len() == self.pending.capacity() {
                    self.pending.try_reserve_exact(self.pending.len().max(1))?;
                }
                self.pending.insert(
                    at,
                    Group {
                        xid,
                        ins: PosSet::new(),
                        del: PosSet::new(),
                        updated: 0,
                    },
                );
                mem.changed(before, pending_bytes(&self.pending));
                (at, true)
            }
        };
        let group = &mut self.pending[at];
        with(group.set(event), mem, |set| set.insert(pos))?;
        if event == Event::Update {
            group.updated = group.updated.saturating_add(1);
        }
        Ok(new)
    }

    /// The tuple was locked in a way that shows that nobody deletes it: an
    /// updater it had must have aborted.
    pub(crate) fn clear_deleters(&mut self, b: u8, off: OffsetNumber, mem: &mut Mem) {
        let pos = position(b, off);
        for group in &mut self.pending {
            take(&mut group.del, pos, mem);
        }
    }

    /// A transaction has ended; how many of its deletions were updates. After
    /// an error the range is not to be used.
    pub(crate) fn resolve(
        &mut self,
        xid: TransactionId,
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<u16, NoMemory> {
        let Ok(at) = self.find_group(xid) else {
            return Ok(0);
        };
        let before = pending_bytes(&self.pending);
        let Group {
            ins, del, updated, ..
        } = self.pending.remove(at);
        if self.pending.is_empty() && self.pending.capacity() > 2 {
            self.pending = Vec::new();
        }
        mem.changed(before, pending_bytes(&self.pending));
        mem.shrank(ins.heap_bytes() + del.heap_bytes());
        let now_dead = match outcome {
            Outcome::Committed => del,
            Outcome::Aborted => ins,
            Outcome::Unknown => {
                for pos in ins.iter().chain(del.iter()) {
                    self.forget_block((pos / MAX_OFFSET) as u8, mem);
                }
                return Ok(0);
            }
        };
        if now_dead.len() <= 8 {
            now_dead
                .iter()
                .try_for_each(|pos| self.insert_dead(pos, mem))?;
        } else {
            with(&mut self.dead, mem, |dead| dead.absorb(now_dead))?;
            self.recount_garbage_blocks();
        }
        Ok(updated)
    }

    /// The offsets of a block some transaction has yet to decide about.
    pub(crate) fn pending_offsets(&self, b: u8) -> Offsets {
        self.pending
            .iter()
            .fold(Offsets::default(), |offsets, group| {
                offsets
                    .or(Self::offsets(&group.ins, b))
                    .or(Self::offsets(&group.del, b))
            })
    }

    pub(crate) fn find_group(&self, xid: TransactionId) -> Result<usize, usize> {
        match self.pending.last() {
            None => Err(0),
            Some(last) if last.xid < xid => Err(self.pending.len()),
            _ => self.pending.binary_search_by_key(&xid, |g| g.xid),
        }
    }

    /// Add a group that was loaded. False if there is one of its transaction.
    pub(crate) fn add_group(
        &mut self,
        mut group: Group,
        blocks: u8,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let Err(at) = self.find_group(group.xid) else {
            return Ok(false);
        };
        for b in (0..blocks).filter(|&b| !self.known.get(b)) {
            let (lo, hi) = span(b);
            group.ins.clear_range(lo, hi);
            group.del.clear_range(lo, hi);
        }
        let before = pending_bytes(&self.pending);
        self.pending.try_reserve_exact(1)?;
        mem.grew(group.heap_bytes());
        self.pending.insert(at, group);
        mem.changed(before, pending_bytes(&self.pending));
        Ok(true)
    }

    pub(super) fn remove_pending(&mut self, pos: u16, mem: &mut Mem) -> bool {
        let mut removed = false;
        for group in &mut self.pending {
            removed |= take(&mut group.ins, pos, mem);
            removed |= take(&mut group.del, pos, mem);
        }
        removed
    }
}

pub(super) fn pending_bytes(pending: &Vec<Group>) -> usize {
    match pending.capacity() {
        0 => 0,
        n => n * size_of::<Group>() + MALLOC_OVERHEAD,
    }
}
