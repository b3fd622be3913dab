//! What transactions have yet to decide in a range.
//!
//! Nearly always that is one change or two, each a small entry in a list: to
//! add one is a store, to settle it is a look along the list. Where much is
//! undecided the list goes over into groups, one per transaction, sorted by
//! xid. Invariants: a transaction that has a group has nothing in the list; no
//! transaction has more than one group; the list has [`MANY`] entries at most.

use std::collections::VecDeque;

use walker_wal::TransactionId;

use crate::block::{Event, Offsets, block_of, item_of};
use crate::few::Few;
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory};
use crate::sets::{Both, Sets, Which};
use crate::xact::precedes;

/// In a group's sets.
pub(crate) const DELETED: Which = Which::One;
pub(crate) const INSERTED: Which = Which::Other;

/// No position.
const NOWHERE: u16 = u16::MAX;

/// So many changes are kept in the list.
const MANY: usize = 16;

/// A running transaction's change: a tuple it inserted, one it deleted, or
/// both, as an update does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    xid: TransactionId,
    ins: u16,
    del: u16,
    pub updated: bool,
}

impl Change {
    #[inline]
    fn forget(&mut self, pos: u16) {
        if self.ins == pos {
            self.ins = NOWHERE;
        }
        if self.del == pos {
            self.del = NOWHERE;
        }
    }

    #[inline]
    pub(super) fn inserted(&self) -> Option<u16> {
        Some(self.ins).filter(|&pos| pos != NOWHERE)
    }

    #[inline]
    pub(super) fn deleted(&self) -> Option<u16> {
        Some(self.del).filter(|&pos| pos != NOWHERE)
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = u16> {
        self.inserted().into_iter().chain(self.deleted())
    }
}

/// Much that a running transaction did in a range.
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

    fn add(&mut self, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Some(pos) = change.inserted() {
            self.sets.insert(INSERTED, pos, mem)?;
        }
        if let Some(pos) = change.deleted() {
            self.sets.insert(DELETED, pos, mem)?;
        }
        self.updated = self.updated.saturating_add(change.updated.into());
        Ok(())
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Pending {
    few: Few<Change, 2>,
    /// In the order of their numbers. Those that came first mostly go first.
    groups: VecDeque<Group>,
}

impl Pending {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.groups.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let sets = self.groups.iter().map(|group| group.sets.heap_bytes());
        self.few.heap_bytes() + self.groups_bytes() + sets.sum::<usize>()
    }

    fn groups_bytes(&self) -> usize {
        match self.groups.capacity() {
            0 => 0,
            n => n * size_of::<Group>() + MALLOC_OVERHEAD,
        }
    }

    /// The transaction has a change at a position, or at two if it updated a
    /// tuple. True if it had none in this range.
    #[inline]
    pub(super) fn add(
        &mut self,
        xid: TransactionId,
        ins: Option<u16>,
        del: Option<(u16, Event)>,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let change = Change {
            xid,
            ins: ins.unwrap_or(NOWHERE),
            del: del.map_or(NOWHERE, |(pos, _)| pos),
            updated: matches!(del, Some((_, Event::Update))),
        };
        if !self.groups.is_empty()
            && let Ok(at) = self.find_group(xid)
            && let Some(group) = self.groups.get_mut(at)
        {
            group.add(change, mem)?;
            return Ok(false);
        }
        let new = !self.few.any(|other| other.xid == xid);
        if self.few.len() == MANY {
            self.make_groups(mem)?;
            if !new {
                let at = self.group_of(xid, mem)?;
                if let Some(group) = self.groups.get_mut(at) {
                    group.add(change, mem)?;
                }
                return Ok(false);
            }
        }
        self.few.push(change, mem)?;
        Ok(new)
    }

    /// The list is long: make groups of what is in it.
    #[cold]
    fn make_groups(&mut self, mem: &mut Mem) -> Result<(), NoMemory> {
        let changes = std::mem::take(&mut self.few);
        mem.shrank(changes.heap_bytes());
        for &change in changes.iter() {
            let at = self.group_of(change.xid, mem)?;
            if let Some(group) = self.groups.get_mut(at) {
                group.add(change, mem)?;
            }
        }
        Ok(())
    }

    /// The transaction's group, made if need be.
    fn group_of(&mut self, xid: TransactionId, mem: &mut Mem) -> Result<usize, NoMemory> {
        let at = match self.find_group(xid) {
            Ok(at) => return Ok(at),
            Err(at) => at,
        };
        if self.groups.len() == self.groups.capacity() {
            let before = self.groups_bytes();
            self.groups.try_reserve_exact(self.groups.len().max(1))?;
            mem.changed(before, self.groups_bytes());
        }
        self.groups.insert(at, Group::new(xid)); // there is room
        Ok(at)
    }

    #[inline]
    fn find_group(&self, xid: TransactionId) -> Result<usize, usize> {
        match self.groups.back() {
            None => Err(0),
            Some(last) if last.xid < xid => Err(self.groups.len()),
            Some(last) if last.xid == xid => Ok(self.groups.len() - 1),
            _ => self.groups.binary_search_by_key(&xid, |g| g.xid),
        }
    }

    /// Whether the transaction has something undecided here.
    pub(crate) fn has(&self, xid: TransactionId) -> bool {
        self.few.any(|change| change.xid == xid) || self.find_group(xid).is_ok()
    }

    /// Take what a transaction has undecided: its changes are shown to `see`,
    /// or its group is returned, whose sets stay accounted for.
    #[inline]
    pub(super) fn take(
        &mut self,
        xid: TransactionId,
        see: impl FnMut(Change, &mut Mem),
        mem: &mut Mem,
    ) -> Option<Group> {
        if !self.few.is_empty() {
            self.few.take_if(|change| change.xid == xid, see, mem);
        }
        match self.groups.is_empty() {
            true => None,
            false => self.take_group(xid, mem),
        }
    }

    fn take_group(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Group> {
        let at = self.find_group(xid).ok()?;
        let group = self.groups.remove(at)?;
        // Many took much room.
        if self.groups.is_empty() {
            mem.shrank(self.groups_bytes());
            self.groups = VecDeque::new();
        }
        Some(group)
    }

    /// A tuple comes to this position: nobody has anything undecided there.
    #[inline]
    pub(super) fn forget(&mut self, pos: u16, mem: &mut Mem) {
        self.few.for_each_mut(|change| change.forget(pos));
        for group in &mut self.groups {
            group.sets.remove(pos, mem);
        }
    }

    /// Nobody deletes the tuple at this position.
    pub(super) fn forget_deletion(&mut self, pos: u16, mem: &mut Mem) {
        self.few.for_each_mut(|change| {
            if change.del == pos {
                change.del = NOWHERE;
            }
        });
        let mut one = Offsets::default();
        one.insert(item_of(pos) + 1);
        let gone = Both {
            one,
            other: Offsets::default(),
        };
        for group in &mut self.groups {
            group.sets.take(block_of(pos), gone, mem);
        }
    }

    /// Nothing is undecided at these offsets of a block. At which of them
    /// something was.
    #[inline]
    pub(super) fn remove_offsets(&mut self, b: u8, gone: Offsets, mem: &mut Mem) -> Offsets {
        let mut removed = Offsets::default();
        self.few.for_each_mut(|change| {
            for pos in [&mut change.ins, &mut change.del] {
                if block_of(*pos) == b && *pos != NOWHERE && gone.contains(item_of(*pos) + 1) {
                    removed.insert(item_of(*pos) + 1);
                    *pos = NOWHERE;
                }
            }
        });
        let (one, other) = (gone, gone);
        for group in &mut self.groups {
            let both = group.sets.take(b, Both { one, other }, mem);
            removed = removed.or(both.one).or(both.other);
        }
        removed
    }

    /// Nothing is undecided in a block.
    pub(super) fn clear_block(&mut self, b: u8, mem: &mut Mem) {
        if !self.is_empty() {
            self.remove_offsets(b, Offsets::ALL, mem);
        }
    }

    /// Who deletes the tuple at this position, as far as is known: the
    /// youngest, as those before must have failed.
    pub(crate) fn deleter(&self, pos: u16) -> Option<TransactionId> {
        let few = self.few.iter().filter(|change| change.del == pos);
        let groups = self.groups.iter();
        let groups = groups.filter(|group| group.sets.contains_one(pos));
        let xids = few.map(|change| change.xid);
        xids.chain(groups.map(|group| group.xid))
            .reduce(|a, b| if precedes(a, b) { b } else { a })
    }

    /// The offsets of a block somebody has yet to decide about.
    pub(crate) fn offsets(&self, b: u8) -> Offsets {
        let mut offsets = Offsets::default();
        for pos in self.few.iter().flat_map(Change::positions) {
            if block_of(pos) == b {
                offsets.insert(item_of(pos) + 1);
            }
        }
        let groups = self.groups.iter().map(|group| group.sets.block(b));
        groups.fold(offsets, |all, both| all.or(both.one).or(both.other))
    }

    /// The transactions, each once, lowest number first.
    pub(crate) fn xids(&self) -> Result<Vec<TransactionId>, NoMemory> {
        let mut xids = Vec::new();
        xids.try_reserve_exact(self.few.len() + self.groups.len())?;
        xids.extend(self.few.iter().map(|change| change.xid));
        xids.extend(self.groups.iter().map(|group| group.xid));
        xids.sort_unstable();
        xids.dedup();
        Ok(xids)
    }

    /// Look at what a transaction has undecided as at a group.
    pub(crate) fn with_group<T>(
        &self,
        xid: TransactionId,
        look: impl FnOnce(&Group) -> T,
    ) -> Result<T, NoMemory> {
        if let Some(group) = self.find_group(xid).ok().and_then(|at| self.groups.get(at)) {
            return Ok(look(group));
        }
        // Sets of a few positions, which go in a moment.
        let (mut group, mut mem) = (Group::new(xid), Mem::default());
        for &change in self.few.iter().filter(|change| change.xid == xid) {
            group.add(change, &mut mem)?;
        }
        Ok(look(&group))
    }

    /// Add a group that was loaded. False if there is something of its
    /// transaction.
    pub(super) fn add_group(&mut self, group: Group, mem: &mut Mem) -> Result<bool, NoMemory> {
        if self.has(group.xid) {
            return Ok(false);
        }
        let at = self.group_of(group.xid, mem)?;
        if let Some(place) = self.groups.get_mut(at) {
            mem.grew(group.sets.heap_bytes());
            *place = group;
        }
        Ok(true)
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Pending, NoMemory> {
        let mut groups = VecDeque::new();
        groups.try_reserve_exact(self.groups.len())?;
        for group in &self.groups {
            let sets = group.sets.try_clone(mem)?;
            groups.push_back(Group { sets, ..*group });
        }
        let few = self.few.try_clone(mem)?;
        let copy = Pending { few, groups };
        mem.grew(copy.groups_bytes());
        Ok(copy)
    }
}
