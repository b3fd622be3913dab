//! The transactions that have not ended, and the ranges they touched.
//!
//! Transactions that run at the same time have numbers close to each other. So
//! a table indexed by the last bits of the number holds nearly all of them,
//! and every change of a tuple, every end and every look at a tuple's status
//! is an index and a comparison. Who finds its place taken is beside the table
//! ([`Beside`]). Invariant: a transaction is in one of the two.

use walker_wal::TransactionId;

use super::beside::Beside;
use crate::few::Few;
use crate::mem::{Mem, NoMemory};

/// Where a transaction had undecided events. They may be gone, with the range,
/// the relation, or for another relation in its slot. That does no harm: a
/// group is settled by its xid, and what else is found is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Touch {
    pub rel: u32,
    pub rangeno: u32,
}

pub(super) type Touches = Few<Touch, 4>;

/// Bytes of an entry in the table, or in the map beside it, about: key, value, and
/// free buckets.
pub(super) const TX_BYTES: usize = (size_of::<TransactionId>() + size_of::<Touches>()) * 3 / 2;

/// Forget those of a transaction's touches of which `keep` says false. Whether it
/// has any left; else it is not accounted for any more.
pub(super) fn retain_touches(
    touches: &mut Touches,
    mut keep: impl FnMut(Touch) -> bool,
    mem: &mut Mem,
) -> bool {
    touches.retain(|touch| keep(*touch), mem);
    let stays = !touches.is_empty();
    if !stays {
        mem.shrank(TX_BYTES + touches.heap_bytes());
    }
    stays
}

/// Places of the table.
const NEAR: usize = 256;

/// A place of the table, taken by the transaction that has it in `xids`.
#[derive(Default)]
struct Place {
    /// See [`Transactions::is_large`].
    large: bool,
    touches: Touches,
}

/// The undecided transactions and the ranges they touched.
#[derive(Default)]
pub(crate) struct Transactions {
    /// Who has which place, 0 where nobody has: most of those who end have none,
    /// and all of this is at hand always. As long as `near`.
    xids: Vec<TransactionId>,
    /// Empty before the first transaction, and if there is no memory for it.
    near: Vec<Place>,
    /// Places that are taken.
    taken: usize,
    beside: Beside,
    /// Large ones in the table.
    large: usize,
}

impl Transactions {
    /// Whether the transaction is in the table.
    #[inline]
    fn is_near(&self, xid: TransactionId) -> bool {
        let own = self.xids.get(xid as usize % NEAR);
        own.is_some_and(|own| *own == xid && xid != 0)
    }

    /// Its place there.
    #[inline]
    fn near_mut(&mut self, xid: TransactionId) -> Option<&mut Place> {
        match self.is_near(xid) {
            true => self.near.get_mut(xid as usize % NEAR),
            false => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.taken + self.beside.len()
    }

    #[inline]
    pub(crate) fn contains(&self, xid: TransactionId) -> bool {
        self.is_near(xid) || !self.beside.is_empty() && self.beside.contains(xid)
    }

    /// Whether it pays not to let its changes wait for its end in the list: it
    /// was declared so, or it is beside the table and has touched more than a little.
    #[inline]
    pub(crate) fn is_large(&self, xid: TransactionId) -> bool {
        let place = self.near.get(xid as usize % NEAR);
        self.is_near(xid) && place.is_some_and(|place| place.large) || self.beside.is_large(xid)
    }

    /// Whether there may be one of those.
    #[inline]
    pub(crate) fn has_large(&self) -> bool {
        self.large != 0 || self.beside.may_have_large()
    }

    /// It has so many changes that no more of them should wait in the list. Has
    /// no effect beside the table.
    pub(crate) fn set_large(&mut self, xid: TransactionId) {
        if let Some(place) = self.near_mut(xid) {
            let more = !std::mem::replace(&mut place.large, true);
            self.large += usize::from(more);
        }
    }

    pub(crate) fn xids(&self) -> impl Iterator<Item = TransactionId> {
        let near = self.xids.iter().copied().filter(|&xid| xid != 0);
        near.chain(self.beside.xids())
    }

    /// A transaction has a new group of events in a range.
    #[inline]
    pub(crate) fn touch(
        &mut self,
        xid: TransactionId,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        match self.near_mut(xid) {
            Some(place) => place.touches.push(touch, mem),
            None => self.touch_anew(xid, touch, mem),
        }
    }

    /// It has touched nothing yet, or is not in the table.
    fn touch_anew(
        &mut self,
        xid: TransactionId,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        if self.near.is_empty()
            && self.near.try_reserve_exact(NEAR).is_ok()
            && self.xids.try_reserve_exact(NEAR).is_ok()
        {
            self.near.resize_with(NEAR, Place::default);
            self.xids.resize(NEAR, 0);
        }
        let own = xid as usize % NEAR;
        match (self.near.get_mut(own), self.xids.get_mut(own)) {
            (Some(place), Some(own)) if *own == 0 && xid != 0 && !self.beside.contains(xid) => {
                *place = Place::default();
                place.touches.push(touch, mem)?;
                *own = xid;
                self.taken += 1;
                mem.grew(TX_BYTES);
                Ok(())
            }
            _ => self.beside.touch(xid, touch, mem),
        }
    }

    /// The transaction has ended.
    #[inline]
    pub(crate) fn take(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Touches> {
        let touches = match self.near_mut(xid).map(std::mem::take) {
            Some(place) => {
                if let Some(own) = self.xids.get_mut(xid as usize % NEAR) {
                    *own = 0;
                }
                self.large -= usize::from(place.large);
                place.touches
            }
            None if self.beside.is_empty() => return None,
            None => return self.beside.take(xid, mem),
        };
        self.taken -= 1;
        mem.shrank(TX_BYTES + touches.heap_bytes());
        Some(touches)
    }

    /// Forget the touches of which `keep` says false, and the transactions
    /// that have none left.
    pub(crate) fn retain(
        &mut self,
        mut keep: impl FnMut(TransactionId, Touch) -> bool,
        mem: &mut Mem,
    ) {
        for (xid, place) in self.xids.iter_mut().zip(&mut self.near) {
            let keep = |touch| keep(*xid, touch);
            if *xid != 0 && !retain_touches(&mut place.touches, keep, mem) {
                self.taken -= 1;
                self.large -= usize::from(place.large);
                *xid = 0;
                *place = Place::default();
            }
        }
        self.beside.retain(keep, mem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn touches_are_accounted_for() {
        let (mut txs, mut mem) = (Transactions::default(), Mem::default());
        for rangeno in 0..100 {
            txs.touch(9, Touch { rel: 0, rangeno }, &mut mem).unwrap();
        }
        txs.touch(10, Touch { rel: 1, rangeno: 0 }, &mut mem)
            .unwrap();
        txs.retain(|_, touch| touch.rel == 0, &mut mem);
        assert!(txs.contains(9) && !txs.contains(10));
        assert_eq!(txs.take(9, &mut mem).unwrap().len(), 100);
        assert_eq!(mem.used(), 0);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Touch(u32, u32),
        Take(u32),
        Retain(u32),
    }

    proptest! {
        /// Also with transactions that share a place of the table.
        #[test]
        fn like_a_map(ops in prop::collection::vec((0..4u32, 0..6u32, 0..3u32, 0..8u32), 0..300)) {
            let (mut txs, mut mem) = (Transactions::default(), Mem::default());
            let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (what, near, far, rangeno) in ops {
                let xid = 3 + near + far * NEAR as u32;
                let op = match what {
                    0 | 1 => Op::Touch(xid, rangeno),
                    2 => Op::Take(xid),
                    _ => Op::Retain(rangeno),
                };
                match op {
                    Op::Touch(xid, rangeno) => {
                        txs.touch(xid, Touch { rel: 0, rangeno }, &mut mem).unwrap();
                        model.entry(xid).or_default().push(rangeno);
                    }
                    Op::Take(xid) => {
                        let taken = txs.take(xid, &mut mem);
                        let sorted = |mut list: Vec<u32>| {
                            list.sort_unstable();
                            list
                        };
                        let taken = taken.map(|t| sorted(t.iter().map(|t| t.rangeno).collect()));
                        prop_assert_eq!(taken, model.remove(&xid).map(sorted));
                    }
                    Op::Retain(not) => {
                        txs.retain(|_, touch| touch.rangeno != not, &mut mem);
                        model.values_mut().for_each(|list| list.retain(|&r| r != not));
                        model.retain(|_, list| !list.is_empty());
                    }
                }
                let mut xids: Vec<u32> = txs.xids().collect();
                xids.sort_unstable();
                prop_assert!(xids.iter().eq(model.keys()));
                prop_assert_eq!(txs.len(), model.len());
                prop_assert!((0..3 + 4 * NEAR as u32).all(|x| txs.contains(x) == model.contains_key(&x)));
            }
            for xid in model.into_keys() {
                txs.take(xid, &mut mem).unwrap();
            }
            prop_assert_eq!((mem.used(), txs.len()), (0, 0));
        }
    }
}
