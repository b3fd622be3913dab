//! Much that transactions have yet to decide in a range.
//!
//! A group for each of those that have much, in the order of their numbers, and
//! what the others have side by side ([`Small`]). Where there are many, an index
//! knows the positions they have ([`Index`]). Invariants: no transaction has more
//! than one group, and who has one has nothing in `small`; with something in
//! `small` the index is kept.

use std::collections::VecDeque;

use walker_wal::TransactionId;

use super::change::Change;
use super::group::{DELETED, Group, INSERTED};
use super::index::Index;
use super::small::Small;
use crate::block::{Offsets, block_of, item_of, position};
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory, list_bytes};
use crate::sets::Both;

/// More groups have an index, and keep it: to make it again whenever there are
/// many beside a large one would cost more than to have it.
const MANY_GROUPS: usize = 8;
/// A transaction with more changes in a range has a group of its own.
pub(super) const SMALL: usize = 8;
/// So little needs no groups; less than what makes them, so that they do not come
/// and go.
pub(super) const FEW_AGAIN: usize = 2;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Groups {
    /// Those that came first mostly go first.
    list: VecDeque<Group>,
    /// What those have undecided who have no group.
    small: Small,
    index: Index,
}

impl Groups {
    /// Whether a short list will do again.
    #[inline]
    pub(super) fn are_over(&self) -> bool {
        self.list.is_empty() && self.small.len() <= FEW_AGAIN
    }

    /// Whether there are many who have no group.
    #[inline]
    pub(super) fn are_crowded(&self) -> bool {
        !self.small.is_empty()
    }

    /// How many transactions there are at most.
    pub(super) fn len(&self) -> usize {
        self.list.len() + self.small.len()
    }

    /// What those have who have no group.
    pub(super) fn small(&self) -> &Small {
        &self.small
    }

    /// How many positions of a block those have.
    pub(super) fn count_small(&self, b: u8) -> usize {
        if !self.index.may_have_in(b) {
            return 0;
        }
        let all = self.small.iter().flat_map(Change::positions);
        all.filter(|&pos| block_of(pos) == b).count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.list.iter()
    }

    /// The transaction with the highest number.
    pub(super) fn last(&self) -> Option<TransactionId> {
        let last = self.list.back().map(|group| group.xid);
        last.max(self.small.last())
    }

    /// Bytes on the heap, and of this itself, which is there, too.
    pub(super) fn heap_bytes(&self) -> usize {
        let sets = self.list.iter().map(|group| group.sets.heap_bytes());
        self.own_bytes() + self.index.heap_bytes() + sets.sum::<usize>()
    }

    /// The same without what the sets have.
    pub(super) fn own_bytes(&self) -> usize {
        let list = list_bytes::<Group>(self.list.capacity());
        size_of::<Self>() + MALLOC_OVERHEAD + list + self.small.heap_bytes()
    }

    #[inline]
    fn find(&self, xid: TransactionId) -> Result<usize, usize> {
        match self.list.back() {
            None => Err(0),
            Some(last) if last.xid < xid => Err(self.list.len()),
            Some(last) if last.xid == xid => Ok(self.list.len() - 1),
            _ => self.list.binary_search_by_key(&xid, |g| g.xid),
        }
    }

    #[inline]
    pub(super) fn get(&self, xid: TransactionId) -> Option<&Group> {
        self.list.get(self.find(xid).ok()?)
    }

    /// Add to the transaction's group, if it has one; whether it has.
    #[inline]
    pub(super) fn add_to(&mut self, change: Change, mem: &mut Mem) -> Result<bool, NoMemory> {
        match self.find(change.xid) {
            Ok(at) => self.add_at(at, change, mem).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// The same, or add it beside the others. True if the transaction had nothing
    /// here.
    pub(super) fn add(&mut self, change: Change, mem: &mut Mem) -> Result<bool, NoMemory> {
        match self.add_to(change, mem)? {
            true => Ok(false),
            false => self.add_small(change, mem),
        }
    }

    /// Add one of so many changes of its transaction that are to be added.
    pub(super) fn add_one_of(
        &mut self,
        change: Change,
        of: usize,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        if of <= SMALL {
            return self.add_small(change, mem).map(|_| ());
        }
        let at = self.make(change.xid, mem)?;
        self.add_at(at, change, mem)
    }

    /// Add a change of one that has no group, but may get one by that. True if it
    /// had nothing here.
    fn add_small(&mut self, change: Change, mem: &mut Mem) -> Result<bool, NoMemory> {
        if !self.index.is_kept() {
            self.make_index(mem)?;
        }
        self.index.note(change.positions(), mem)?;
        let before = self.small.push(change, mem)?;
        if before == SMALL {
            self.make(change.xid, mem)?;
        }
        Ok(before == 0)
    }

    /// The same for many of a block.
    pub(super) fn add_all(
        &mut self,
        b: u8,
        (inserted, deleted): (Offsets, Offsets),
        (xid, updated): (TransactionId, u16),
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let at = self.make(xid, mem)?;
        if let Some(group) = self.list.get_mut(at) {
            group.sets.insert_offsets(INSERTED, b, inserted, mem)?;
            group.sets.insert_offsets(DELETED, b, deleted, mem)?;
            group.updated = group.updated.saturating_add(updated);
        }
        let all = inserted.iter().chain(deleted.iter());
        self.index.note(all.map(|off| position(b, off)), mem)
    }

    #[inline]
    fn add_at(&mut self, at: usize, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Some(group) = self.list.get_mut(at) {
            group.add(change, mem)?;
        }
        self.index.note(change.positions(), mem)
    }

    /// Add a group of a transaction that has none.
    pub(super) fn put(&mut self, group: Group, mem: &mut Mem) -> Result<(), NoMemory> {
        let at = self.make(group.xid, mem)?;
        self.index.note(group.positions(), mem)?;
        if let Some(place) = self.list.get_mut(at) {
            mem.grew(group.sets.heap_bytes());
            *place = group;
        }
        Ok(())
    }

    fn make(&mut self, xid: TransactionId, mem: &mut Mem) -> Result<usize, NoMemory> {
        let at = match self.find(xid) {
            Ok(at) => return Ok(at),
            Err(at) => at,
        };
        if self.list.len() == self.list.capacity() {
            let before = self.own_bytes();
            self.list.try_reserve_exact(self.list.len().max(1))?;
            mem.changed(before, self.own_bytes());
        }
        let mut group = Group::new(xid);
        // What it had without a group is in the index already.
        let mut result = Ok(());
        self.small.take(xid, |change| {
            if let Err(e) = group.add(change, mem) {
                result = Err(e);
            }
        });
        if let Err(e) = result {
            mem.shrank(group.sets.heap_bytes());
            return Err(e);
        }
        self.list.insert(at, group); // there is room
        if !self.index.is_kept() && self.list.len() > MANY_GROUPS {
            self.make_index(mem)?;
        }
        Ok(at)
    }

    #[cold]
    fn make_index(&mut self, mem: &mut Mem) -> Result<(), NoMemory> {
        self.index.keep();
        let all = self.list.iter().flat_map(Group::positions);
        self.index.note(all, mem)
    }

    /// The transaction's group, whose sets stay accounted for, or its changes,
    /// each shown to `see`.
    pub(super) fn take(
        &mut self,
        xid: TransactionId,
        mut see: impl FnMut(Change, &mut Mem),
        mem: &mut Mem,
    ) -> Option<Group> {
        let index = &mut self.index;
        let had = self.small.take(xid, |change| {
            index.unnote(change.positions());
            see(change, mem);
        });
        if had {
            return None;
        }
        let at = self.find(xid).ok()?;
        let group = self.list.remove(at)?;
        self.index.unnote(group.positions());
        Some(group)
    }

    /// Nobody has anything undecided at this position any more.
    #[inline]
    pub(super) fn forget(&mut self, pos: u16, mem: &mut Mem) {
        if !self.index.clear(pos) {
            return;
        }
        for group in &mut self.list {
            group.sets.remove(pos, mem);
        }
        self.small.for_each_mut(|change| change.forget(pos));
    }

    /// Whether somebody deletes the tuple at this position.
    pub(super) fn deletes(&self, pos: u16) -> bool {
        if !self.index.may_have(pos) {
            return false;
        }
        self.list
            .iter()
            .any(|group| group.sets.contains(DELETED, pos))
            || self.small.iter().any(|change| change.deletes(pos))
    }

    /// Nobody deletes the tuple at this position any more.
    pub(super) fn forget_deletion(&mut self, pos: u16, mem: &mut Mem) {
        if !self.deletes(pos) {
            return;
        }
        let mut one = Offsets::default();
        one.insert(item_of(pos) + 1);
        let gone = Both {
            one,
            other: Offsets::default(),
        };
        for group in &mut self.list {
            group.sets.take(block_of(pos), gone, mem);
        }
        self.small
            .for_each_mut(|change| change.forget_deletion(pos));
    }

    /// The offsets of a block somebody has yet to decide about.
    pub(super) fn offsets(&self, b: u8) -> Offsets {
        let mut offsets = Offsets::default();
        if !self.index.may_have_in(b) {
            return offsets;
        }
        let small = self.small.iter();
        small.for_each(|change| change.add_offsets(b, &mut offsets));
        let groups = self.list.iter().map(|group| group.sets.block(b));
        groups.fold(offsets, |all, both| all.or(both.one).or(both.other))
    }

    /// Nothing is undecided at these offsets of a block. At which of them
    /// something was.
    pub(super) fn remove_offsets(&mut self, b: u8, gone: Offsets, mem: &mut Mem) -> Offsets {
        let mut removed = Offsets::default();
        if !self.index.clear_in(b, gone) {
            return removed;
        }
        let both = Both {
            one: gone,
            other: gone,
        };
        for group in &mut self.list {
            let had = group.sets.take(b, both, mem);
            removed = removed.or(had.one).or(had.other);
        }
        self.small
            .for_each_mut(|change| change.forget_in(b, gone, &mut removed));
        removed
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Groups, NoMemory> {
        let mut list = VecDeque::new();
        list.try_reserve_exact(self.list.len())?;
        for group in &self.list {
            let sets = group.sets.try_clone(mem)?;
            list.push_back(Group { sets, ..*group });
        }
        let index = self.index.try_clone(mem)?;
        let copy = Groups {
            list,
            small: self.small.try_clone()?,
            index,
        };
        mem.grew(copy.own_bytes());
        Ok(copy)
    }
}

#[cfg(test)]
mod tests;
