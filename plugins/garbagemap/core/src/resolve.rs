//! The end of transactions.

use walker_wal::TransactionId;

use crate::Sink;
use crate::ledger::Ledger;
use crate::relation::Relation;
use crate::xact::{Oracle, Outcome, Touch, precedes};

impl<S: Sink> Ledger<S> {
    /// A transaction and its children have ended, says the WAL.
    pub(crate) fn finish(
        &mut self,
        xids: impl Iterator<Item = TransactionId> + Clone,
        committed: bool,
    ) {
        let outcome = outcome(committed);
        xids.clone()
            .for_each(|xid| self.ended.record(xid, committed));
        self.settle_recent_of(xids.clone(), outcome);
        xids.for_each(|xid| self.settle_transaction(xid, outcome));
    }

    /// A transaction has ended, says the WAL.
    #[inline]
    pub(crate) fn finish_one(&mut self, xid: TransactionId, committed: bool) {
        self.ended.record(xid, committed);
        let outcome = outcome(committed);
        self.settle_recent(xid, outcome);
        self.settle_transaction(xid, outcome);
    }

    /// Settle the undecided transactions that cannot be running any more: all
    /// but prepared ones at the end of recovery, and those that precede the
    /// oldest running one. They were lost in a crash, or ended before the WAL
    /// that was read; the server knows.
    pub(crate) fn settle_lost(
        &mut self,
        oldest_running: Option<TransactionId>,
        oracle: &mut dyn Oracle,
    ) {
        // Else the next such record comes in 15 seconds.
        if let Some(ended) = self.ended_of(oldest_running, (0, usize::MAX), oracle) {
            self.settle_ended(ended.into_iter());
        }
    }

    /// The undecided transactions that have ended, as the server knows; only
    /// those that precede `before`, if that is given; of these so many are passed over,
    /// and then no more than `most` asked about. `None` without memory.
    pub fn ended_of(
        &self,
        before: Option<TransactionId>,
        (pass, most): (usize, usize),
        oracle: &mut dyn Oracle,
    ) -> Option<Vec<(TransactionId, Outcome)>> {
        let mut ended = Vec::new();
        ended.try_reserve(self.txs.len().min(most)).ok()?;
        let xids = self.txs.xids();
        ended.extend(
            xids.filter(|&xid| before.is_none_or(|before| precedes(xid, before)))
                .skip(pass)
                .take(most)
                .filter_map(|xid| Some((xid, Outcome::of(oracle.xid_status(xid))?))),
        );
        Some(ended)
    }

    /// Settle what is still undecided of transactions that have ended.
    pub fn settle_ended(&mut self, ended: impl Iterator<Item = (TransactionId, Outcome)>) {
        ended.for_each(|(xid, outcome)| self.settle_transaction(xid, outcome));
    }

    fn settle_transaction(&mut self, xid: TransactionId, outcome: Outcome) {
        let Some(touches) = self.txs.take(xid, &mut self.mem) else {
            return;
        };
        touches
            .iter()
            .for_each(|&touch| self.settle_range(touch, xid, outcome));
    }

    /// What a transaction had undecided in a range is decided: settle it and
    /// count, with one look-up of the range.
    #[inline]
    fn settle_range(&mut self, touch: Touch, xid: TransactionId, outcome: Outcome) {
        let Touch { rel: idx, rangeno } = touch;
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        let Some(range) = rel.ranges.get_mut(rangeno) else {
            return;
        };
        self.saving.changed(range, idx, rangeno);
        let Ok(updated) = range.resolve(xid, outcome, &mut self.mem) else {
            return self.degrade(idx);
        };
        let changed = range.changed();
        if outcome == Outcome::Unknown {
            self.age_garbage(idx, changed.0.into());
            self.give_up_held(idx, rangeno);
            return self.show(idx, rangeno);
        }
        self.range_ended(touch, changed, (xid, outcome, updated));
    }

    /// A transaction has ended, of whose deletions `updated` were updates, and
    /// a range was changed by that: count it, and have it shown.
    #[inline]
    pub(crate) fn range_ended(
        &mut self,
        Touch { rel: idx, rangeno }: Touch,
        (delta, wait): (i32, bool),
        (xid, outcome, updated): (TransactionId, Outcome, u16),
    ) {
        if delta != 0
            && let Some(rel) = self.rels.get_mut(idx)
        {
            rel.garbage_ended(delta, xid, outcome, updated);
            if !rel.count_waits {
                self.show_counters_of(idx);
            }
        }
        if wait {
            self.show_later(idx, rangeno);
        }
    }
}

fn outcome(committed: bool) -> Outcome {
    match committed {
        true => Outcome::Committed,
        false => Outcome::Aborted,
    }
}

impl<R> Relation<R> {
    /// There are `delta` more dead tuples by the end of a transaction, of which
    /// `updated` were updated.
    #[inline(always)]
    pub(crate) fn garbage_ended(
        &mut self,
        delta: i32,
        xid: TransactionId,
        outcome: Outcome,
        updated: u16,
    ) {
        let committed = outcome == Outcome::Committed;
        // What an aborted transaction inserted may go at once.
        self.horizon
            .changed_by(delta.into(), if committed { xid } else { 0 });
        if let Ok(n @ 1..) = u64::try_from(delta) {
            self.counted.counters.ended(n, committed, updated);
        }
    }
}
