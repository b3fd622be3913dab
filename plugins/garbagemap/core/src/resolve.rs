//! The end of transactions.

use walker_wal::TransactionId;

use crate::Sink;
use crate::ledger::Ledger;
use crate::xact::{Oracle, Outcome, precedes};

impl<S: Sink> Ledger<S> {
    /// A transaction and its children have ended, says the WAL.
    pub(crate) fn finish(&mut self, xids: impl Iterator<Item = TransactionId>, committed: bool) {
        let outcome = if committed {
            Outcome::Committed
        } else {
            Outcome::Aborted
        };
        for xid in xids {
            self.ended.record(xid, committed);
            self.settle_transaction(xid, outcome);
        }
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
        let mut lost = Vec::new();
        if lost.try_reserve(self.txs.len()).is_err() {
            return; // the next such record comes in 15 seconds
        }
        lost.extend(
            self.txs
                .xids()
                .filter(|&xid| oldest_running.is_none_or(|old| precedes(xid, old))),
        );
        for xid in lost {
            if let Some(outcome) = Outcome::of(oracle.xid_status(xid)) {
                self.settle_transaction(xid, outcome);
            }
        }
    }

    fn settle_transaction(&mut self, xid: TransactionId, outcome: Outcome) {
        let Some(touches) = self.txs.take(xid, &mut self.mem) else {
            return;
        };
        for touch in touches {
            let Some(rel) = self.rels.get_mut(touch.rel) else {
                continue;
            };
            let Some(range) = rel.ranges.get_mut(&touch.rangeno) else {
                continue;
            };
            self.saving.changed(range, touch.rel, touch.rangeno);
            let Ok(updated) = range.resolve(xid, outcome, &mut self.mem) else {
                self.degrade(touch.rel);
                continue;
            };
            if outcome == Outcome::Unknown {
                self.give_up_held(touch.rel, touch.rangeno);
            }
            let cause = match outcome {
                Outcome::Committed => Some(xid),
                Outcome::Aborted => Some(0),
                Outcome::Unknown => None,
            };
            self.show_because(touch.rel, touch.rangeno, cause, updated);
        }
    }
}
