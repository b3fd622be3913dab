//! A set of positions in a block range, small when it holds little.
//!
//! A position is `block in range * 291 + (offset number - 1)`; the widest
//! range has 37,248 of them. Up to eight positions lie inline, more in a
//! sorted vector, and where a bitmap is smaller, in a bitmap that reaches as
//! far as the highest position. Invariants: the vector is strictly ascending;
//! `len` is the number of bits set.

use smallvec::SmallVec;

use crate::block::{MAX_OFFSET, Offsets};
use crate::mem::{MALLOC_OVERHEAD, NoMemory};

/// The bitmap grows by this many words, which cover eight blocks and a bit.
const WORDS_STEP: usize = 40;
const INLINE: usize = 8;

/// See the module's documentation.
pub(crate) struct PosSet(Repr);

enum Repr {
    Sparse(SmallVec<[u16; INLINE]>),
    Dense { len: u16, words: Vec<u64> },
}
use Repr::{Dense, Sparse};

impl Default for PosSet {
    fn default() -> Self {
        PosSet::new()
    }
}

impl PosSet {
    pub(crate) fn new() -> Self {
        PosSet(Sparse(SmallVec::new()))
    }

    pub(crate) fn len(&self) -> u16 {
        match &self.0 {
            Sparse(list) => list.len() as u16,
            Dense { len, .. } => *len,
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Sparse(list) if list.spilled() => list.capacity() * 2 + MALLOC_OVERHEAD,
            Sparse(_) => 0,
            Dense { words, .. } => words.capacity() * 8 + MALLOC_OVERHEAD,
        }
    }

    #[inline]
    pub(crate) fn contains(&self, pos: u16) -> bool {
        match &self.0 {
            Sparse(list) => find(list, pos).is_ok(),
            Dense { words, .. } => words
                .get(pos as usize / 64)
                .is_some_and(|w| w & bit(pos) != 0),
        }
    }

    /// Add a position. True if it was not there.
    pub(crate) fn insert(&mut self, pos: u16) -> Result<bool, NoMemory> {
        match &mut self.0 {
            Sparse(list) => {
                let Err(at) = find(list, pos) else {
                    return Ok(false);
                };
                if list.len() == list.capacity() {
                    let highest = list.last().map_or(pos, |&last| last.max(pos));
                    if bitmap_bytes(highest) < list.len() * 2 {
                        self.make_dense(highest)?;
                        return self.insert(pos);
                    }
                    list.try_reserve(1)?;
                }
                list.insert(at, pos);
                Ok(true)
            }
            Dense { len, words } => {
                reach(words, pos)?;
                let word = &mut words[pos as usize / 64];
                let new = *word & bit(pos) == 0;
                *word |= bit(pos);
                *len += u16::from(new);
                Ok(new)
            }
        }
    }

    /// Take a position out. True if it was there.
    pub(crate) fn remove(&mut self, pos: u16) -> bool {
        let was = match &mut self.0 {
            Sparse(list) => match find(list, pos) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Dense { len, words } => match words.get_mut(pos as usize / 64) {
                Some(word) if *word & bit(pos) != 0 => {
                    *word &= !bit(pos);
                    *len -= 1;
                    true
                }
                _ => false,
            },
        };
        if was {
            self.shrink();
        }
        was
    }

    /// Add a position within `lo..hi`. Whether it was not there, and whether
    /// it is the only one within.
    pub(crate) fn insert_in(
        &mut self,
        pos: u16,
        lo: u16,
        hi: u16,
    ) -> Result<(bool, bool), NoMemory> {
        if let Sparse(list) = &mut self.0
            && list.len() < list.capacity()
            && let Err(at) = find(list, pos)
        {
            let alone =
                (at == 0 || list[at - 1] < lo) && list.get(at).is_none_or(|&next| next >= hi);
            list.insert(at, pos);
            return Ok((true, alone));
        }
        let new = self.insert(pos)?;
        let alone = match &self.0 {
            Sparse(list) => find(list, pos).is_ok_and(|at| {
                (at == 0 || list[at - 1] < lo) && list.get(at + 1).is_none_or(|&next| next >= hi)
            }),
            Dense { .. } => !self.any_in(lo, pos) && !self.any_in(pos + 1, hi),
        };
        Ok((new, alone))
    }

    /// Take these offsets of the block that begins at `lo` out. Which of them
    /// were there.
    pub(crate) fn remove_offsets(&mut self, lo: u16, gone: Offsets) -> Offsets {
        let mut removed = Offsets::default();
        match &mut self.0 {
            Sparse(list) => {
                let (from, to) = span(list, lo, lo + MAX_OFFSET);
                let mut kept = from;
                for at in from..to {
                    let off = list[at] - lo + 1;
                    if gone.contains(off) {
                        removed.insert(off);
                    } else {
                        list[kept] = list[at];
                        kept += 1;
                    }
                }
                list.drain(kept..to);
            }
            Dense { len, words } => {
                for off in gone.iter() {
                    let pos = lo + off - 1;
                    let Some(word) = words.get_mut(pos as usize / 64) else {
                        break;
                    };
                    if *word & bit(pos) != 0 {
                        *word &= !bit(pos);
                        *len -= 1;
                        removed.insert(off);
                    }
                }
            }
        }
        if !removed.is_empty() {
            self.shrink();
        }
        removed
    }

    /// Take all positions `lo <= pos < hi` out. The number of them.
    pub(crate) fn clear_range(&mut self, lo: u16, hi: u16) -> u16 {
        let gone = match &mut self.0 {
            Sparse(list) => {
                let (from, to) = span(list, lo, hi);
                list.drain(from..to).count() as u16
            }
            Dense { len, words } => {
                let mut gone = 0;
                for (at, mask) in masks(lo, hi) {
                    let Some(word) = words.get_mut(at) else { break };
                    gone += (*word & mask).count_ones() as u16;
                    *word &= !mask;
                }
                *len -= gone;
                gone
            }
        };
        if gone > 0 {
            self.shrink();
        }
        gone
    }

    /// Whether a position `lo <= pos < hi` is in the set.
    pub(crate) fn any_in(&self, lo: u16, hi: u16) -> bool {
        match &self.0 {
            Sparse(list) => {
                let (from, to) = span(list, lo, hi);
                from < to
            }
            Dense { words, .. } => masks(lo, hi)
                .map_while(|(at, mask)| words.get(at).map(|w| w & mask))
                .any(|w| w != 0),
        }
    }

    /// The positions in ascending order.
    pub(crate) fn iter(&self) -> Iter<'_> {
        self.iter_range(0, u16::MAX)
    }

    /// The positions `lo <= pos < hi` in ascending order.
    pub(crate) fn iter_range(&self, lo: u16, hi: u16) -> Iter<'_> {
        match &self.0 {
            Sparse(list) => {
                let (from, to) = span(list, lo, hi);
                Iter::Sparse(list[from..to].iter())
            }
            Dense { words, .. } => {
                let at = lo as usize / 64;
                let word = words.get(at).map_or(0, |w| w & (u64::MAX << (lo % 64)));
                Iter::Dense {
                    words,
                    at,
                    word,
                    hi,
                }
            }
        }
    }

    /// Add all of `other`, which is used up.
    pub(crate) fn absorb(&mut self, mut other: PosSet) -> Result<(), NoMemory> {
        if self.len() < other.len() {
            std::mem::swap(self, &mut other);
        }
        match (&mut self.0, &other.0) {
            (Dense { len, words }, Dense { words: more, .. }) => {
                if words.len() < more.len() {
                    words.try_reserve_exact(more.len() - words.len())?;
                    words.resize(more.len(), 0);
                }
                for (word, &m) in words.iter_mut().zip(more) {
                    *word |= m;
                }
                *len = words.iter().map(|w| w.count_ones() as u16).sum();
                Ok(())
            }
            _ => other.iter().try_for_each(|pos| self.insert(pos).map(drop)),
        }
    }

    pub(crate) fn try_clone(&self) -> Result<PosSet, NoMemory> {
        Ok(PosSet(match &self.0 {
            Sparse(list) => {
                let mut copy = SmallVec::new();
                copy.try_reserve_exact(list.len())?;
                copy.extend_from_slice(list);
                Sparse(copy)
            }
            Dense { len, words } => {
                let mut copy = Vec::new();
                copy.try_reserve_exact(words.len())?;
                copy.extend_from_slice(words);
                Dense {
                    len: *len,
                    words: copy,
                }
            }
        }))
    }

    fn make_dense(&mut self, highest: u16) -> Result<(), NoMemory> {
        let Sparse(list) = &self.0 else { return Ok(()) };
        let mut words = Vec::new();
        reach(&mut words, highest)?;
        for &pos in list {
            words[pos as usize / 64] |= bit(pos);
        }
        self.0 = Dense {
            len: list.len() as u16,
            words,
        };
        Ok(())
    }

    /// Give memory back after positions were taken out. Never needs more of
    /// it: where it would, the set stays as it is.
    fn shrink(&mut self) {
        match &mut self.0 {
            Sparse(list) if list.spilled() && list.len() <= INLINE / 2 => {
                list.shrink_to_fit(); // moves inline, allocates nothing
            }
            Dense { len, words } if *len as usize * 4 < words.len() => {
                let mut list = SmallVec::new();
                if list.try_reserve_exact(*len as usize).is_ok() {
                    list.extend(self.iter());
                    self.0 = Sparse(list);
                }
            }
            _ => {}
        }
    }
}

fn bit(pos: u16) -> u64 {
    1 << (pos % 64)
}

/// Newest positions tend to be the highest, so the end is tried first.
#[inline]
fn find(list: &[u16], pos: u16) -> Result<usize, usize> {
    match list.last() {
        Some(&last) if last < pos => Err(list.len()),
        _ => list.binary_search(&pos),
    }
}

fn span(list: &[u16], lo: u16, hi: u16) -> (usize, usize) {
    let from = list.partition_point(|&p| p < lo);
    let to = list[from..].partition_point(|&p| p < hi);
    (from, from + to)
}

fn bitmap_bytes(highest: u16) -> usize {
    (highest as usize / 64 + 1).next_multiple_of(WORDS_STEP) * 8
}

/// Make the bitmap long enough to hold `pos`.
fn reach(words: &mut Vec<u64>, pos: u16) -> Result<(), NoMemory> {
    let need = pos as usize / 64 + 1;
    if words.len() < need {
        let want = need.next_multiple_of(WORDS_STEP);
        words.try_reserve_exact(want - words.len())?;
        words.resize(want, 0);
    }
    Ok(())
}

/// Word by word, the bits of the positions `lo <= pos < hi`.
fn masks(lo: u16, hi: u16) -> impl Iterator<Item = (usize, u64)> {
    let (lo, hi) = (lo as usize, hi as usize);
    let words = if lo < hi {
        lo / 64..hi.div_ceil(64)
    } else {
        0..0
    };
    words.map(move |at| {
        let low = u64::MAX << lo.saturating_sub(at * 64).min(63);
        let keep = (hi - at * 64).min(64);
        (at, low & (u64::MAX >> (64 - keep)))
    })
}

/// Iterator over a [`PosSet`].
pub(crate) enum Iter<'a> {
    Sparse(std::slice::Iter<'a, u16>),
    Dense {
        words: &'a [u64],
        at: usize,
        word: u64,
        hi: u16,
    },
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Iter::Sparse(list) => list.next().copied(),
            Iter::Dense {
                words,
                at,
                word,
                hi,
            } => {
                while *word == 0 {
                    *at += 1;
                    if *at * 64 >= *hi as usize {
                        return None;
                    }
                    *word = *words.get(*at)?;
                }
                let pos = (*at * 64) as u16 + word.trailing_zeros() as u16;
                *word &= *word - 1;
                (pos < *hi).then_some(pos)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u16),
        Remove(u16),
        InsertRun(u16, u16),
        RemoveRun(u16, u16),
        InsertIn(u16),
        RemoveOffsets(u16, Vec<u16>),
        Absorb(Vec<u16>, u16, u16),
    }

    fn ops(top: u16) -> impl Strategy<Value = Vec<Op>> {
        let pos = 0..top;
        let op = prop_oneof![
            4 => pos.clone().prop_map(Op::Insert),
            2 => pos.clone().prop_map(Op::Remove),
            2 => (pos.clone(), 0..600u16).prop_map(|(p, n)| Op::InsertRun(p, n)),
            2 => (pos.clone(), 0..3000u16).prop_map(|(p, n)| Op::RemoveRun(p, n)),
            2 => pos.clone().prop_map(Op::InsertIn),
            2 => (0..top / MAX_OFFSET, prop::collection::vec(1..=MAX_OFFSET, 0..300))
                .prop_map(|(b, offs)| Op::RemoveOffsets(b, offs)),
            1 => (prop::collection::vec(pos.clone(), 0..20), pos, 0..2000u16)
                .prop_map(|(v, p, n)| Op::Absorb(v, p, n)),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn like_a_btreeset(ops in ops(128 * 291), lo in 0..37_248u16, n in 0..4000u16) {
            let top = 128 * 291;
            let (mut set, mut model) = (PosSet::new(), BTreeSet::new());
            for op in ops {
                match op {
                    Op::Insert(p) => prop_assert_eq!(set.insert(p), Ok(model.insert(p))),
                    Op::Remove(p) => prop_assert_eq!(set.remove(p), model.remove(&p)),
                    Op::InsertRun(p, n) => for p in p..(p + n).min(top) {
                        prop_assert_eq!(set.insert(p), Ok(model.insert(p)));
                    },
                    Op::RemoveRun(p, n) => {
                        let gone = set.clear_range(p, p.saturating_add(n));
                        let before = model.len();
                        model.retain(|&m| m < p || m >= p.saturating_add(n));
                        prop_assert_eq!(gone as usize, before - model.len());
                    }
                    Op::InsertIn(p) => {
                        let lo = p / MAX_OFFSET * MAX_OFFSET;
                        let new = model.insert(p);
                        let alone = model.range(lo..lo + MAX_OFFSET).count() == 1;
                        prop_assert_eq!(set.insert_in(p, lo, lo + MAX_OFFSET), Ok((new, alone)));
                    }
                    Op::RemoveOffsets(b, offs) => {
                        let (lo, mut gone) = (b * MAX_OFFSET, Offsets::default());
                        offs.iter().for_each(|&off| gone.insert(off));
                        let removed = set.remove_offsets(lo, gone);
                        let taken: Vec<_> = gone.iter().filter(|off| model.remove(&(lo + off - 1))).collect();
                        prop_assert!(removed.iter().eq(taken));
                    }
                    Op::Absorb(list, p, n) => {
                        let mut other = PosSet::new();
                        for p in list.into_iter().chain(p..(p + n).min(top)) {
                            other.insert(p).unwrap();
                            model.insert(p);
                        }
                        set.absorb(other).unwrap();
                    }
                }
                prop_assert_eq!(set.len() as usize, model.len());
                prop_assert!(set.iter().eq(model.iter().copied()));
            }
            let hi = lo.saturating_add(n);
            prop_assert!(set.iter_range(lo, hi).eq(model.range(lo..hi).copied()));
            prop_assert_eq!(set.any_in(lo, hi), model.range(lo..hi).next().is_some());
            prop_assert_eq!(set.contains(lo), model.contains(&lo));
            prop_assert!(set.try_clone().unwrap().iter().eq(model.iter().copied()));
        }
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<PosSet>() <= 32);
        let mut set = PosSet::new();
        for pos in 0..32 * 291 {
            set.insert(pos).unwrap();
            assert!(set.heap_bytes() <= 1400, "{} at {pos}", set.heap_bytes());
        }
        for pos in 4..32 * 291 {
            set.remove(pos);
        }
        assert_eq!((set.len(), set.heap_bytes()), (4, 0));
    }
}
