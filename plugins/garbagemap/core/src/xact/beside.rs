//! The transactions that found their place in the table taken.
//!
//! One that has touched little, as subtransactions have, is in a list that is in
//! order; who does not fit there is in a map. Invariant: it is in one of the two.

use walker_wal::TransactionId;

use super::in_order::{Added, InOrder, MOST};
use super::running::{TX_BYTES, Touch, Touches, retain_touches};
use crate::mem::{Map, Mem, NoMemory};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Beside {
    in_order: InOrder,
    map: Map<TransactionId, Touches>,
    len: usize,
}

impl Beside {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, xid: TransactionId) -> bool {
        self.in_order.contains(xid) || !self.map.is_empty() && self.map.contains_key(&xid)
    }

    /// Whether some may have touched more than a little.
    #[inline]
    pub(super) fn may_have_large(&self) -> bool {
        !self.map.is_empty()
    }

    /// Whether the transaction has: more than the list takes.
    #[inline]
    pub(super) fn is_large(&self, xid: TransactionId) -> bool {
        let large = |touches: &Touches| touches.len() > MOST;
        !self.map.is_empty() && self.map.get(&xid).is_some_and(large)
    }

    pub(super) fn xids(&self) -> impl Iterator<Item = TransactionId> {
        self.in_order.xids().chain(self.map.keys().copied())
    }

    /// A transaction that is not in the table has touched something.
    pub(super) fn touch(
        &mut self,
        xid: TransactionId,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        if !self.map.is_empty()
            && let Some(touches) = self.map.get_mut(&xid)
        {
            return touches.push(touch, mem);
        }
        match self.in_order.add(xid, touch, mem)? {
            Added::First => self.len += 1,
            Added::More => {}
            Added::No => {
                self.put(xid, Touches::default(), touch, mem)?;
                self.len += 1;
            }
            Added::TooMany => {
                // Nothing is missing in between, whatever fails.
                self.put(xid, self.in_order.touches(xid), touch, mem)?;
                self.in_order.take(xid, mem);
            }
        }
        Ok(())
    }

    /// Put what a transaction has touched into the map, with one more.
    fn put(
        &mut self,
        xid: TransactionId,
        mut touches: Touches,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        self.map.try_reserve(1)?;
        touches.push(touch, mem)?;
        self.map.insert(xid, touches);
        mem.grew(TX_BYTES);
        Ok(())
    }

    /// The transaction has ended, if it is here.
    #[inline]
    pub(super) fn take(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Touches> {
        let touches = match self.in_order.take(xid, mem) {
            None if self.map.is_empty() => return None,
            None => {
                let touches = self.map.remove(&xid)?;
                mem.shrank(TX_BYTES + touches.heap_bytes());
                touches
            }
            Some(touches) => touches,
        };
        self.len -= 1;
        Some(touches)
    }

    /// Forget the touches of which `keep` says false, and the transactions that
    /// have none left.
    pub(super) fn retain(
        &mut self,
        mut keep: impl FnMut(TransactionId, Touch) -> bool,
        mem: &mut Mem,
    ) {
        self.map.retain(|&xid, touches| {
            let stays = retain_touches(touches, |touch| keep(xid, touch), mem);
            self.len -= usize::from(!stays);
            stays
        });
        self.len -= self.in_order.retain(keep, mem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who comes to more than the list takes is large, in whatever order.
    #[test]
    fn much_is_large() {
        let (mut beside, mut mem) = (Beside::default(), Mem::default());
        let touch = |rangeno| Touch { rel: 0, rangeno };
        for xid in 1_000..2_000 {
            beside.touch(xid, touch(1), &mut mem).unwrap();
            beside.touch(xid, touch(2), &mut mem).unwrap();
        }
        assert!(!beside.may_have_large());
        // It is far behind the others, and has touched one.
        beside.touch(900, touch(1), &mut mem).unwrap();
        assert!(beside.may_have_large() && !beside.is_large(900));
        beside.touch(1_500, touch(3), &mut mem).unwrap();
        assert!(beside.is_large(1_500) && !beside.is_large(1_501));
        assert_eq!(beside.len(), 1_001);
        let touches = beside.take(1_500, &mut mem).unwrap();
        assert!(touches.iter().map(|t| t.rangeno).eq([1, 2, 3]));
        assert!(!beside.is_large(1_500) && !beside.contains(1_500));
        for xid in 900..2_000 {
            beside.take(xid, &mut mem);
        }
        assert!(beside.is_empty() && mem.used() == 0);
    }
}
