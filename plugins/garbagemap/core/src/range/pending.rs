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
    #[inline(always)]
    pub(super) fn add(&mut self, pos: u16, event: Event, mem: &mut Mem) -> Result<(), NoMemory> {
        let set = match event {
            Event::Insert => &mut self.ins,
            Event::Delete | Event::Update => &mut self.del,
        };
        with(set, mem, |set| set.insert(pos))?;
        if event == Event::Update {
            self.updated = self.updated.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.ins.heap_bytes() + self.del.heap_bytes()
    }
}

impl Range {
    /// A transaction has yet to decide about the tuple. True if its group is
    /// new.
    #[inline]
    pub(crate) fn add_event(
        &mut self,
        b: u8,
        off: OffsetNumber,
        xid: TransactionId,
        event: Event,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let (at, new) = self.group_of(xid, mem)?;
        self.pending[at].add(position(b, off), event, mem)?;
        Ok(new)
    }

    /// The transaction's group, and whether it is new.
    #[inline]
    pub(super) fn group_of(
        &mut self,
        xid: TransactionId,
        mem: &mut Mem,
    ) -> Result<(usize, bool), NoMemory> {
        let at = match self.find_group(xid) {
            Ok(at) => return Ok((at, false)),
            Err(at) => at,
        };
        if self.pending.len() == self.pending.capacity() {
            let before = pending_bytes(&self.pending);
            self.pending.try_reserve_exact(self.pending.len().max(1))?;
            mem.changed(before, pending_bytes(&self.pending));
        }
        let group = Group {
            xid,
            ins: PosSet::new(),
            del: PosSet::new(),
            updated: 0,
        };
        match at == self.pending.len() {
            true => self.pending.push(group), // there is room
            false => self.pending.insert(at, group),
        }
        Ok((at, true))
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
        let Some(group) = self.pending.get(at) else {
            return Ok(0);
        };
        let updated = group.updated;
        let few = match outcome {
            Outcome::Committed => group.del.few(),
            Outcome::Aborted => group.ins.few(),
            Outcome::Unknown => None,
        };
        // A handful of positions, as nearly always, are copied from where the
        // group is; many are taken over with the group.
        let Some(few) = few else {
            mem.shrank(group.heap_bytes());
            let group = self.pending.remove(at);
            self.give_back(mem);
            self.resolve_many(group, outcome, mem)?;
            return Ok(if outcome == Outcome::Unknown {
                0
            } else {
                updated
            });
        };
        mem.shrank(group.heap_bytes());
        match at + 1 == self.pending.len() {
            true => self.pending.truncate(at),
            false => drop(self.pending.remove(at)),
        }
        self.give_back(mem);
        for &pos in few.as_slice() {
            self.insert_dead(pos, mem)?;
        }
        Ok(updated)
    }

    fn resolve_many(
        &mut self,
        Group { ins, del, .. }: Group,
        outcome: Outcome,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let now_dead = match outcome {
            Outcome::Committed => del,
            Outcome::Aborted => ins,
            Outcome::Unknown => {
                for pos in ins.iter().chain(del.iter()) {
                    self.forget_block((pos / MAX_OFFSET) as u8, mem);
                }
                return Ok(());
            }
        };
        with(&mut self.dead, mem, |dead| dead.absorb(now_dead))?;
        self.recount_garbage_blocks();
        Ok(())
    }

    /// No group is left: many took much room.
    #[inline]
    fn give_back(&mut self, mem: &mut Mem) {
        if self.pending.is_empty() && self.pending.capacity() > 2 {
            mem.shrank(pending_bytes(&self.pending));
            self.pending = Vec::new();
        }
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

    #[inline]
    pub(crate) fn find_group(&self, xid: TransactionId) -> Result<usize, usize> {
        match self.pending.last() {
            None => Err(0),
            Some(last) if last.xid < xid => Err(self.pending.len()),
            Some(last) if last.xid == xid => Ok(self.pending.len() - 1),
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

    #[inline]
    pub(super) fn remove_pending(&mut self, pos: u16, mem: &mut Mem) {
        for group in &mut self.pending {
            take(&mut group.ins, pos, mem);
            take(&mut group.del, pos, mem);
        }
    }
}

pub(super) fn pending_bytes(pending: &Vec<Group>) -> usize {
    match pending.capacity() {
        0 => 0,
        n => n * size_of::<Group>() + MALLOC_OVERHEAD,
    }
}
