//! A set of positions in a block range, small when it holds little.
//!
//! A position is `block in range * 291 + (offset number - 1)`; the widest
//! range has 37,248 of them. Up to fourteen positions lie inline, more in a
//! sorted vector, and where a bitmap is smaller, in a bitmap that reaches as
//! far as the highest position. Invariants: a list is strictly ascending;
//! `len` is the number of positions inline, or of bits set.
//!
//! Nearly every set of nearly every range is inline: that case comes first
//! everywhere, and small enough to be compiled into its callers.

mod far;
mod inline;
mod iter;

use crate::block::{MAX_OFFSET, Offsets};
use crate::mem::{MALLOC_OVERHEAD, NoMemory};
pub(crate) use inline::InlineList;
use iter::{Iter, masks};

/// See the module's documentation.
pub(crate) struct PosSet(Repr);

enum Repr {
    Inline(InlineList),
    Sparse(Vec<u16>),
    Dense { len: u16, words: Vec<u64> },
}
use Repr::{Dense, Inline, Sparse};

impl Default for PosSet {
    fn default() -> Self {
        PosSet::new()
    }
}

impl PosSet {
    #[inline]
    pub(crate) fn new() -> Self {
        PosSet(Inline(InlineList::default()))
    }

    #[inline]
    pub(crate) fn len(&self) -> u16 {
        match &self.0 {
            Inline(list) => list.len(),
            Sparse(list) => list.len() as u16,
            Dense { len, .. } => *len,
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Inline(_) => 0,
            Sparse(list) => list.capacity() * 2 + MALLOC_OVERHEAD,
            Dense { words, .. } => words.capacity() * 8 + MALLOC_OVERHEAD,
        }
    }

    #[inline]
    pub(crate) fn contains(&self, pos: u16) -> bool {
        match &self.0 {
            Inline(list) => list.place(pos).is_ok(),
            Sparse(list) => find(list, pos).is_ok(),
            Dense { words, .. } => words
                .get(pos as usize / 64)
                .is_some_and(|w| w & bit(pos) != 0),
        }
    }

    /// Add a position. True if it was not there.
    #[inline]
    pub(crate) fn insert(&mut self, pos: u16) -> Result<bool, NoMemory> {
        if let Inline(list) = &mut self.0 {
            match list.place(pos) {
                Ok(_) => return Ok(false),
                Err(at) if list.insert_at(at, pos) => return Ok(true),
                Err(_) => {}
            }
        }
        self.insert_far(pos)
    }

    /// Take a position out. True if it was there.
    pub(crate) fn remove(&mut self, pos: u16) -> bool {
        let was = match &mut self.0 {
            Inline(list) => return list.remove(pos),
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
    #[inline]
    pub(crate) fn insert_in(
        &mut self,
        pos: u16,
        lo: u16,
        hi: u16,
    ) -> Result<(bool, bool), NoMemory> {
        if let Inline(list) = &mut self.0
            && let Err(at) = list.place(pos)
        {
            let alone = alone(list.as_slice(), at, at, lo, hi);
            if list.insert_at(at, pos) {
                return Ok((true, alone));
            }
        }
        self.insert_in_far(pos, lo, hi)
    }

    /// A copy of the positions, if they are few.
    #[inline]
    pub(crate) fn few(&self) -> Option<InlineList> {
        match &self.0 {
            Inline(list) => Some(*list),
            _ => None,
        }
    }

    /// The positions, if they are a list.
    #[inline]
    fn list(&self) -> Option<&[u16]> {
        match &self.0 {
            Inline(list) => Some(list.as_slice()),
            Sparse(list) => Some(list),
            Dense { .. } => None,
        }
    }

    /// Take these offsets of the block that begins at `lo` out. Which of them
    /// were there.
    pub(crate) fn remove_offsets(&mut self, lo: u16, gone: Offsets) -> Offsets {
        let mut removed = Offsets::default();
        match &mut self.0 {
            Inline(list) => {
                list.retain(|pos| keep(pos, lo, gone, &mut removed));
                return removed;
            }
            Sparse(list) => {
                let (from, to) = span(list, lo, lo + MAX_OFFSET);
                let mut kept = from;
                for at in from..to {
                    let pos = list[at];
                    if keep(pos, lo, gone, &mut removed) {
                        list[kept] = pos;
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
    #[inline]
    pub(crate) fn clear_range(&mut self, lo: u16, hi: u16) -> u16 {
        match &mut self.0 {
            Inline(list) => list.retain(|pos| pos < lo || pos >= hi) as u16,
            _ => self.clear_range_far(lo, hi),
        }
    }

    /// Whether a position `lo <= pos < hi` is in the set.
    pub(crate) fn any_in(&self, lo: u16, hi: u16) -> bool {
        match &self.0 {
            Inline(list) => list.as_slice().iter().any(|&p| p >= lo && p < hi),
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
            Inline(list) => {
                let (from, to) = span(list.as_slice(), lo, hi);
                Iter::Sparse(list.as_slice()[from..to].iter())
            }
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
            Inline(list) => Inline(*list),
            Sparse(list) => {
                let mut copy = Vec::new();
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
}

/// Whether a position is not among the offsets `gone` of the block that begins
/// at `lo`; if it is, it is added to `removed`.
#[inline]
fn keep(pos: u16, lo: u16, gone: Offsets, removed: &mut Offsets) -> bool {
    if !(lo..lo + MAX_OFFSET).contains(&pos) || !gone.contains(pos - lo + 1) {
        return true;
    }
    removed.insert(pos - lo + 1);
    false
}

/// Whether neither the position before `at` nor the one at `next` is within
/// `lo..hi`.
#[inline]
fn alone(list: &[u16], at: usize, next: usize, lo: u16, hi: u16) -> bool {
    let before = at.checked_sub(1).and_then(|before| list.get(before));
    before.is_none_or(|&p| p < lo) && list.get(next).is_none_or(|&p| p >= hi)
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

#[cfg(test)]
mod tests;
