//! What transactions touched that have touched little, in the order of their
//! numbers.
//!
//! A transaction may have tens of thousands of subtransactions, each with a range
//! or two, which come about in that order and in that order go. So they lie side by
//! side, come at the end or not far from it, and leave their places free until half
//! of all are. Who comes or goes out of order is searched for, which takes steps by
//! the logarithm of how many there are. Numbers that have wrapped around are merely
//! out of order. Invariant: neither the first place nor the last one is free.

use walker_wal::TransactionId;

use super::running::{Touch, Touches};
use crate::mem::{Mem, NoMemory, list_bytes};

/// Touches of a transaction: those of an update to another page.
pub(super) const MOST: usize = 2;
/// No touch: no slot has the number of this relation.
const NONE: Touch = Touch {
    rel: u32::MAX,
    rangeno: 0,
};
/// Fewer places are not worth giving back or putting together.
const WASTE: usize = if cfg!(test) { 8 } else { 1024 };
/// So far from the end is not far.
const BACK: usize = if cfg!(test) { 5 } else { 256 };

/// Free without a touch.
#[derive(Clone, Copy)]
struct Place {
    xid: TransactionId,
    touches: [Touch; MOST],
}

impl Place {
    #[inline]
    fn is_free(&self) -> bool {
        self.touches[0] == NONE
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = Touch> {
        self.touches.into_iter().filter(|&touch| touch != NONE)
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct InOrder {
    places: Vec<Place>,
    /// Where the first one is; before it there is nothing any more.
    first: usize,
    /// Free places behind that.
    free: usize,
    /// Behind the one that went last: mostly it is the next to go.
    next: usize,
}

impl InOrder {
    fn heap_bytes(&self) -> usize {
        list_bytes::<Place>(self.places.capacity())
    }

    /// The transaction's place.
    #[inline]
    fn find(&self, xid: TransactionId) -> Option<usize> {
        let (first, last) = (self.places.get(self.first)?, self.places.last()?);
        if first.xid == xid {
            return Some(self.first);
        }
        if last.xid == xid {
            return Some(self.places.len() - 1);
        }
        match first.xid < xid && xid < last.xid {
            true => self.search(xid),
            false => None,
        }
    }

    /// The same of one in the middle.
    #[inline(never)]
    fn search(&self, xid: TransactionId) -> Option<usize> {
        let is = |at: &usize| {
            let place = self.places.get(*at);
            place.is_some_and(|place| place.xid == xid && !place.is_free())
        };
        let at = Some(self.next).filter(is);
        at.or_else(|| {
            let places = self.places.get(self.first..)?;
            let at = places.binary_search_by_key(&xid, |place| place.xid).ok()?;
            Some(self.first + at).filter(is)
        })
    }

    pub(super) fn contains(&self, xid: TransactionId) -> bool {
        self.find(xid).is_some()
    }

    /// Add a touch of a transaction, if that has none and belongs near the end, or
    /// if it is not one too many.
    pub(super) fn add(
        &mut self,
        xid: TransactionId,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<Added, NoMemory> {
        let at = self.find(xid);
        if let Some(place) = at.and_then(|at| self.places.get_mut(at)) {
            let Some(free) = place.touches.iter_mut().find(|touch| **touch == NONE) else {
                return Ok(Added::TooMany);
            };
            *free = touch;
            return Ok(Added::More);
        }
        if touch == NONE {
            return Ok(Added::No);
        }
        let place = Place {
            xid,
            touches: [touch, NONE],
        };
        // Nearly always it is the last.
        if self.places.last().is_none_or(|last| last.xid < xid) {
            if !self.has_room() {
                self.make_room(mem)?;
            }
            self.places.push(place);
            return Ok(Added::First);
        }
        match self.insert(place, mem)? {
            true => Ok(Added::First),
            false => Ok(Added::No),
        }
    }

    /// Put it between the others, if there are not many behind it; whether it was
    /// put there.
    fn insert(&mut self, place: Place, mem: &mut Mem) -> Result<bool, NoMemory> {
        let mut found = self.near_end(place.xid);
        if matches!(found, Some(Err(_))) && !self.has_room() {
            self.make_room(mem)?;
            // All may have other places.
            found = self.near_end(place.xid);
        }
        match found {
            Some(Err(at)) => self.places.insert(at, place),
            // It had touched something and went.
            Some(Ok(at)) => {
                if let Some(free) = self.places.get_mut(at) {
                    *free = place;
                    self.free -= 1;
                }
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Where a number is, or would be, if that is not far from the end.
    fn near_end(&self, xid: TransactionId) -> Option<Result<usize, usize>> {
        let from = self.places.len().saturating_sub(BACK).max(self.first);
        let behind = self.places.get(from..)?;
        match behind.binary_search_by_key(&xid, |other| other.xid) {
            Err(0) if from > self.first => None,
            Err(at) => Some(Err(from + at)),
            Ok(at) => Some(Ok(from + at)),
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.places.len() < self.places.capacity()
    }

    /// Room for one more, which there was not.
    #[inline(never)]
    fn make_room(&mut self, mem: &mut Mem) -> Result<(), NoMemory> {
        let (waste, before) = (self.first + self.free, self.heap_bytes());
        if waste * 2 <= self.places.len() {
            match self.places.try_reserve(1) {
                Ok(()) => {
                    mem.changed(before, self.heap_bytes());
                    return Ok(());
                }
                Err(_) if waste > 0 => {}
                Err(_) => return Err(NoMemory),
            }
        }
        self.put_together(mem);
        Ok(())
    }

    /// What a transaction has touched.
    pub(super) fn touches(&self, xid: TransactionId) -> Touches {
        let place = self.find(xid).and_then(|at| self.places.get(at));
        place.map_or_else(Touches::default, touches)
    }

    /// Take that out.
    #[inline]
    pub(super) fn take(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Touches> {
        let at = self.find(xid)?;
        let place = self.places.get_mut(at)?;
        let touches = touches(place);
        place.touches = [NONE; MOST];
        (self.next, self.free) = (at + 1, self.free + 1);
        self.trim(mem);
        Some(touches)
    }

    /// See to it that there is something at both ends and not much free between
    /// them.
    #[inline]
    fn trim(&mut self, mem: &mut Mem) {
        while self.places.get(self.first).is_some_and(Place::is_free) {
            self.first += 1;
            self.free -= 1;
        }
        while self.places.len() > self.first && self.places.last().is_some_and(Place::is_free) {
            self.places.pop();
            self.free -= 1;
        }
        let (waste, len) = (self.first + self.free, self.places.len());
        let room = self.places.capacity();
        let much_free = waste > WASTE && waste * 2 > len;
        let much_room = room > WASTE && (len - waste) * 8 < room;
        if self.first == len || much_free || much_room {
            self.put_together(mem);
        }
    }

    /// Leave out what is free; give back memory if three quarters of it are not
    /// used, and all of it if there is nothing left.
    #[inline(never)]
    fn put_together(&mut self, mem: &mut Mem) {
        let before = self.heap_bytes();
        let taken = self.places.len() - self.first - self.free;
        let mut fewer = Vec::new();
        // Else there is no memory for that, and it goes on with what it has.
        if taken * 4 < self.places.capacity() && fewer.try_reserve_exact(taken * 2).is_ok() {
            fewer.extend(self.taken());
            self.places = fewer;
        } else {
            self.places.drain(..self.first);
            self.places.retain(|place| !place.is_free());
        }
        (self.first, self.free, self.next) = (0, 0, 0);
        mem.changed(before, self.heap_bytes());
    }

    fn taken(&self) -> impl Iterator<Item = Place> {
        let places = self.places.iter().skip(self.first);
        places.filter(|place| !place.is_free()).copied()
    }

    /// The transactions.
    pub(super) fn xids(&self) -> impl Iterator<Item = TransactionId> {
        self.taken().map(|place| place.xid)
    }

    /// Forget the touches of which `keep` says false, and the transactions that
    /// have none left; how many these are.
    pub(super) fn retain(
        &mut self,
        mut keep: impl FnMut(TransactionId, Touch) -> bool,
        mem: &mut Mem,
    ) -> usize {
        let mut gone = 0;
        for place in self.places.iter_mut().skip(self.first) {
            if place.is_free() {
                continue;
            }
            let mut left = [NONE; MOST];
            let kept = place.iter().filter(|&touch| keep(place.xid, touch));
            left.iter_mut()
                .zip(kept)
                .for_each(|(left, touch)| *left = touch);
            place.touches = left;
            gone += usize::from(place.is_free());
        }
        self.free += gone;
        self.trim(mem);
        gone
    }
}

#[inline]
fn touches(place: &Place) -> Touches {
    let n = 1 + usize::from(place.touches[1] != NONE);
    Touches::of(place.touches, n)
}

/// What became of a touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// It is the first of its transaction.
    First,
    /// It is one more.
    More,
    /// It is one too many: all of its transaction are to be kept elsewhere.
    TooMany,
    /// It is to be kept elsewhere; there is nothing of its transaction.
    No,
}

#[cfg(test)]
mod tests;
