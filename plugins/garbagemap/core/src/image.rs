//! A block's state from what its page shows.
//!
//! What counts as dead is what `pgstat_heap` counts: `HeapTupleSatisfiesDirty`
//! is followed step by step, except that a transaction in progress leaves an
//! undecided event instead of a live tuple.

use walker_wal::heap::{Infomask, TupleHeader};
use walker_wal::page::Items;
use walker_wal::{HeapPage, LinePointer, OffsetNumber, TransactionId, WalError};

use crate::Sink;
use crate::audit::Expect;
use crate::block::{BlockState, Event, MAX_OFFSET, position};
use crate::ended::{Ended, Multixacts};
use crate::ledger::{At, Ledger};
use crate::mem::NoMemory;
use crate::range::{DEAD, Effect, Range};
use crate::recent::Recent;
use crate::xact::{Oracle, Touch, Transactions, XidStatus, special_xid};

/// What an item of a page means for garbage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Tuple {
        xmin: TransactionId,
        xmax: TransactionId,
        infomask: Infomask,
    },
    Dead,
    Other,
}

impl From<LinePointer> for Item {
    #[inline]
    fn from(lp: LinePointer) -> Item {
        match lp {
            LinePointer::Normal(TupleHeader {
                xmin,
                xmax,
                infomask,
                ..
            }) => Item::Tuple {
                xmin,
                xmax,
                infomask,
            },
            LinePointer::Dead => Item::Dead,
            LinePointer::Unused | LinePointer::Redirect(_) => Item::Other,
        }
    }
}

/// Why a page does not tell its block's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undecided {
    Malformed(WalError),
    /// A transaction's status is not kept any more.
    Status,
    NoMemory,
}

impl From<NoMemory> for Undecided {
    fn from(_: NoMemory) -> Self {
        Undecided::NoMemory
    }
}

/// Everything that tells a transaction's status, in the order of asking.
pub(crate) struct Facts<'a> {
    /// The record's own transaction: its end comes later.
    pub writer: TransactionId,
    pub ended: &'a Ended,
    pub txs: &'a Transactions,
    pub recent: &'a Recent,
    pub multixacts: &'a Multixacts,
    pub oracle: &'a mut dyn Oracle,
    /// The block as the ledger has it, if it is known.
    pub prior: Option<(&'a Range, u8)>,
    pub last: Option<(TransactionId, XidStatus)>,
}

impl Facts<'_> {
    #[inline]
    fn status(&mut self, xid: TransactionId) -> XidStatus {
        if xid == self.writer && xid != 0 {
            return XidStatus::InProgress;
        }
        if let Some(status) = special_xid(xid) {
            return status;
        }
        if let Some((last, status)) = self.last
            && last == xid
        {
            return status;
        }
        let status = match self.ended.status(xid) {
            Some(status) => status,
            None if self.txs.contains(xid) || self.recent.has(xid) => XidStatus::InProgress,
            None => self.oracle.xid_status(xid),
        };
        self.last = Some((xid, status));
        status
    }

    /// Whom was asked about last, if that has committed, else 0.
    #[inline]
    fn committed(&self) -> TransactionId {
        match self.last {
            Some((xid, XidStatus::Committed)) => xid,
            _ => 0,
        }
    }

    /// What became of the deletion by a multixact's updater, and who that is.
    fn multixact(
        &mut self,
        off: OffsetNumber,
        mxid: TransactionId,
    ) -> Option<(TransactionId, XidStatus)> {
        if let Some(updater) = self.multixacts.updater(mxid) {
            return Some((updater, self.status(updater)));
        }
        // Lockers come and go without changing who deleted the tuple.
        if let Some((range, b)) = self.prior {
            let pos = position(b, off);
            if range.garbage.contains(DEAD, pos) {
                return Some((0, XidStatus::Committed));
            }
            return Some(match range.pending.deleter(pos) {
                Some(xid) => (xid, XidStatus::InProgress),
                None => (0, XidStatus::Aborted),
            });
        }
        let updater = self.oracle.multixact_updater(mxid)?;
        Some((updater, self.status(updater)))
    }
}

/// Fill in `state` from the items of a page. `pass_live` passes over some that
/// come next and are tuples that all see, or over none, and says how many; it is
/// told of a transaction that has committed.
fn decode<I: Iterator<Item = Result<(OffsetNumber, T), WalError>>, T: Into<Item>>(
    state: &mut BlockState,
    mut items: I,
    pass_live: impl Fn(&mut I, TransactionId) -> u16,
    facts: &mut Facts<'_>,
) -> Result<(), Undecided> {
    state.reset()?;
    let mut normal = 0;
    loop {
        normal += pass_live(&mut items, facts.committed());
        let Some(item) = items.next() else { break };
        let (off, item) = item.map_err(Undecided::Malformed)?;
        match item.into() {
            Item::Other => continue,
            _ if !(1..=MAX_OFFSET).contains(&off) => {
                let (what, value) = ("line pointer number", off.into());
                return Err(Undecided::Malformed(WalError::Invalid { what, value }));
            }
            Item::Dead => state.items.insert(off),
            Item::Tuple {
                xmin,
                xmax,
                infomask,
            } => {
                normal += 1;
                if normal > MAX_OFFSET {
                    let (what, value) = ("number of tuples", normal.into());
                    return Err(Undecided::Malformed(WalError::Invalid { what, value }));
                }
                if is_dead(state, off, (xmin, xmax, infomask), facts)? {
                    state.dead.insert(off);
                    state.pending.pop_if(|&mut (of, ..)| of == off);
                }
            }
        }
    }
    state.normal = normal;
    Ok(())
}

/// `!HeapTupleSatisfiesDirty`. Adds the undecided events of the tuple.
fn is_dead(
    state: &mut BlockState,
    off: OffsetNumber,
    (xmin, xmax, infomask): (TransactionId, TransactionId, Infomask),
    facts: &mut Facts<'_>,
) -> Result<bool, Undecided> {
    if !infomask.xmin_committed() {
        if infomask.xmin_invalid() {
            return Ok(true);
        }
        if infomask.moved() {
            return Err(Undecided::Status); // t_xvac decides, which nobody kept
        }
        match facts.status(xmin) {
            XidStatus::Committed => {}
            XidStatus::Aborted => return Ok(true),
            XidStatus::InProgress => state.pending.push((off, xmin, Event::Insert)),
            XidStatus::Unknown => return Err(Undecided::Status),
        }
    }
    if infomask.xmax_invalid() || infomask.xmax_is_locked_only() {
        return Ok(false);
    }
    if infomask.xmax_committed() {
        return Ok(true);
    }
    let (deleter, status) = if infomask.xmax_is_multi() {
        facts.multixact(off, xmax).ok_or(Undecided::Status)?
    } else {
        (xmax, facts.status(xmax))
    };
    match status {
        XidStatus::Committed => return Ok(true),
        XidStatus::Aborted => {}
        XidStatus::InProgress => state.pending.push((off, deleter, Event::Delete)),
        XidStatus::Unknown => return Err(Undecided::Status),
    }
    Ok(false)
}

impl<S: Sink> Ledger<S> {
    /// Take a block's state over from its image. The record's own change has
    /// been applied before if that was possible.
    pub(crate) fn image(
        &mut self,
        at: At,
        writer: TransactionId,
        page: &HeapPage<'_>,
        expect: Expect,
        oracle: &mut dyn Oracle,
    ) -> Result<(), WalError> {
        let mut state = std::mem::take(&mut self.scratch);
        let items = (page.items(), Items::pass_live);
        let decoded = self.decode_block(
            &mut state,
            at,
            (writer, expect != Expect::Nothing),
            items,
            oracle,
        );
        let result = match decoded {
            Ok(()) => {
                if !self.audit(&state, at, expect) {
                    self.learn_state(at, &state, true);
                }
                Ok(())
            }
            Err(why) => {
                self.stats.images_undecided += 1;
                self.forget_block(at);
                match why {
                    Undecided::Malformed(e) => Err(e),
                    Undecided::Status | Undecided::NoMemory => Ok(()),
                }
            }
        };
        self.scratch = state;
        result
    }

    /// Decode with all that this ledger knows; the items as for [`decode`].
    /// `replaced`: the page is what the block has become since. One that comes
    /// from elsewhere, as copied tables have, is not told about by what the
    /// block was.
    pub(crate) fn decode_block<I, T>(
        &mut self,
        state: &mut BlockState,
        at: At,
        (writer, replaced): (TransactionId, bool),
        (items, pass_live): (I, impl Fn(&mut I, TransactionId) -> u16),
        oracle: &mut dyn Oracle,
    ) -> Result<(), Undecided>
    where
        I: Iterator<Item = Result<(OffsetNumber, T), WalError>>,
        T: Into<Item>,
    {
        let (rangeno, b) = self.geo.split(at.blkno);
        let idx = self.rels.find(at.locator);
        let range = idx.and_then(|idx| self.rels.get(idx)?.ranges.get(rangeno));
        let mut facts = Facts {
            writer,
            ended: &self.ended,
            txs: &self.txs,
            recent: &self.recent,
            multixacts: &self.multixacts,
            oracle,
            prior: range.filter(|r| replaced && r.is_known(b)).map(|r| (r, b)),
            last: None,
        };
        decode(state, items, pass_live, &mut facts)
    }

    /// Take over a block's state, and unless it is held back, make it known.
    pub(crate) fn learn_state(&mut self, at: At, state: &BlockState, known: bool) -> bool {
        let (Some(rel), (rangeno, _)) = (self.open(at.locator), self.geo.split(at.blkno)) else {
            return false;
        };
        let touch = Touch { rel, rangeno };
        // A change uses no transactions but by its effect, and this one has none.
        let mut txs = std::mem::take(&mut self.txs);
        // A failure degrades the relation: what is left of it is nothing.
        let done = self.change(rel, at, 0, true, |range, b, mem| {
            range.set_block(b, state, mem)?;
            range.known.set(b, known);
            for &(off, xid, event) in &state.pending {
                if range.add_event(b, off, xid, event, mem)? {
                    txs.touch(xid, touch, mem)?;
                }
            }
            Ok(Effect::default())
        });
        self.txs = txs;
        done
    }
}
