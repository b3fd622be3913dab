//! The ranges of a relation, by number.
//!
//! A relation is mostly known from its first block on, or in large parts, so
//! most ranges are found by their number in a table: an index instead of a
//! hash. The table grows only as long as a fourth of it is in use; a range far
//! behind goes to a map beside it until the table reaches it. Invariants: a
//! range is in the table exactly if its number is below the table's length, and
//! it is not clean; `far_room` is 0 without the map.

mod clean;

use smallvec::SmallVec;

use crate::mem::{Boxed, Map, NoMemory, try_insert};
use crate::range::Range;
use clean::Clean;

/// The table has so many places at least, which need no memory elsewhere: most
/// relations are small.
const FIRST: usize = 2;

/// See the module's documentation.
#[derive(Default)]
#[repr(C)]
pub(crate) struct RangeMap {
    near: SmallVec<[Option<Boxed<Range>>; FIRST]>,
    /// Ranges in the table.
    used: u32,
    /// How many ranges the map has memory for. It says less itself where some
    /// were taken out, until others come.
    far_room: u32,
    /// What few relations have.
    far: Option<Boxed<Far>>,
}

/// What is not in the table.
#[derive(Default)]
struct Far {
    map: Map<u32, Boxed<Range>>,
    clean: Option<Boxed<Clean>>,
}

impl RangeMap {
    /// How many there are, with those that are clean.
    pub(crate) fn len(&self) -> usize {
        let far = self.far.as_ref();
        let far = far.map_or(0, |far| far.map.len() + self.clean_len());
        self.used as usize + far
    }

    /// Bytes on the heap, without the ranges.
    pub(crate) fn heap_bytes(&self) -> usize {
        let near = match self.near.spilled() {
            true => self.near.capacity(),
            false => 0,
        };
        let far = self.far.as_ref().map_or(0, |far| {
            let room = self.far_room as usize;
            let map = room * (size_of::<(u32, Boxed<Range>)>() + 1) * 8 / 7;
            size_of_val(&**far) + map + self.clean_bytes()
        });
        near * size_of::<Option<Boxed<Range>>>() + far
    }

    /// A range, or what stands for it if it is clean.
    #[inline]
    pub(crate) fn get(&self, rangeno: u32) -> Option<&Range> {
        match self.near.get(rangeno as usize) {
            Some(Some(range)) => Some(range),
            Some(None) => self.clean_one(rangeno),
            None => self.far.as_ref()?.map.get(&rangeno).map(|range| &**range),
        }
    }

    /// A range that is not clean.
    #[inline]
    pub(crate) fn get_mut(&mut self, rangeno: u32) -> Option<&mut Range> {
        match self.near.get_mut(rangeno as usize) {
            Some(place) => place.as_deref_mut(),
            None => self
                .far
                .as_mut()?
                .map
                .get_mut(&rangeno)
                .map(|range| &mut **range),
        }
    }

    /// Put a range to its place. What was there before is dropped.
    pub(crate) fn try_insert(&mut self, rangeno: u32, range: Boxed<Range>) -> Result<(), NoMemory> {
        let at = rangeno as usize;
        if at >= self.near.len() && at < 4 * (self.len() + 1) {
            self.grow(at + 1)?;
        }
        match self.near.get_mut(at) {
            Some(place) => {
                self.used += u32::from(place.replace(range).is_none());
                self.not_clean(rangeno);
            }
            None => {
                let map = &mut self.far_mut()?.map;
                let result = try_insert(map, rangeno, range);
                let room = map.capacity() as u32;
                self.far_room = self.far_room.max(room);
                drop(result?);
            }
        }
        Ok(())
    }

    fn far_mut(&mut self) -> Result<&mut Far, NoMemory> {
        let far = match self.far.take() {
            Some(far) => far,
            None => Boxed::try_new(Far::default())?,
        };
        Ok(self.far.insert(far))
    }

    /// Make the table `len` long at least, and take over what it reaches.
    fn grow(&mut self, len: usize) -> Result<(), NoMemory> {
        let len = len.next_power_of_two().max(FIRST);
        self.near
            .try_reserve_exact(len - self.near.len())
            .map_err(|_| NoMemory)?;
        self.near.resize_with(len, || None);
        let far = self.far.as_mut().into_iter();
        for (rangeno, range) in far.flat_map(|far| far.map.extract_if(|&no, _| (no as usize) < len))
        {
            self.near[rangeno as usize] = Some(range);
            self.used += 1;
        }
        if let Some(far) = self.far.as_mut().filter(|far| far.map.is_empty()) {
            (far.map, self.far_room) = (Map::default(), 0);
        }
        Ok(())
    }

    /// The numbers of all ranges, those in the table in order and before the others.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        let near = (0..).zip(&self.near);
        let near = near.filter(|&(no, place)| place.is_some() || self.is_clean(no));
        let far = self.far.iter().flat_map(|far| far.map.keys().copied());
        near.map(|(no, _)| no).chain(far)
    }

    /// The memory of its own that the range had.
    pub(crate) fn remove(&mut self, rangeno: u32) -> Option<Boxed<Range>> {
        self.not_clean(rangeno);
        match self.near.get_mut(rangeno as usize) {
            Some(place) => {
                self.used -= u32::from(place.is_some());
                place.take()
            }
            None => self.far.as_mut()?.map.remove(&rangeno),
        }
    }

    /// Keep the ranges of which `keep` says so, and those that are clean.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u32, &mut Range) -> bool) {
        for (rangeno, place) in (0..).zip(&mut self.near) {
            if place.as_mut().is_some_and(|range| !keep(rangeno, range)) {
                *place = None;
                self.used -= 1;
            }
        }
        if let Some(far) = &mut self.far {
            far.map.retain(|&rangeno, range| keep(rangeno, range));
        }
    }

    /// Ranges that are not clean.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Range)> {
        let near = (0..).zip(&self.near);
        let near = near.filter_map(|(rangeno, place)| Some((rangeno, place.as_deref()?)));
        let far = self.far.iter().flat_map(|far| far.map.iter());
        near.chain(far.map(|(&rangeno, range)| (rangeno, &**range)))
    }

    /// The same.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Range)> {
        let near = (0..).zip(&mut self.near);
        let near = near.filter_map(|(rangeno, place)| Some((rangeno, place.as_deref_mut()?)));
        let far = self.far.iter_mut().flat_map(|far| far.map.iter_mut());
        near.chain(far.map(|(&rangeno, range)| (rangeno, &mut **range)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A range that bears a number.
    fn range(n: u32) -> Boxed<Range> {
        let mut range = Boxed::try_new(Range::default()).unwrap();
        range.saved = n;
        range
    }

    proptest! {
        #[test]
        fn like_a_btreemap(
            ops in prop::collection::vec((0..8u8, 0..64u32, any::<bool>()), 0..200),
        ) {
            let (mut map, mut model) = (RangeMap::default(), BTreeMap::new());
            for (n, (what, rangeno, far)) in (0u32..).zip(ops) {
                let rangeno = if far { rangeno * 97 } else { rangeno };
                match what {
                    0..=4 => {
                        map.try_insert(rangeno, range(n)).unwrap();
                        model.insert(rangeno, n);
                    }
                    5 | 6 => {
                        let removed = map.remove(rangeno).map(|range| range.saved);
                        prop_assert_eq!(removed, model.remove(&rangeno));
                    }
                    _ => {
                        map.retain(|no, range| no <= rangeno || range.saved % 2 == 0);
                        model.retain(|&no, n| no <= rangeno || *n % 2 == 0);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                for no in [rangeno, rangeno + 1, rangeno * 97] {
                    prop_assert_eq!(map.get(no).map(|r| r.saved), model.get(&no).copied());
                    prop_assert_eq!(map.get_mut(no).map(|r| r.saved), model.get(&no).copied());
                }
                let mut all: Vec<_> = map.iter().map(|(no, r)| (no, r.saved)).collect();
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(model.iter().map(|(&no, &n)| (no, n))));
                let mut all: Vec<_> = map.iter_mut().map(|(no, r)| (no, r.saved)).collect();
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(model.iter().map(|(&no, &n)| (no, n))));
            }
        }
    }

    /// Else what came later would be accounted for twice.
    #[test]
    fn what_goes_leaves_its_room() {
        let (mut map, mut rangeno) = (RangeMap::default(), 1u32);
        let mut next = || {
            rangeno = rangeno.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            rangeno | 1 << 31
        };
        map.try_insert(next(), range(0)).unwrap();
        for n in 1..2000 {
            let before = map.heap_bytes();
            map.try_insert(next(), range(n)).unwrap();
            let with = map.heap_bytes();
            assert!(with >= before);
            if n % 100 > 50 {
                let bar = next();
                map.retain(|no, _| no < bar);
                let some = map.iter().map(|(no, _)| no).next();
                some.and_then(|no| map.remove(no));
            }
            assert_eq!(map.heap_bytes(), with);
        }
        assert!(map.heap_bytes() < 100_000);
    }

    #[test]
    fn room_is_for_those_who_are_there() {
        let mut map = RangeMap::default();
        map.try_insert(u32::MAX, range(0)).unwrap();
        for n in 1..1000 {
            map.try_insert(n * 1000, range(n)).unwrap();
            assert!(
                map.heap_bytes() <= 100 + 64 * map.len(),
                "{} at {n}",
                map.heap_bytes()
            );
        }
        let mut map = RangeMap::default();
        for n in (0..4000).step_by(4) {
            map.try_insert(n, range(n)).unwrap();
            assert!(
                map.heap_bytes() <= 100 + 64 * map.len(),
                "{} at {n}",
                map.heap_bytes()
            );
        }
        assert!(map.far.is_none_or(|far| far.map.is_empty()));
    }
}
