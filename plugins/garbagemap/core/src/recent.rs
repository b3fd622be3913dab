//! Changes that wait for the end of their transaction.
//!
//! Most transactions are short: by the time their changes would be noted in
//! the ranges as undecided, their end is the next record or the one after it.
//! So changes of tuples first go to a short list here, and from there to their
//! ranges when the transaction ends, already decided, or when somebody is to
//! see them, as undecided.
//!
//! What waits for a range comes before anything else that happens to it
//! ([`Ledger::note_recent_of`]), so that a range sees its changes in the order
//! of the WAL, with one exception: those of a transaction that ended alone come
//! when it ends. Nothing can depend on that, for nobody else touches an item
//! with a change that is undecided, but the transaction's own family, and who
//! ends together with others has all noted before. What makes many blocks
//! known or unknown, asks for transactions, or is asked for by a caller comes
//! after everything ([`Ledger::note_recent`]).

use walker_wal::{BlockNumber, Lsn, OffsetNumber, TransactionId};

use crate::Sink;
use crate::block::Event;
use crate::ledger::{At, Ledger};
use crate::mem::{Mem, NoMemory};
use crate::range::{Effect, Range};
use crate::xact::{Outcome, Touch};

/// So many changes wait at most.
const MOST: usize = 64;

/// A transaction's change of a tuple, or of two on one page. An offset of 0 is
/// none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub rel: u32,
    pub blkno: BlockNumber,
    pub end_lsn: Lsn,
    pub xid: TransactionId,
    pub inserted: OffsetNumber,
    pub deleted: OffsetNumber,
    pub how: How,
    /// All-visible bits that were cleared.
    pub visible_lost: u8,
}

/// What the record was of which this is the change, or the last part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// An insertion or a deletion.
    Plain,
    /// The deletion of an update to another page.
    UpdatedAway,
    /// The insertion of an update from another page, or both of an update on
    /// one.
    Updated,
    HotUpdated,
}

impl Change {
    fn deletion(&self) -> Event {
        match self.how {
            How::Plain => Event::Delete,
            How::UpdatedAway | How::Updated | How::HotUpdated => Event::Update,
        }
    }

    /// The same for a transaction that runs on.
    fn note(&self, range: &mut Range, b: u8, mem: &mut Mem) -> Result<Effect, NoMemory> {
        match (self.inserted, self.deleted) {
            (new, 0) => range.insert(b, new, Some(self.xid), mem),
            (0, old) => {
                let new_touch = range.delete(b, old, self.xid, self.deletion(), mem)?;
                Ok(Effect {
                    new_touch,
                    contradiction: false,
                })
            }
            (new, old) => range.update(b, (old, new), self.xid, mem),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Recent(Vec<Change>);

impl Recent {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The relation is gone, and nothing may come to what takes its slot.
    pub(crate) fn forget(&mut self, rel: u32) {
        self.0.retain(|change| change.rel != rel);
    }
}

impl<S: Sink> Ledger<S> {
    /// Make a change of a known relation when its transaction ends. If that
    /// cannot wait, it is made now.
    #[inline]
    pub(crate) fn change_tuple(&mut self, change: Change) {
        // A large transaction's changes would only fill the list.
        let scanning = self.rels.get(change.rel).is_none_or(|rel| rel.scanning);
        if scanning || self.txs.contains(change.xid) {
            self.note_recent_in(change.blkno);
            return self.note_change(&change);
        }
        if self.recent.0.len() == self.recent.0.capacity() {
            return self.make_room_for(change);
        }
        self.recent.0.push(change);
    }

    #[inline(never)]
    fn make_room_for(&mut self, change: Change) {
        if self.recent.0.len() < MOST && self.recent.0.try_reserve_exact(MOST).is_ok() {
            self.recent.0.push(change);
        } else {
            self.note_recent();
            self.note_change(&change);
        }
    }

    /// Make a change of a transaction that runs on.
    fn note_change(&mut self, change: &Change) {
        let Some(locator) = self.rels.get(change.rel).map(|rel| rel.locator) else {
            return;
        };
        let at = At {
            locator,
            blkno: change.blkno,
            end_lsn: change.end_lsn,
            sets_page_lsn: true,
        };
        self.change(change.rel, at, change.xid, false, |range, b, mem| {
            change.note(range, b, mem)
        });
        self.count_updates(change);
    }

    /// Note all changes that wait with their ranges, as undecided.
    #[inline]
    pub(crate) fn note_recent(&mut self) {
        if !self.recent.is_empty() {
            self.note_those(|_| true);
            self.enforce_limit();
        }
    }

    /// The same for those of a range.
    #[inline]
    pub(crate) fn note_recent_of(&mut self, at: At) {
        self.note_recent_in(at.blkno);
    }

    #[inline]
    fn note_recent_in(&mut self, blkno: BlockNumber) {
        let geo = self.geo;
        let (rangeno, _) = geo.split(blkno);
        let concerned = |change: &Change| geo.split(change.blkno).0 == rangeno;
        // The relation is not looked at: what is noted sooner does no harm.
        if self.recent.0.iter().any(concerned) {
            self.note_those(concerned);
        }
    }

    #[inline(never)]
    fn note_those(&mut self, which: impl Fn(&Change) -> bool) {
        let mut list = std::mem::take(&mut self.recent.0);
        list.retain(|change| {
            let noted = which(change);
            if noted {
                self.note_change(change);
            }
            !noted
        });
        self.recent.0 = list;
    }

    /// A transaction has ended: make its changes that wait.
    #[inline]
    pub(crate) fn settle_recent(&mut self, xid: TransactionId, outcome: Outcome) {
        if self.recent.is_empty() {
            return;
        }
        let mut list = std::mem::take(&mut self.recent.0);
        list.retain(|change| {
            let ended = change.xid == xid;
            if ended {
                self.make_change(change, outcome);
            }
            !ended
        });
        self.recent.0 = list;
    }

    /// Make a change of a transaction that has ended.
    #[inline]
    fn make_change(&mut self, change: &Change, outcome: Outcome) {
        let (rangeno, b) = self.geo.split(change.blkno);
        let Some(rel) = self.rels.get_mut(change.rel) else {
            return;
        };
        rel.last_touch = rel.last_touch.max(change.end_lsn.0);
        let range = match rel.ranges.get_mut(rangeno) {
            Some(range) => Ok(Some(range)),
            None => rel.make_range(self.geo, change.blkno, false, &mut self.mem),
        };
        let Ok(range) = range else {
            return self.degrade(change.rel);
        };
        if let Some(range) = range
            && range.is_known(b)
        {
            self.saving.changed(range, change.rel, rangeno);
            let offsets = (change.inserted, change.deleted);
            let Ok(contradiction) = range.ended(b, offsets, outcome, &mut self.mem) else {
                return self.degrade(change.rel);
            };
            self.stats.contradictions += u64::from(contradiction);
            let changed = range.changed();
            let rel = change.rel;
            let updated = u16::from(change.how != How::Plain);
            self.range_ended(
                Touch { rel, rangeno },
                changed,
                (change.xid, outcome, updated),
            );
        }
        self.count_updates(change);
    }

    #[inline]
    fn count_updates(&mut self, change: &Change) {
        let (hot, other) = match change.how {
            How::HotUpdated => (1, 0),
            How::Updated => (0, 1),
            How::Plain | How::UpdatedAway if change.visible_lost == 0 => return,
            How::Plain | How::UpdatedAway => (0, 0),
        };
        self.count(change.rel, |c| {
            c.hot_updates += hot;
            c.other_updates += other;
            c.visible_lost += u64::from(change.visible_lost);
        });
    }
}
