//! Ranges of which there is nothing to keep: all their blocks are known, hold no
//! garbage and nothing undecided, and their live tuples are not counted any more.
//!
//! Most of a large table is like that. When memory is short, such a range has a bit
//! in place of memory of its own, until the next change of it. Invariants: a range
//! that has the bit is below the table's length and not in the table; all of them
//! have shown the same.

use super::{Far, RangeMap};
use crate::block::BlockMask;
use crate::mem::{Boxed, MALLOC_OVERHEAD, NoMemory};
use crate::normal::Normal;
use crate::range::Range;
use crate::shown::Shown;

/// The clean ranges of a relation.
#[derive(Default)]
pub(super) struct Clean {
    /// What each of them is, and has shown.
    like: Range,
    /// By number.
    bits: Vec<u64>,
    count: u32,
}

impl Clean {
    fn has(&self, rangeno: u32) -> bool {
        let word = self.bits.get(rangeno as usize / 64);
        word.is_some_and(|word| word >> (rangeno % 64) & 1 != 0)
    }

    fn add(&mut self, rangeno: u32) {
        if let Some(word) = self.bits.get_mut(rangeno as usize / 64) {
            *word |= 1 << (rangeno % 64);
            self.count += 1;
        }
    }

    fn remove(&mut self, rangeno: u32) {
        if self.has(rangeno)
            && let Some(word) = self.bits.get_mut(rangeno as usize / 64)
        {
            *word &= !(1 << (rangeno % 64));
            self.count -= 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0u32..).zip(self.bits.iter().copied());
        words.flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                (bit < 64).then(|| {
                    word &= word - 1;
                    at * 64 + bit
                })
            })
        })
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Clean>() + crate::mem::list_bytes::<u64>(self.bits.capacity())
    }
}

impl RangeMap {
    fn clean(&self) -> Option<&Clean> {
        self.far.as_ref()?.clean.as_deref()
    }

    fn clean_mut(&mut self) -> Option<&mut Clean> {
        self.far.as_mut()?.clean.as_deref_mut()
    }

    pub(super) fn clean_bytes(&self) -> usize {
        self.clean().map_or(0, Clean::heap_bytes)
    }

    pub(super) fn clean_len(&self) -> usize {
        self.clean().map_or(0, |clean| clean.count as usize)
    }

    /// What stands for a range that is clean.
    #[cold]
    pub(super) fn clean_one(&self, rangeno: u32) -> Option<&Range> {
        let clean = self.clean().filter(|clean| clean.has(rangeno))?;
        Some(&clean.like)
    }

    pub(crate) fn is_clean(&self, rangeno: u32) -> bool {
        self.clean_one(rangeno).is_some()
    }

    /// A copy of that, which is to be put in its place before it is changed.
    pub(crate) fn clean_copy(&self, rangeno: u32) -> Option<Range> {
        let like = self.clean_one(rangeno)?;
        Some(Range {
            shown: like.shown,
            ..Range::new(like.known, Normal::default())
        })
    }

    /// The range has a place of its own, or is none.
    pub(super) fn not_clean(&mut self, rangeno: u32) {
        if let Some(clean) = self.clean_mut() {
            clean.remove(rangeno);
            self.without_clean();
        }
    }

    /// Where none is clean any more, no bits are kept.
    fn without_clean(&mut self) {
        if let Some(far) = &mut self.far {
            far.clean.take_if(|clean| clean.count == 0);
        }
    }

    /// All of them, with what stands for them.
    pub(crate) fn iter_clean(&self) -> impl Iterator<Item = (u32, &Range)> {
        let clean = self.clean().into_iter();
        clean.flat_map(|clean| clean.iter().map(|rangeno| (rangeno, &clean.like)))
    }

    /// Each is shown, by way of what stands for them.
    pub(crate) fn show_clean(&mut self, mut show: impl FnMut(u32, &mut Range)) {
        if let Some(Clean { like, bits, count }) = self.clean_mut() {
            let before = like.shown;
            let all = Clean {
                bits: std::mem::take(bits),
                count: *count,
                ..Clean::default()
            };
            for rangeno in all.iter() {
                like.shown = before;
                show(rangeno, like);
            }
            *bits = all.bits;
        }
    }

    /// Ranges from here on are gone. How many of them were clean, and what those
    /// have shown.
    pub(crate) fn cut_clean(&mut self, from: u32) -> (u32, Shown) {
        let Some(clean) = self.clean_mut() else {
            return (0, Shown::default());
        };
        let before = clean.count;
        for rangeno in from..clean.bits.len() as u32 * 64 {
            clean.remove(rangeno);
        }
        let cut = (before - clean.count, clean.like.shown);
        self.without_clean();
        cut
    }

    /// Take the memory of all clean ranges of the table, if that is more than what
    /// takes its place; `freed` sees each before. `all` are the blocks of a range.
    pub(crate) fn clean_out(
        &mut self,
        all: BlockMask,
        mut freed: impl FnMut(&Range),
    ) -> Result<(), NoMemory> {
        let mut like = Range::new(all, Normal::default());
        like.shown = match self.clean().filter(|clean| clean.count > 0) {
            Some(clean) => clean.like.shown,
            None => like.shows().1,
        };
        let is_like = |range: &Range, shown| range.is_clean(all) && range.shown == shown;
        let count = |shown| {
            let near = self.near.iter().flatten();
            near.filter(|range| is_like(range, shown)).count()
        };
        let mut found = count(like.shown);
        if found == 0 && self.clean_len() == 0 {
            // While a state is loaded nothing has been shown.
            like.shown = Shown::default();
            found = count(like.shown);
        }
        let (shown, words) = (like.shown, self.near.len().div_ceil(64));
        let (room, own) = match self.clean() {
            Some(clean) => (clean.bits.len(), 0),
            None => (0, size_of::<(Far, Clean)>() + 3 * MALLOC_OVERHEAD),
        };
        let needed = own + words.saturating_sub(room) * size_of::<u64>();
        if found * size_of::<Range>() <= needed {
            return Ok(());
        }
        self.make_clean(like, words)?;
        for at in 0..self.near.len() {
            let place = self.near.get_mut(at);
            let Some(place) = place.filter(|place| {
                let range = place.as_deref();
                range.is_some_and(|range| is_like(range, shown))
            }) else {
                continue;
            };
            place.take().iter().for_each(|range| freed(range));
            self.used -= 1;
            if let Some(clean) = self.clean_mut() {
                clean.add(at as u32);
            }
        }
        Ok(())
    }

    /// Room for so many words of bits, and what stands for those there will be.
    fn make_clean(&mut self, like: Range, words: usize) -> Result<(), NoMemory> {
        let far = self.far_mut()?;
        let clean = match &mut far.clean {
            Some(clean) => clean,
            none => none.insert(Boxed::try_new(Clean::default())?),
        };
        let bits = &mut clean.bits;
        if words > bits.len() {
            bits.try_reserve_exact(words - bits.len())?;
            bits.resize(words, 0);
        }
        clean.like = like;
        Ok(())
    }

    /// The clean ranges of another relation, for this one, which has shown nothing
    /// of them.
    pub(crate) fn clean_copies(&self) -> Result<CleanCopies, NoMemory> {
        let mut copies = CleanCopies {
            clean: Clean::default(),
            len: self.near.len(),
        };
        if let Some(clean) = self.clean() {
            copies.clean.bits.try_reserve_exact(clean.bits.len())?;
            copies.clean.bits.extend_from_slice(&clean.bits);
            copies.clean.count = clean.count;
            copies.clean.like = Range::new(clean.like.known, Normal::default());
        }
        Ok(copies)
    }

    /// Take over such copies. There are no clean ranges here yet.
    pub(crate) fn add_clean(&mut self, copies: CleanCopies) -> Result<(), NoMemory> {
        let CleanCopies { clean, len } = copies;
        if clean.count == 0 {
            return Ok(());
        }
        if len > self.near.len() {
            self.grow(len)?;
        }
        let clean = Boxed::try_new(clean)?;
        self.far_mut()?.clean = Some(clean);
        Ok(())
    }
}

/// See [`RangeMap::clean_copies`].
pub(crate) struct CleanCopies {
    clean: Clean,
    /// Of the table they are in.
    len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const BLOCKS: u8 = 4;

    /// A range of which so many blocks are known.
    fn range(known: u8) -> Boxed<Range> {
        let known = BlockMask::from(BLOCKS - known, BLOCKS);
        Boxed::try_new(Range::new(known, Normal::default())).unwrap()
    }

    fn copy(map: &RangeMap) -> RangeMap {
        let mut copy = RangeMap::default();
        for (rangeno, range) in map.iter() {
            let known = Range::new(range.known, Normal::default());
            let known = Boxed::try_new(known).unwrap();
            copy.try_insert(rangeno, known).unwrap();
        }
        copy.add_clean(map.clean_copies().unwrap()).unwrap();
        copy
    }

    proptest! {
        /// Clean or not, a range is what it was.
        #[test]
        fn clean_ranges_stay(
            ops in prop::collection::vec((0..9u8, 0..200u32, 0..=BLOCKS), 0..200),
        ) {
            let all = BlockMask::from(0, BLOCKS);
            let (mut map, mut model) = (RangeMap::default(), BTreeMap::new());
            for (what, rangeno, known) in ops {
                match what {
                    0..=4 => {
                        let known = if what < 3 { BLOCKS } else { known };
                        map.try_insert(rangeno, range(known)).unwrap();
                        model.insert(rangeno, known);
                    }
                    5 => {
                        map.remove(rangeno);
                        model.remove(&rangeno);
                    }
                    6 => {
                        let (clean, _) = map.cut_clean(rangeno);
                        let before = map.iter().count();
                        map.retain(|no, _| no < rangeno);
                        let cut = clean as usize + before - map.iter().count();
                        prop_assert_eq!(cut, model.split_off(&rangeno).len());
                    }
                    7 => map = copy(&map),
                    _ => {
                        let (bytes, mut freed) = (map.heap_bytes(), 0);
                        let had = map.iter().count();
                        map.clean_out(all, |_| freed += 1).unwrap();
                        prop_assert_eq!(map.iter().count() + freed, had);
                        let more = map.heap_bytes().saturating_sub(bytes);
                        prop_assert!(freed * size_of::<Range>() >= more);
                        // All are, but those that are far behind the others, if it is
                        // worth it.
                        let near = map.near.len() as u32;
                        let left = map.iter().filter(|(_, range)| range.known == all);
                        let left = left.filter(|&(no, _)| no < near).count();
                        prop_assert!(left == 0 || map.clean().is_none() && left <= 4, "{}", left);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                for no in 0..200 {
                    let known = map.get(no).map(|range| range.known.count());
                    prop_assert_eq!(known, model.get(&no).copied(), "{}", no);
                    let copy = map.clean_copy(no).map(|range| range.known.count());
                    prop_assert!(copy.is_none_or(|known| known == BLOCKS));
                    prop_assert_eq!(copy.is_some(), known.is_some() && map.get_mut(no).is_none());
                }
                let clean = map.iter_clean().map(|(no, range)| (no, range.known.count()));
                let others = map.iter().map(|(no, range)| (no, range.known.count()));
                let mut got: Vec<_> = others.chain(clean).collect();
                got.sort_unstable();
                prop_assert!(got.into_iter().eq(model.iter().map(|(&no, &known)| (no, known))));
            }
        }
    }
}
