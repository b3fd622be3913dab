//! What transactions have yet to decide in a range.
//!
//! Nearly always that is one change or two, each a small entry in a list: to
//! add one is a store, to settle it is a look along the list. Where much is
//! undecided the list goes over into groups, one per transaction. Invariants: a
//! transaction that has a group has nothing in the list; the list has [`MANY`]
//! entries at most.

use walker_wal::TransactionId;

use super::groups::{DELETED, Group, Groups};
use crate::block::{Event, Offsets, block_of, item_of, position};
use crate::few::Few;
use crate::mem::{Boxed, Mem, NoMemory};
use crate::xact::precedes;

/// No position.
const NOWHERE: u16 = u16::MAX;

/// So many changes of a block make no group where there is none.
const FEW: usize = 4;
/// So many changes are kept in the list.
const MANY: usize = 16;

/// A running transaction's change: a tuple it inserted, one it deleted, or
/// both, as an update does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    pub xid: TransactionId,
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

/// See the module's documentation.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Pending {
    /// Never empty if it is there.
    groups: Option<Boxed<Groups>>,
    few: Few<Change, 2>,
}

impl Pending {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.groups.is_none()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, |groups| groups.heap_bytes());
        self.few.heap_bytes() + groups
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
        if let Some(groups) = &mut self.groups
            && groups.add_to(change, mem)?
        {
            return Ok(false);
        }
        let new = !self.few.any(|other| other.xid == xid);
        if self.few.len() == MANY {
            let groups = self.group_all(mem)?;
            if !new {
                groups.add(change, mem)?;
                return Ok(false);
            }
        }
        self.few.push(change, mem)?;
        Ok(new)
    }

    /// The transaction inserted and then deleted these of a block, of which so
    /// many were updates. True if it had nothing in this range.
    pub(super) fn add_all(
        &mut self,
        b: u8,
        (inserted, deleted): (Offsets, Offsets),
        (xid, updated): (TransactionId, u16),
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        if inserted.is_empty() && deleted.is_empty() {
            return Ok(false);
        }
        let new = !self.has(xid);
        let n = usize::from(inserted.count() + deleted.count());
        if self.groups.is_none() && n <= FEW && self.few.len() + n <= MANY {
            let inserted = inserted.iter().map(|off| (position(b, off), NOWHERE));
            let deleted = deleted.iter().map(|off| (NOWHERE, position(b, off)));
            let mut updates = updated;
            for (ins, del) in inserted.chain(deleted) {
                // Which of them are updates matters to nobody.
                let updated = del != NOWHERE && updates > 0;
                updates -= u16::from(updated);
                let change = Change {
                    xid,
                    ins,
                    del,
                    updated,
                };
                self.few.push(change, mem)?;
            }
            return Ok(new);
        }
        // Who has a group has nothing in the list.
        let groups = match self.few.any(|change| change.xid == xid) {
            true => self.group_all(mem)?,
            false => self.make_groups(mem)?,
        };
        groups.add_all(b, (inserted, deleted), (xid, updated), mem)?;
        Ok(new)
    }

    /// The list is long: make groups of what is in it.
    #[cold]
    fn group_all(&mut self, mem: &mut Mem) -> Result<&mut Groups, NoMemory> {
        let changes = std::mem::take(&mut self.few);
        mem.shrank(changes.heap_bytes());
        let groups = self.make_groups(mem)?;
        changes
            .iter()
            .try_for_each(|&change| groups.add(change, mem))?;
        Ok(groups)
    }

    fn make_groups(&mut self, mem: &mut Mem) -> Result<&mut Groups, NoMemory> {
        let groups = match self.groups.take() {
            Some(groups) => groups,
            None => {
                let groups = Boxed::try_new(Groups::default())?;
                mem.grew(groups.own_bytes());
                groups
            }
        };
        Ok(self.groups.insert(groups))
    }

    /// Whether the transaction has something undecided here.
    pub(crate) fn has(&self, xid: TransactionId) -> bool {
        self.few.any(|change| change.xid == xid) || self.group(xid).is_some()
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
        match self.groups.is_some() {
            true => self.take_group(xid, mem),
            false => None,
        }
    }

    fn take_group(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Group> {
        let groups = self.groups.as_mut()?;
        let group = groups.take(xid, mem)?;
        // Many took much room.
        if groups.len() == 0 {
            mem.shrank(groups.heap_bytes());
            self.groups = None;
        }
        Some(group)
    }

    #[inline]
    fn group(&self, xid: TransactionId) -> Option<&Group> {
        self.groups.as_ref()?.get(xid)
    }

    /// All groups, in the order of their numbers.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flat_map(|groups| groups.iter())
    }

    /// A tuple comes to this position: nobody has anything undecided there.
    #[inline]
    pub(super) fn forget(&mut self, pos: u16, mem: &mut Mem) {
        self.few.for_each_mut(|change| change.forget(pos));
        if let Some(groups) = &mut self.groups {
            groups.forget(pos, mem);
        }
    }

    /// Nobody deletes the tuple at this position.
    pub(super) fn forget_deletion(&mut self, pos: u16, mem: &mut Mem) {
        self.few.for_each_mut(|change| {
            if change.del == pos {
                change.del = NOWHERE;
            }
        });
        if let Some(groups) = &mut self.groups {
            groups.forget_deletion(pos, mem);
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
        match &mut self.groups {
            Some(groups) => removed.or(groups.remove_offsets(b, gone, mem)),
            None => removed,
        }
    }

    /// Nothing is undecided in a block.
    pub(super) fn clear_block(&mut self, b: u8, mem: &mut Mem) {
        if !self.is_empty() {
            self.remove_offsets(b, Offsets::ALL, mem);
        }
    }

    /// Whether somebody deletes the tuple at this position.
    #[inline]
    pub(crate) fn deletes(&self, pos: u16) -> bool {
        self.few.any(|change| change.del == pos)
            || self
                .groups
                .as_ref()
                .is_some_and(|groups| groups.deletes(pos))
    }

    /// Who deletes the tuple at this position, as far as is known: the
    /// youngest, as those before must have failed.
    pub(crate) fn deleter(&self, pos: u16) -> Option<TransactionId> {
        let few = self.few.iter().filter(|change| change.del == pos);
        let groups = self.groups();
        let groups = groups.filter(|group| group.sets.contains(DELETED, pos));
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
        let groups = self.groups().map(|group| group.sets.block(b));
        groups.fold(offsets, |all, both| all.or(both.one).or(both.other))
    }

    /// The transactions, each once, lowest number first.
    pub(crate) fn xids(&self) -> Result<Vec<TransactionId>, NoMemory> {
        let mut xids = Vec::new();
        let groups = self.groups.as_ref().map_or(0, |groups| groups.len());
        xids.try_reserve_exact(self.few.len() + groups)?;
        xids.extend(self.few.iter().map(|change| change.xid));
        xids.extend(self.groups().map(|group| group.xid));
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
        if let Some(group) = self.group(xid) {
            return Ok(look(group));
        }
        // Sets of a few positions, which go in a moment.
        let (mut group, mut mem) = (Group::new(xid), Mem::default());
        for &change in self.few.iter().filter(|change| change.xid == xid) {
            group.add(change, &mut mem)?;
        }
        Ok(look(&group))
    }

    /// Add a group that was loaded, behind all there is: what is saved comes in
    /// order. False if that is not its place.
    pub(super) fn add_group(&mut self, group: Group, mem: &mut Mem) -> Result<bool, NoMemory> {
        let last = self.groups.as_ref().and_then(|groups| groups.last());
        if !self.few.is_empty() || last.is_some_and(|last| last.xid >= group.xid) {
            return Ok(false);
        }
        self.make_groups(mem)?.put(group, mem)?;
        Ok(true)
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Pending, NoMemory> {
        let few = self.few.try_clone(mem)?;
        let groups = match &self.groups {
            Some(groups) => Some(Boxed::try_new(groups.try_clone(mem)?)?),
            None => None,
        };
        Ok(Pending { few, groups })
    }
}
