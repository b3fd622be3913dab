//! What happens when memory is short.
//!
//! First the counts of live tuples go, and the memory of ranges that there is
//! nothing else to keep of, then whole relations, the coldest first: those whose
//! last record is the oldest. A relation that was let go is unknown, and becomes
//! known again by page images, new pages and all-visible records, or a base scan.

use crate::Sink;
use crate::ledger::Ledger;

impl<S: Sink> Ledger<S> {
    /// Keep within the limit. Called after each record.
    #[inline]
    pub(crate) fn enforce_limit(&mut self) {
        if self.mem.used() > self.config.max_memory {
            self.shrink();
        }
    }

    /// The limit, in bytes.
    pub fn max_memory(&self) -> usize {
        self.config.max_memory
    }

    /// Change the limit.
    pub fn set_max_memory(&mut self, bytes: usize) {
        if bytes == self.config.max_memory {
            return;
        }
        self.config.max_memory = bytes;
        self.enforce_limit();
    }

    #[cold]
    fn shrink(&mut self) {
        // So that nothing waits of what goes.
        self.note_all();
        self.show_waiting();
        // Some way below the limit, so that this is rare.
        let target = self.config.max_memory / 8 * 7;
        let mut order = Vec::new();
        if order.try_reserve_exact(self.rels.len()).is_ok() {
            order.extend(self.rels.iter().map(|(idx, rel)| (rel.last_touch, idx)));
            order.sort_unstable();
        }
        self.until(&order, target, Self::drop_counts);
        if self.mem.used() > target {
            self.forget_stale_touches();
        }
        self.until(&order, target, Self::let_go);
        if self.mem.used() > target {
            self.forget_stale_touches();
        }
        if self.mem.used() > self.config.max_memory {
            self.mark_all_unknown(); // the list above could not be had
        }
    }

    fn until(&mut self, order: &[(u64, u32)], target: usize, step: impl Fn(&mut Self, u32)) {
        for &(_, idx) in order {
            if self.mem.used() <= target {
                return;
            }
            step(self, idx);
        }
    }

    fn drop_counts(&mut self, idx: u32) {
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        for (rangeno, range) in rel.ranges.iter_mut() {
            if !range.normal.is_tracked() {
                continue;
            }
            range.normal.drop_counts(&mut self.mem);
            if let Some(counts) = range.shown.drop_tuples()
                && let Some(place) = rel.sink
            {
                let shown = self.sink.publish(place, rangeno, counts);
                rel.unpublished |= !shown;
                self.unpublished |= !shown;
            }
        }
        self.stats.ranges_cleaned += rel.clean_out(self.geo, &mut self.mem);
    }

    /// The whole entry: among many relations it is the larger part, and would
    /// cost those that are in use their ranges.
    fn let_go(&mut self, idx: u32) {
        self.stats.degradations += 1;
        self.drop_slot(idx);
    }

    /// Transactions remember ranges that are gone.
    pub(crate) fn forget_stale_touches(&mut self) {
        let rels = &self.rels;
        self.txs.retain(
            |xid, touch| {
                rels.get(touch.rel)
                    .and_then(|rel| rel.ranges.get(touch.rangeno))
                    .is_some_and(|range| range.pending.has(xid))
            },
            &mut self.mem,
        );
    }

    /// Show relations again that the sink had no room for. Called now and
    /// then, as room may have become free.
    pub(crate) fn republish(&mut self) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        let mut missing = 0;
        for idx in self.rels.indexes() {
            if self.rels.get(idx).is_some_and(|rel| rel.unpublished) {
                missing += u64::from(!self.publish_relation(idx));
            }
        }
        self.stats.unpublished_relations = missing;
        self.unpublished = missing > 0;
    }

    /// Show all of a relation anew. False if the sink has no room for it.
    pub(crate) fn publish_relation(&mut self, idx: u32) -> bool {
        self.show_waiting();
        let Some(rel) = self.rels.get_mut(idx) else {
            return true;
        };
        // A place that overflowed once stays so.
        if let Some(place) = rel.sink.take() {
            self.sink.close(place);
        }
        let Some(place) = self.sink.open(rel.locator) else {
            return false;
        };
        rel.sink = Some(place);
        let all = rel
            .ranges
            .iter()
            .chain(rel.ranges.iter_clean())
            .all(|(rangeno, range)| match range.shown.counts() {
                Some(counts) => self.sink.publish(place, rangeno, counts),
                None => true,
            });
        for (index, bucket) in rel.horizon.buckets().iter().enumerate() {
            self.sink.publish_bucket(place, index, *bucket);
        }
        self.sink.publish_counters(place, &rel.counted.counters);
        self.sink.publish_rates(place, &rel.counted.rates);
        // Last: a range that is not shown yet would read as known and empty.
        self.sink.set_known_from(place, rel.known_from);
        rel.unpublished = !all;
        all
    }
}
