//! The changes that wait, in the order of the WAL, found by their transaction
//! and by their block.
//!
//! Entries are only added at the end. One that is settled stays where it is,
//! free, until those behind it are free too, or all are put together again; so
//! nothing costs more because much else waits. An entry that was noted before
//! its transaction ended stays linked with that transaction and is passed over.
//! Invariants: an entry is linked with its transaction unless it is free, and
//! with its block if it waits; `waiting` is the number of those that wait.

use std::hint::select_unpredictable;

use walker_wal::{BlockNumber, TransactionId};

use super::links::{HEADS, Linked, MOST, NONE};
use super::{Change, How};
use crate::mem::NoMemory;

/// They are put together again when there are so many, or, if most of them
/// wait, twice as many.
const FIRST: usize = 128;
/// Places to find a transaction by.
const PLACES: usize = 256;

/// A change. Half a line of the processor's cache, and never in two of them; in
/// words, for the end of the transaction often comes at once, and what was
/// written in small pieces a processor cannot read as a whole so soon.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Entry {
    /// Relation and block.
    place: u64,
    /// Transaction, 0 if the entry is free, and line pointers.
    by: u64,
    how: How,
    visible_lost: u8,
    noted: bool,
}

impl Entry {
    #[inline(always)]
    fn new(change: Change) -> Entry {
        let (inserted, deleted) = (u64::from(change.inserted), u64::from(change.deleted));
        Entry {
            place: place(change.rel, change.blkno),
            by: u64::from(change.xid) | inserted << 32 | deleted << 48,
            how: change.how,
            visible_lost: change.visible_lost,
            noted: false,
        }
    }

    #[inline(always)]
    fn change(&self) -> Change {
        Change {
            rel: self.place as u32,
            blkno: (self.place >> 32) as u32,
            xid: self.xid(),
            inserted: (self.by >> 32) as u16,
            deleted: (self.by >> 48) as u16,
            how: self.how,
            visible_lost: self.visible_lost,
        }
    }

    #[inline(always)]
    fn xid(&self) -> TransactionId {
        self.by as u32
    }

    #[inline(always)]
    fn waits(&self) -> bool {
        (self.by != 0) & !self.noted
    }
}

/// Relation and block in a word.
#[inline(always)]
fn place(rel: u32, blkno: BlockNumber) -> u64 {
    u64::from(rel) | u64::from(blkno) << 32
}

/// The entries of a transaction; free if `xid` is 0.
#[derive(Clone, Copy, Default)]
struct OfXid {
    xid: TransactionId,
    first: u16,
    last: u16,
}

/// See the module's documentation.
pub(super) struct List {
    entries: Vec<Entry>,
    waiting: usize,
    /// With so many entries they are to be put together again.
    full: usize,
    by_xid: [OfXid; PLACES],
    /// Entries of a block, or of another with the same head, and of a
    /// transaction.
    linked: Linked,
    /// Used while some are put in order.
    order: Vec<u16>,
}

impl Default for List {
    fn default() -> Self {
        List {
            entries: Vec::new(),
            waiting: 0,
            full: 0,
            by_xid: [OfXid::default(); PLACES],
            linked: Linked::default(),
            order: Vec::new(),
        }
    }
}

#[inline]
fn head_of_block(rel: u32, blkno: BlockNumber) -> usize {
    (rel.wrapping_mul(31) ^ blkno) as usize % HEADS
}

impl List {
    /// Whether there is no entry: then nothing waits, and nothing is linked.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all room is taken, by what waits and what is free among it.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// Whether a change of this transaction came and its end did not.
    pub(super) fn has(&self, xid: TransactionId) -> bool {
        xid != 0 && self.by_xid[xid as usize % PLACES].xid == xid
    }

    /// Add a change. False if there is no room for it.
    ///
    /// Inlined, with [`List::link`], so that the fields come from where they were
    /// found: a change that was put together in memory is copied in other
    /// pieces than it was written in, and the processor waits for each of them.
    #[inline(always)]
    pub(super) fn push(&mut self, change: Change) -> bool {
        let taken = self.by_xid[change.xid as usize % PLACES].xid;
        let free = (taken == change.xid) | (taken == 0);
        if !free | (change.xid == 0) {
            return false;
        }
        if self.entries.len() >= self.full && !self.make_room() {
            return false;
        }
        self.waiting += 1;
        let at = self.entries.len() as u16;
        self.link(at, change.rel, change.blkno, change.xid);
        self.entries.push(Entry::new(change));
        true
    }

    /// Link what is an entry behind all others, or is to be.
    #[inline(always)]
    fn link(&mut self, at: u16, rel: u32, blkno: BlockNumber, xid: TransactionId) {
        let own = &mut self.by_xid[xid as usize % PLACES];
        let first = own.xid != xid;
        let last = select_unpredictable(first, NONE, own.last);
        *own = OfXid {
            xid,
            first: select_unpredictable(first, at, own.first),
            last: at,
        };
        self.linked.add(at, head_of_block(rel, blkno), last);
    }

    /// Room for one more; false if all of it is taken by what waits, or there
    /// is no memory.
    #[inline(never)]
    fn make_room(&mut self) -> bool {
        if self.entries.capacity() < MOST && self.entries.try_reserve_exact(MOST).is_err() {
            return false;
        }
        if self.waiting * 2 <= self.entries.len() {
            self.unlink_all();
            self.entries.retain(Entry::waits);
            for at in 0..self.entries.len() {
                let change = self.entries[at].change();
                self.link(at as u16, change.rel, change.blkno, change.xid);
            }
            self.full = FIRST.max(self.waiting * 4).min(MOST);
        } else {
            self.full = (self.full * 2).min(MOST);
        }
        self.entries.len() < self.full
    }

    fn unlink_all(&mut self) {
        for entry in &self.entries {
            self.by_xid[entry.xid() as usize % PLACES].xid = 0;
        }
        self.linked.clear();
    }

    /// A transaction has ended: its first entry, to begin [`List::settle`]
    /// with.
    #[inline]
    pub(super) fn end(&mut self, xid: TransactionId) -> Option<Settling> {
        let own = &mut self.by_xid[xid as usize % PLACES];
        if own.xid != xid || xid == 0 {
            return None;
        }
        own.xid = 0;
        Some(Settling(own.first))
    }

    /// The same of transactions that have ended as one: their changes come in
    /// the order of the WAL, whoever's they are.
    pub(super) fn end_all(
        &mut self,
        xids: impl Iterator<Item = TransactionId>,
    ) -> Result<Option<Settling>, NoMemory> {
        self.order.clear();
        self.order.try_reserve(self.entries.len())?;
        for xid in xids {
            let Some(Settling(mut at)) = self.end(xid) else {
                continue;
            };
            while at != NONE {
                self.order.push(at);
                at = self.linked.next(at);
            }
        }
        self.order.sort_unstable();
        // From the last one on, each leads to the one behind it.
        let mut next = NONE;
        for &at in self.order.iter().rev() {
            self.linked.set_next(at, next);
            next = at;
        }
        Ok((next != NONE).then_some(Settling(next)))
    }

    /// The next change that waits of a transaction that has ended.
    #[inline]
    pub(super) fn settle(&mut self, settling: &mut Settling) -> Option<Change> {
        while let Some(entry) = self.entries.get_mut(usize::from(settling.0)) {
            let at = settling.0;
            settling.0 = self.linked.next(at);
            let (waits, change) = (entry.waits(), entry.change());
            entry.by = 0;
            if waits {
                self.waiting -= 1;
                self.linked.remove(at);
                return Some(change);
            }
        }
        // What is free at the end is at once used again.
        while self.entries.pop_if(|entry| entry.by == 0).is_some() {}
        None
    }

    /// Whether what [`List::settle`] gives next is on the same block as this.
    #[inline]
    pub(super) fn goes_on(&self, settling: &Settling, change: &Change) -> bool {
        let next = self.entries.get(usize::from(settling.0));
        next.is_some_and(|next| next.waits() & (next.place == place(change.rel, change.blkno)))
    }

    /// The block of the entry that [`List::settle`] looks at next.
    #[inline]
    pub(super) fn next_block(&self, settling: &Settling) -> Option<(u32, BlockNumber)> {
        let next = self.entries.get(usize::from(settling.0))?;
        let Change { rel, blkno, .. } = next.change();
        Some((rel, blkno))
    }

    /// Entries of the block that wait, from the youngest one.
    #[inline]
    fn of_block(&self, rel: u32, blkno: BlockNumber) -> impl Iterator<Item = (u16, &Entry)> {
        let mut at = match self.waiting {
            0 => NONE,
            _ => self.linked.youngest(head_of_block(rel, blkno)),
        };
        let chain = std::iter::from_fn(move || {
            let found = (at, self.entries.get(usize::from(at))?);
            at = self.linked.older(at);
            Some(found)
        });
        chain.filter(move |(_, entry)| entry.place == place(rel, blkno))
    }

    /// Whether one of the block's changes that wait is such a one.
    #[inline]
    pub(super) fn any_of(
        &self,
        rel: u32,
        blkno: BlockNumber,
        such: impl Fn(&Change) -> bool,
    ) -> bool {
        self.of_block(rel, blkno)
            .any(|(_, entry)| such(&entry.change()))
    }

    /// Before the oldest change of the block that waits: [`List::note_next`]
    /// goes on from there.
    pub(super) fn begin_noting(&self, rel: u32, blkno: BlockNumber) -> Noting {
        let oldest = self.of_block(rel, blkno).last();
        Noting {
            place: place(rel, blkno),
            at: oldest.map_or(NONE, |(at, _)| at),
        }
    }

    /// The next change of the block that waits, which does no longer.
    pub(super) fn note_next(&mut self, noting: &mut Noting) -> Option<Change> {
        loop {
            let at = noting.at;
            let &entry = self.entries.get(usize::from(at))?;
            noting.at = self.linked.newer(at);
            if entry.place == noting.place {
                self.note(at);
                return Some(entry.change());
            }
        }
    }

    fn note(&mut self, at: u16) {
        self.linked.remove(at);
        self.waiting -= 1;
        if let Some(entry) = self.entries.get_mut(usize::from(at)) {
            entry.noted = true;
        }
    }

    /// No change of the relation waits any longer.
    pub(super) fn forget(&mut self, rel: u32) {
        if self.waiting == 0 {
            return;
        }
        for at in 0..self.entries.len() {
            let own = |entry: &Entry| entry.waits() && entry.change().rel == rel;
            if self.entries.get(at).is_some_and(own) {
                self.note(at as u16);
            }
        }
    }

    /// Nothing waits any longer. Returned is all that did; nothing may be added
    /// before [`List::give_back`].
    pub(super) fn drain(&mut self) -> Drained {
        self.unlink_all();
        self.waiting = 0;
        Drained(std::mem::take(&mut self.entries))
    }

    /// Keep the memory of what was drained.
    pub(super) fn give_back(&mut self, Drained(mut entries): Drained) {
        entries.clear();
        self.entries = entries;
    }
}

/// How far a transaction that has ended is settled.
pub(super) struct Settling(u16);

/// How far a block's changes are noted.
pub(super) struct Noting {
    place: u64,
    at: u16,
}

/// All changes that waited.
pub(super) struct Drained(Vec<Entry>);

impl Drained {
    /// In the order of the WAL.
    pub(super) fn iter(&self) -> impl Iterator<Item = Change> {
        let waited = self.0.iter().filter(|entry| entry.waits());
        waited.map(Entry::change)
    }
}

#[cfg(test)]
mod tests;
