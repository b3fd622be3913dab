//! What happened to a relation, counted: how its garbage came to be, and how
//! it went.
//!
//! The counters only grow. They are part of the state that is saved, so each
//! event counts once, whatever crashes; they begin anew with a new file of the
//! relation (TRUNCATE, VACUUM FULL) and when WAL was lost. What is learned of
//! a block, from an image or a base scan, is no event.
//!
//! An increment costs an addition; what changed is shown when the caller says
//! what time it is ([`Ledger::publish`]), after some hundred records.

use serde::{Deserialize, Serialize};

use crate::Sink;
use crate::ledger::Ledger;

/// A relation's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Tuples that died by DELETE.
    pub dead_by_delete: u64,
    /// Tuples that died by UPDATE.
    pub dead_by_update: u64,
    /// Tuples that were dead when their insertion was rolled back.
    pub dead_by_abort: u64,
    /// Dead tuples removed by pruning on access; with servers that do not
    /// tell, by any pruning.
    pub pruned: u64,
    /// Dead tuples removed by VACUUM.
    pub vacuumed: u64,
    /// HOT updates, committed or not.
    pub hot_updates: u64,
    /// Updates that were not HOT.
    pub other_updates: u64,
    /// Blocks that lost their all-visible bit.
    pub visible_lost: u64,
}

impl Counters {
    /// Whether no sum of theirs can overflow. No server lives that long.
    pub(crate) fn plausible(&self) -> bool {
        let all = [
            self.dead_by_delete,
            self.dead_by_update,
            self.dead_by_abort,
            self.pruned,
            self.vacuumed,
            self.hot_updates,
            self.other_updates,
            self.visible_lost,
        ];
        all.iter().all(|n| *n < 1 << 60)
    }

    /// So many dead tuples more by the end of a transaction, of which
    /// `updated` were updated if it committed.
    #[inline]
    pub(crate) fn ended(&mut self, n: u64, committed: bool, updated: u16) {
        let updated = u64::from(updated).min(n);
        match committed {
            false => self.dead_by_abort += n,
            true => {
                self.dead_by_update += updated;
                self.dead_by_delete += n - updated;
            }
        }
    }

    /// So many dead tuples more (or less) by a record, for this reason.
    #[inline]
    pub(crate) fn changed(&mut self, why: Why, delta: i32) {
        let n = u64::from(delta.unsigned_abs());
        match why {
            Why::TakenBack if delta > 0 => self.dead_by_abort += n,
            Why::Pruned if delta < 0 => self.pruned += n,
            Why::Vacuumed if delta < 0 => self.vacuumed += n,
            _ => {}
        }
    }

    /// What others have counted of changes: see `Change::count`.
    #[inline]
    pub(crate) fn add_counted(&mut self, other: &Counters) {
        self.hot_updates += other.hot_updates;
        self.other_updates += other.other_updates;
        self.visible_lost += other.visible_lost;
    }

    /// Dead tuples that came, for whatever reason.
    pub fn created(&self) -> u64 {
        self.dead_by_delete + self.dead_by_update + self.dead_by_abort
    }

    /// Dead tuples that went, for whatever reason.
    pub fn removed(&self) -> u64 {
        self.pruned + self.vacuumed
    }
}

/// The periods over which rates are kept, in seconds.
pub const RATE_PERIODS: [f64; 2] = [300.0, 3600.0];

/// How fast garbage comes and goes, weighted by age as load averages are.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// When counting began, in microseconds of any epoch; 0 before.
    pub since: i64,
    /// When these rates were right.
    pub at: i64,
    /// Dead tuples created per second, by period.
    pub created: [f64; 2],
    /// Dead tuples removed per second, by period.
    pub removed: [f64; 2],
}

impl Rates {
    /// So many more were created and removed until `now`.
    pub fn add(&mut self, now: i64, created: u64, removed: u64) {
        if self.since == 0 {
            (self.since, self.at) = (now, now);
        }
        for (i, period) in RATE_PERIODS.into_iter().enumerate() {
            let keep = (-seconds(self.at, now) / period).exp();
            self.created[i] = self.created[i] * keep + created as f64 / period;
            self.removed[i] = self.removed[i] * keep + removed as f64 / period;
        }
        self.at = self.at.max(now);
    }

    /// Tuples created and removed per second as of `now`, by period. A period
    /// that has not passed since counting began counts as long as it was.
    pub fn as_of(&self, now: i64) -> [(f64, f64); 2] {
        let mut rates = [(0.0, 0.0); 2];
        for (i, period) in RATE_PERIODS.into_iter().enumerate() {
            let keep = (-seconds(self.at, now) / period).exp();
            let weight = 1.0 - (-seconds(self.since, now).max(1.0) / period).exp();
            rates[i] = (
                self.created[i] * keep / weight,
                self.removed[i] * keep / weight,
            );
        }
        rates
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    to.saturating_sub(from).max(0) as f64 / 1e6
}

/// A relation's counters with what is needed to show them.
#[derive(Clone, Default)]
#[repr(C)]
pub(crate) struct Counted {
    pub counters: Counters,
    /// Created and removed when the rates were reckoned.
    pub reckoned: (u64, u64),
    pub rates: Rates,
}

/// Why dead tuples come or go while a record is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Why {
    /// Because we learn of them.
    #[default]
    Learned,
    /// A speculative insertion was taken back.
    TakenBack,
    Pruned,
    Vacuumed,
}

impl<S: Sink> Ledger<S> {
    /// Count something of a relation.
    #[inline]
    pub(crate) fn count(&mut self, idx: u32, what: impl FnOnce(&mut Counters)) {
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        what(&mut rel.counted.counters);
        if !rel.count_waits {
            self.show_counters_of(idx);
        }
    }

    /// The counters are to be shown. If there is no memory to remember that,
    /// the next event is tried.
    pub(crate) fn show_counters_of(&mut self, idx: u32) {
        if self.counted.try_reserve(1).is_ok()
            && let Some(rel) = self.rels.get_mut(idx)
        {
            rel.count_waits = true;
            self.counted.push(idx);
        }
    }

    /// Show what the records until now have changed: a caller does this after
    /// some hundred of them or more, and before anybody may believe that they
    /// were applied. `now` is the time in microseconds of any epoch; `None`
    /// while old WAL is read, which says nothing of the rates of now.
    pub fn publish(&mut self, now: Option<i64>) {
        self.note_recent();
        self.show_waiting();
        while let Some(idx) = self.counted.pop() {
            let Some(rel) = self.rels.get_mut(idx) else {
                continue;
            };
            rel.count_waits = false;
            let counted = &mut rel.counted;
            let sum = (counted.counters.created(), counted.counters.removed());
            let before = std::mem::replace(&mut counted.reckoned, sum);
            if let Some(now) = now {
                counted.rates.add(
                    now,
                    sum.0.saturating_sub(before.0),
                    sum.1.saturating_sub(before.1),
                );
            }
            if let Some(place) = rel.sink {
                for (i, bucket) in rel.horizon.take_changed() {
                    self.sink.publish_bucket(place, i, bucket);
                }
                self.sink.publish_counters(place, &counted.counters);
                if now.is_some() {
                    self.sink.publish_rates(place, &counted.rates);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_steady_rate_is_seen_from_the_start_and_fades() {
        let mut rates = Rates::default();
        let mut now = SECOND;
        rates.add(now, 0, 0);
        for n in 1..=7200 {
            now += SECOND;
            rates.add(now, 10, 4);
            if n > 2 {
                for (created, removed) in rates.as_of(now) {
                    assert!((created - 10.0).abs() < 0.5, "{created} after {n} s");
                    assert!((removed - 4.0).abs() < 0.2, "{removed} after {n} s");
                }
            }
        }
        let [(short, _), (long, _)] = rates.as_of(now + 600 * SECOND);
        assert!(short < 1.5 && long > 7.0, "{short} {long}");
        // A clock that goes back does no harm.
        rates.add(now - SECOND, 1, 1);
        assert!(rates.as_of(now - 5 * SECOND)[0].0.is_finite());
    }
}
