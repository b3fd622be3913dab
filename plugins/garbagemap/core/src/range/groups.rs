//! Much that transactions have yet to decide in a range.
//!
//! One group for each of them, in the order of their numbers. Where there are
//! many, an index knows the positions they have, so that who takes a place
//! where nobody has anything need not look through all of them. Invariants: no
//! transaction has more than one group; with an index, each position that a
//! group has is in it.

use std::collections::VecDeque;

use walker_wal::TransactionId;

use super::pending::Change;
use crate::block::{Offsets, block_of, item_of, position};
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory};
use crate::sets::{Both, Sets, Which};

/// In a group's sets.
pub(crate) const DELETED: Which = Which::One;
pub(crate) const INSERTED: Which = Which::Other;

/// In the index: positions that a group has, or had; and those of them that may
/// have come more than once.
const KNOWN: Which = Which::One;
const OFTEN: Which = Which::Other;

/// More groups have an index, and keep it: to make it again whenever there are
/// many beside a large one would cost more than to have it.
const MANY_GROUPS: usize = 8;

/// What a running transaction did in a range.
pub(crate) struct Group {
    pub xid: TransactionId,
    /// What it [`DELETED`] and [`INSERTED`].
    pub sets: Sets,
    /// How many of the deletions were updates, about: what is taken out of the
    /// sets does not tell.
    pub updated: u16,
}

impl Group {
    pub(crate) fn new(xid: TransactionId) -> Self {
        Group {
            xid,
            sets: Sets::default(),
            updated: 0,
        }
    }

    pub(super) fn add(&mut self, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Some(pos) = change.inserted() {
            self.sets.insert(INSERTED, pos, mem)?;
        }
        if let Some(pos) = change.deleted() {
            self.sets.insert(DELETED, pos, mem)?;
        }
        self.updated = self.updated.saturating_add(change.updated.into());
        Ok(())
    }

    fn positions(&self) -> impl Iterator<Item = u16> {
        self.sets.iter(DELETED).chain(self.sets.iter(INSERTED))
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Groups {
    /// Those that came first mostly go first.
    list: VecDeque<Group>,
    index: Sets,
    indexed: bool,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.list.iter()
    }

    /// That of the highest transaction.
    pub(super) fn last(&self) -> Option<&Group> {
        self.list.back()
    }

    /// Bytes on the heap, and of this itself, which is there, too.
    pub(super) fn heap_bytes(&self) -> usize {
        let sets = self.list.iter().map(|group| group.sets.heap_bytes());
        self.own_bytes() + self.index.heap_bytes() + sets.sum::<usize>()
    }

    /// The same without what the sets have.
    pub(super) fn own_bytes(&self) -> usize {
        let list = match self.list.capacity() {
            0 => 0,
            n => n * size_of::<Group>() + MALLOC_OVERHEAD,
        };
        size_of::<Self>() + MALLOC_OVERHEAD + list
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

    /// The same, but the group is made if need be.
    pub(super) fn add(&mut self, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        let at = self.make(change.xid, mem)?;
        self.add_at(at, change, mem)
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
        if self.indexed {
            let mut all = inserted.iter().chain(deleted.iter());
            all.try_for_each(|off| self.note(position(b, off), mem))?;
        }
        Ok(())
    }

    #[inline]
    fn add_at(&mut self, at: usize, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Some(group) = self.list.get_mut(at) {
            group.add(change, mem)?;
        }
        match self.indexed {
            true => change.positions().try_for_each(|pos| self.note(pos, mem)),
            false => Ok(()),
        }
    }

    /// Add a group of a transaction that has none.
    pub(super) fn put(&mut self, group: Group, mem: &mut Mem) -> Result<(), NoMemory> {
        let at = self.make(group.xid, mem)?;
        if self.indexed {
            group.positions().try_for_each(|pos| self.note(pos, mem))?;
        }
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
        self.list.insert(at, Group::new(xid)); // there is room
        if !self.indexed && self.list.len() > MANY_GROUPS {
            self.make_index(mem)?;
        }
        Ok(at)
    }

    #[cold]
    fn make_index(&mut self, mem: &mut Mem) -> Result<(), NoMemory> {
        self.indexed = true;
        let list = std::mem::take(&mut self.list);
        let mut all = list.iter().flat_map(Group::positions);
        let result = all.try_for_each(|pos| self.note(pos, mem));
        drop(all);
        self.list = list;
        result
    }

    fn note(&mut self, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        let which = match self.index.contains(KNOWN, pos) {
            false => KNOWN,
            true => OFTEN,
        };
        self.index.insert(which, pos, mem)
    }

    /// The transaction's group, whose sets stay accounted for.
    pub(super) fn take(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Group> {
        let at = self.find(xid).ok()?;
        let group = self.list.remove(at)?;
        if self.indexed {
            for pos in group.positions() {
                if !self.index.contains(OFTEN, pos) {
                    self.index.remove(pos, mem);
                }
            }
        }
        Some(group)
    }

    /// Nobody has anything undecided at this position any more.
    #[inline]
    pub(super) fn forget(&mut self, pos: u16, mem: &mut Mem) {
        if self.indexed && self.index.remove(pos, mem) == (false, false) {
            return;
        }
        for group in &mut self.list {
            group.sets.remove(pos, mem);
        }
    }

    /// Whether somebody deletes the tuple at this position.
    pub(super) fn deletes(&self, pos: u16) -> bool {
        if self.indexed && !self.index.contains(KNOWN, pos) {
            return false;
        }
        self.list
            .iter()
            .any(|group| group.sets.contains(DELETED, pos))
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
    }

    /// Nothing is undecided at these offsets of a block. At which of them
    /// something was.
    pub(super) fn remove_offsets(&mut self, b: u8, gone: Offsets, mem: &mut Mem) -> Offsets {
        let both = Both {
            one: gone,
            other: gone,
        };
        let mut removed = Offsets::default();
        if self.indexed && self.index.take(b, both, mem).one.is_empty() {
            return removed;
        }
        for group in &mut self.list {
            let had = group.sets.take(b, both, mem);
            removed = removed.or(had.one).or(had.other);
        }
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
            index,
            indexed: self.indexed,
        };
        mem.grew(copy.own_bytes());
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups that were loaded are asked as those that grew.
    #[test]
    fn the_index_knows_groups_that_were_put_there() {
        let (mut groups, mut mem) = (Groups::default(), Mem::default());
        mem.grew(groups.own_bytes());
        let n = 2 * MANY_GROUPS as u16;
        for pos in 0..n {
            let (mut group, mut own) = (Group::new(100 + u32::from(pos)), Mem::default());
            group.sets.insert(DELETED, pos, &mut own).unwrap();
            groups.put(group, &mut mem).unwrap();
        }
        assert!(groups.indexed);
        let one = |off| {
            let mut one = Offsets::default();
            one.insert(off);
            one
        };
        groups
            .add_all(1, (one(1), one(2)), (100, 0), &mut mem)
            .unwrap();
        for off in [1, 2] {
            let pos = position(1, off);
            assert!(groups.index.contains(KNOWN, pos));
            groups.forget(pos, &mut mem);
        }
        for pos in 0..n {
            groups.forget(pos, &mut mem);
            let left: u16 = groups.iter().map(|group| group.sets.len(DELETED)).sum();
            assert_eq!(left, n - pos - 1);
        }
        for xid in (100..).take(n.into()) {
            assert_eq!(mem.used(), groups.heap_bytes());
            let group = groups.take(xid, &mut mem).unwrap();
            mem.shrank(group.sets.heap_bytes());
        }
        assert_eq!((groups.len(), groups.index.len(KNOWN)), (0, 0));
    }
}
