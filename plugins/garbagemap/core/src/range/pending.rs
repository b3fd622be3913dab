//! What transactions have yet to decide in a range.
//!
//! Nearly always that is one change or two, each a small entry in a list: to
//! add one is a store, to settle it is a look along the list. Where much is
//! undecided the list goes over to [`Groups`]. Invariants: a transaction that
//! has something there has nothing in the list; the list has [`MANY`] entries at
//! most, and none while many transactions have something there without a group.

use walker_wal::{OffsetNumber, TransactionId};

use super::change::Change;
use super::group::{DELETED, Group, INSERTED};
use super::groups::{FEW_AGAIN, Groups, SMALL};
use super::small::Small;
use crate::block::{Event, Offsets, block_of, position};
use crate::few::Few;
use crate::mem::{Boxed, Mem, NoMemory};
use crate::xact::precedes;

/// So many changes of a block are added one by one.
const FEW: usize = 4;
/// So many changes are kept in the list.
const MANY: usize = 16;

/// See the module's documentation.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Pending {
    /// Never empty if it is there.
    groups: Option<Boxed<Groups>>,
    few: Few<Change, FEW_AGAIN>,
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
        let updated = matches!(del, Some((_, Event::Update)));
        self.add_change(Change::new(xid, ins, del.map(|(pos, _)| pos), updated), mem)
    }

    #[inline]
    fn add_change(&mut self, change: Change, mem: &mut Mem) -> Result<bool, NoMemory> {
        if let Some(groups) = &mut self.groups {
            if groups.are_crowded() {
                return groups.add(change, mem);
            }
            if groups.add_to(change, mem)? {
                return Ok(false);
            }
        }
        if self.few.len() == MANY {
            return self.group_all(mem)?.add(change, mem);
        }
        let new = !self.few.any(|other| other.xid == change.xid);
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
        if n <= FEW && self.group(xid).is_none() {
            let at = |offsets: Offsets| offsets.iter().map(move |off| position(b, off));
            for change in Change::each(xid, at(inserted), at(deleted), updated) {
                self.add_change(change, mem)?;
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

    /// The list is long: what is in it goes over.
    #[cold]
    fn group_all(&mut self, mem: &mut Mem) -> Result<&mut Groups, NoMemory> {
        let changes = std::mem::take(&mut self.few);
        mem.shrank(changes.heap_bytes());
        let groups = self.make_groups(mem)?;
        for &change in changes.iter() {
            let own = changes.iter().filter(|other| other.xid == change.xid);
            groups.add_one_of(change, own.count(), mem)?;
        }
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
        let has = |groups: &Groups| groups.get(xid).is_some() || groups.small().has(xid);
        self.few.any(|change| change.xid == xid) || self.groups.as_deref().is_some_and(has)
    }

    /// Take what a transaction has undecided: its changes are shown to `see`,
    /// or its group is returned, whose sets stay accounted for.
    #[inline]
    pub(super) fn take(
        &mut self,
        xid: TransactionId,
        mut see: impl FnMut(Change, &mut Mem),
        mem: &mut Mem,
    ) -> Option<Group> {
        if !self.few.is_empty() {
            self.few.take_if(|change| change.xid == xid, &mut see, mem);
        }
        let groups = self.groups.as_mut()?;
        let group = groups.take(xid, see, mem);
        // Many took much room, and what comes next is to be cheap again.
        if groups.are_over() {
            mem.shrank(groups.heap_bytes());
            for &change in groups.small().iter() {
                // There is room, for there was none in the list before.
                let _ = self.few.push(change, mem);
            }
            self.groups = None;
        }
        group
    }

    #[inline]
    fn group(&self, xid: TransactionId) -> Option<&Group> {
        self.groups.as_ref()?.get(xid)
    }

    /// What those have who have no group, where there are many.
    fn small(&self) -> impl Iterator<Item = &Small> {
        self.groups.iter().map(|groups| groups.small())
    }

    /// What those have who have no group.
    fn changes(&self) -> impl Iterator<Item = &Change> {
        let small = self.small().flat_map(|small| small.iter());
        self.few.iter().chain(small)
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
        self.few.for_each_mut(|change| change.forget_deletion(pos));
        if let Some(groups) = &mut self.groups {
            groups.forget_deletion(pos, mem);
        }
    }

    /// Nothing is undecided at these offsets of a block. At which of them
    /// something was.
    #[inline]
    pub(super) fn remove_offsets(&mut self, b: u8, gone: Offsets, mem: &mut Mem) -> Offsets {
        let mut removed = Offsets::default();
        self.few
            .for_each_mut(|change| change.forget_in(b, gone, &mut removed));
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
        self.few.any(|change| change.deletes(pos))
            || self
                .groups
                .as_ref()
                .is_some_and(|groups| groups.deletes(pos))
    }

    /// Who deletes the tuple at this position, as far as is known: the
    /// youngest, as those before must have failed.
    pub(crate) fn deleter(&self, pos: u16) -> Option<TransactionId> {
        let few = self.changes().filter(|change| change.deletes(pos));
        let groups = self.groups();
        let groups = groups.filter(|group| group.sets.contains(DELETED, pos));
        let xids = few.map(|change| change.xid);
        xids.chain(groups.map(|group| group.xid))
            .reduce(|a, b| if precedes(a, b) { b } else { a })
    }

    /// The offsets of a block somebody has yet to decide about.
    pub(crate) fn offsets(&self, b: u8) -> Offsets {
        let mut offsets = Offsets::default();
        let few = self.few.iter();
        few.for_each(|change| change.add_offsets(b, &mut offsets));
        match &self.groups {
            Some(groups) => offsets.or(groups.offsets(b)),
            None => offsets,
        }
    }

    /// Whether these, each once, are all events of a block that somebody has yet
    /// to decide about; it may say no where that is so.
    pub(crate) fn are(&self, b: u8, events: &[(OffsetNumber, TransactionId, Event)]) -> bool {
        if self.groups().next().is_some() {
            return false;
        }
        let few = self.few.iter().flat_map(Change::positions);
        let few = few.filter(|&pos| block_of(pos) == b).count();
        let small = self.groups.as_ref().map_or(0, |g| g.count_small(b));
        let has = |&(off, xid, event): &(OffsetNumber, TransactionId, Event)| {
            let is = |change: &Change| change.is(position(b, off), xid, event);
            self.few.any(is) || self.small().any(|small| small.of(xid).any(is))
        };
        events.len() == few + small && events.iter().all(has)
    }

    /// The transactions, each once, lowest number first.
    pub(crate) fn xids(&self) -> Result<Vec<TransactionId>, NoMemory> {
        let mut xids = Vec::new();
        let groups = self.groups.as_ref().map_or(0, |groups| groups.len());
        xids.try_reserve_exact(self.few.len() + groups)?;
        xids.extend(self.changes().map(|change| change.xid));
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
        let few = self.few.iter().filter(|change| change.xid == xid);
        let small = self.small().flat_map(|small| small.of(xid));
        few.chain(small)
            .try_for_each(|&change| group.add(change, &mut mem))?;
        Ok(look(&group))
    }

    /// The transaction with the highest number.
    fn last(&self) -> Option<TransactionId> {
        let few = self.few.iter().map(|change| change.xid).max();
        let groups = self.groups.as_ref();
        few.max(groups.and_then(|groups| groups.last()))
    }

    /// Add a group that was loaded, behind all there is: what is saved comes in
    /// order. False if that is not its place.
    pub(super) fn add_group(&mut self, group: Group, mem: &mut Mem) -> Result<bool, NoMemory> {
        if self.last().is_some_and(|last| last >= group.xid) {
            return Ok(false);
        }
        let n = usize::from(group.sets.len(DELETED)) + usize::from(group.sets.len(INSERTED));
        match n {
            // Its transaction has touched the range all the same.
            0 => self.add_change(Change::new(group.xid, None, None, false), mem)?,
            1..=SMALL => {
                let mut all = group.changes();
                all.try_fold(true, |_, change| self.add_change(change, mem))?
            }
            _ => self.make_groups(mem)?.put(group, mem).map(|()| true)?,
        };
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
