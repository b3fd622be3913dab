//! How old the garbage of a relation is: which of it a vacuum may remove.
//!
//! A dead tuple may go when the transaction that deleted it is older than
//! every snapshot's horizon; one whose insertion aborted may go at once. Per
//! relation the dead tuples are counted in buckets by deleting transaction,
//! narrow for young ones and wider for old ones.
//!
//! The counts err to the careful side. A tuple never counts as older than it
//! is: a bucket is as young as its youngest. Removals take from the oldest,
//! because only what is old enough is ever removed. How old is what pages and
//! saved states tell of nobody knows; only that it is no younger than the WAL read
//! until then. It has a bucket of its own, which counts as young as that.

use std::hint::select_unpredictable;

use walker_wal::TransactionId;

use crate::Sink;
use crate::ledger::Ledger;
use crate::xact::{precedes, special_xid};

/// Buckets of a relation.
pub const HORIZON_BUCKETS: usize = 16;
/// The bucket of those whose age is not known: its transaction is the youngest
/// that may have deleted one of them.
pub const HORIZON_UNKNOWN: usize = HORIZON_BUCKETS - 1;
/// The others.
const AGED: usize = HORIZON_UNKNOWN;
/// The youngest bucket spans so many transactions before a new one begins.
const YOUNG_SPAN: u32 = 256;

/// Dead tuples by deleting transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HorizonBucket {
    /// The youngest deleting transaction among them; 0 for tuples that may go
    /// whatever the horizon is.
    pub xid: TransactionId,
    /// How many.
    pub count: u32,
}

/// The buckets of a relation: first the one that may go at once, then from the
/// oldest to the youngest; last the one of unknown age.
#[derive(Clone, Default)]
#[repr(C)]
pub(crate) struct Horizon {
    // Last is what every change looks at; see `Relation`.
    buckets: [HorizonBucket; HORIZON_BUCKETS],
    /// Aged buckets in use behind the first.
    used: u8,
    /// All aged buckets before this one are empty.
    oldest: u8,
    /// Buckets that changed since they were shown, a bit for each.
    changed: u16,
    /// The first transaction of the youngest bucket.
    young_from: TransactionId,
    /// What came lately and is in no bucket yet: tuples that may go at once, and
    /// tuples of the youngest bucket.
    fresh: [u32; 2],
    /// The youngest deleting transaction of the latter, counted from the first
    /// one of the bucket.
    fresh_age: u32,
}

impl Horizon {
    pub(crate) fn buckets(&mut self) -> &[HorizonBucket; HORIZON_BUCKETS] {
        self.settle();
        &self.buckets
    }

    /// The buckets that changed since this was asked last, with their numbers.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (usize, HorizonBucket)> {
        self.settle();
        let mut changed = std::mem::take(&mut self.changed);
        std::iter::from_fn(move || {
            let i = changed.trailing_zeros() as usize;
            let bucket = *self.buckets.get(i)?;
            changed &= changed - 1;
            Some((i, bucket))
        })
    }

    /// There are `delta` more dead tuples, by the end of transaction `cause`;
    /// see [`Horizon::add`].
    #[inline]
    pub(crate) fn changed_by(&mut self, delta: i64, cause: TransactionId) {
        match u64::try_from(delta) {
            Ok(n) => self.add(cause, u32::try_from(n).unwrap_or(u32::MAX)),
            Err(_) => self.remove(delta.unsigned_abs()),
        }
    }

    /// There are `delta` more dead tuples, and `youngest` is no older than any
    /// transaction that deleted one of them.
    pub(crate) fn learned(&mut self, delta: i64, youngest: TransactionId) {
        let Ok(n) = u64::try_from(delta) else {
            return self.remove(delta.unsigned_abs());
        };
        let bucket = &mut self.buckets[HORIZON_UNKNOWN];
        if bucket.count == 0 || precedes(bucket.xid, youngest) {
            bucket.xid = youngest;
        }
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        bucket.count = bucket.count.saturating_add(n);
        self.changed |= 1 << HORIZON_UNKNOWN;
    }

    /// `n` more dead tuples, deleted by `xid`; 0 for aborted ones.
    #[inline]
    fn add(&mut self, xid: TransactionId, n: u32) {
        let age = xid.wrapping_sub(self.young_from);
        let young = (self.used > 0) & (age < YOUNG_SPAN);
        if (xid != 0) & !young {
            return self.add_otherwise(xid, n);
        }
        // Whether it committed, and is younger than others, nobody can foresee,
        // so there is no branch.
        self.fresh_age = self.fresh_age.max(select_unpredictable(xid == 0, 0, age));
        if let Some(fresh) = self.fresh.get_mut(usize::from(xid != 0)) {
            *fresh = fresh.saturating_add(n);
        }
    }

    /// The same of a transaction that is not of the youngest bucket.
    #[inline(never)]
    fn add_otherwise(&mut self, xid: TransactionId, n: u32) {
        self.settle();
        let place = self.place_for(xid);
        self.put(place, n);
    }

    /// Have everything in its bucket.
    #[inline]
    fn settle(&mut self) {
        let [at_once, young] = std::mem::take(&mut self.fresh);
        let age = std::mem::take(&mut self.fresh_age);
        if at_once > 0 {
            self.put(0, at_once);
        }
        if young > 0 {
            if let Some(youngest) = self.buckets.get_mut(usize::from(self.used)) {
                let before = youngest.xid.wrapping_sub(self.young_from);
                youngest.xid = self.young_from.wrapping_add(age.max(before));
            }
            self.put(self.used, young);
        }
    }

    #[inline]
    fn put(&mut self, place: u8, n: u32) {
        if let Some(bucket) = self.buckets.get_mut(usize::from(place)) {
            bucket.count = bucket.count.saturating_add(n);
            self.changed |= 1 << place;
            self.oldest = self.oldest.min(place);
        }
    }

    /// The bucket a transaction's tuples go to: never an older one.
    fn place_for(&mut self, xid: TransactionId) -> u8 {
        let youngest = self.buckets.get(usize::from(self.used));
        if self.used > 0 && youngest.is_some_and(|b| !precedes(b.xid, xid)) {
            let mut behind = self.buckets.iter().take(usize::from(self.used)).skip(1);
            let at = behind.position(|b| !precedes(b.xid, xid));
            return at.map_or(self.used, |at| at as u8 + 1);
        }
        if self.used == 0 || xid.wrapping_sub(self.young_from) >= YOUNG_SPAN {
            if usize::from(self.used) + 1 == AGED {
                self.merge();
            }
            self.used += 1;
            self.young_from = xid;
        }
        if let Some(bucket) = self.buckets.get_mut(usize::from(self.used)) {
            bucket.xid = xid;
        }
        self.used
    }

    /// Make room: merge the two neighbours whose union is narrowest for its
    /// age, so that widths grow with age.
    fn merge(&mut self) {
        let youngest = self.buckets[AGED - 1].xid;
        // Where relations are many, every other change comes here: so fractions
        // are compared without a division.
        let union = |i: usize| {
            let (before, last) = (self.buckets[(i - 1).max(1)].xid, self.buckets[i + 1].xid);
            let age = u64::from(youngest.wrapping_sub(last)) + 1;
            (i, u64::from(last.wrapping_sub(before)), age)
        };
        let narrower = |a: (usize, u64, u64), b: (usize, u64, u64)| {
            // Widths have 32 bits, and ages are 2^32 at most.
            if b.1 * a.2 < a.1 * b.2 { b } else { a }
        };
        let (at, ..) = (2..AGED - 1).map(union).fold(union(1), narrower);
        self.buckets[at + 1].count = self.buckets[at + 1]
            .count
            .saturating_add(self.buckets[at].count);
        self.buckets.copy_within(at + 1..AGED, at);
        self.oldest = self.oldest.saturating_sub(1);
        self.changed = u16::MAX;
        self.buckets[AGED - 1] = HorizonBucket::default();
        self.used -= 1;
    }

    /// `n` dead tuples are gone.
    #[inline]
    fn remove(&mut self, mut n: u64) {
        self.settle();
        n -= self.take(0, n);
        loop {
            if self.oldest > 0 && !self.precedes_unknown(self.oldest) {
                n -= self.take(HORIZON_UNKNOWN, n);
            }
            n -= self.take(self.oldest.into(), n);
            if n == 0 || self.oldest >= self.used {
                break;
            }
            self.oldest += 1;
        }
        self.take(HORIZON_UNKNOWN, n);
        let youngest = self.buckets.get(usize::from(self.used));
        if youngest.is_some_and(|bucket| bucket.count == 0) {
            self.begin_anew_if_empty();
        }
    }

    /// Whether all of an aged bucket are older than the youngest of unknown age may
    /// be.
    #[inline]
    fn precedes_unknown(&self, place: u8) -> bool {
        let unknown = self.buckets[HORIZON_UNKNOWN].xid;
        let aged = self.buckets.get(usize::from(place));
        aged.is_some_and(|bucket| precedes(bucket.xid, unknown))
    }

    /// Take so many out of a bucket, or all there are; how many.
    #[inline]
    fn take(&mut self, place: usize, n: u64) -> u64 {
        let Some(bucket) = self.buckets.get_mut(place) else {
            return 0;
        };
        let taken = u32::try_from(n).map_or(bucket.count, |n| n.min(bucket.count));
        bucket.count -= taken;
        self.changed |= u16::from(taken > 0) << place;
        taken.into()
    }

    #[inline(never)]
    fn begin_anew_if_empty(&mut self) {
        let mut behind = self.buckets.iter().take(usize::from(self.used) + 1).skip(1);
        if behind.all(|bucket| bucket.count == 0) {
            (self.used, self.oldest) = (0, 0);
        }
    }
}

impl<S: Sink> Ledger<S> {
    /// The next transaction ID of the server: everything read so far is older. For
    /// what a loaded state or an image says of no transaction in particular.
    pub fn set_next_xid(&mut self, xid: TransactionId) {
        // One that is none, behind the end of the numbers, is older than the next
        // one as well.
        self.youngest = xid.wrapping_sub(1);
    }

    /// A record of this transaction was read.
    #[inline]
    pub(crate) fn saw_xid(&mut self, xid: TransactionId) {
        // It is the youngest, or a little older; which of both, nobody can
        // foresee, so there is no branch.
        let youngest = self.youngest;
        let younger = xid.wrapping_sub(youngest) as i32 > 0;
        let normal = special_xid(xid).is_none();
        let first = special_xid(youngest).is_some();
        self.youngest = match normal & (younger | first) {
            true => xid,
            false => youngest,
        };
    }

    /// The number of dead tuples of a relation changed, for no reason that is
    /// known.
    pub(crate) fn age_garbage(&mut self, idx: u32, delta: i64) {
        let youngest = self.youngest;
        if delta != 0
            && let Some(rel) = self.rels.get_mut(idx)
        {
            rel.horizon.learned(delta, youngest);
            if !rel.count_waits {
                self.show_counters_of(idx);
            }
        }
    }
}

#[cfg(test)]
mod tests;
