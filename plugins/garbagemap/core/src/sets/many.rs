//! Many positions: a pair of bitmaps for each block that has had any.

use std::hint::select_unpredictable;

use super::iter::Iter;
use super::packed::PER_BLOCK;
use super::{Both, Which};
use crate::block::{Offsets, block_of, item_of, position_of};
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory};

/// See the module's documentation. The pairs lie in the order of their blocks:
/// `one_words` words for one set and `other_words` for the other, which is what
/// the highest position of any of them needs, and nothing if there is none. An
/// empty pair may stay, for what a block had it will have again. Invariant:
/// `one` and `other` are the numbers of bits set, `one_blocks` that of the
/// blocks of which the one set has some.
pub(super) struct Many {
    pub(super) words: Vec<u64>,
    /// The blocks that have a pair.
    pub(super) blocks: [u64; 2],
    pub(super) one: u16,
    pub(super) other: u16,
    pub(super) one_words: u8,
    pub(super) other_words: u8,
    pub(super) one_blocks: u8,
    /// How often something was taken out.
    pub(super) taken: u8,
}

impl Many {
    #[inline]
    pub(super) fn len(&self, which: Which) -> u16 {
        match which {
            Which::One => self.one,
            Which::Other => self.other,
        }
    }

    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.words.capacity() * 8 + MALLOC_OVERHEAD
    }

    #[inline]
    pub(super) fn pair_words(&self) -> usize {
        usize::from(self.one_words) + usize::from(self.other_words)
    }

    #[inline]
    pub(super) fn blocks(&self) -> u8 {
        self.one_blocks
    }

    /// Now and then, when something was taken out, whether there is so little
    /// that it may fit words.
    #[inline]
    pub(super) fn might_be_packed(&mut self) -> bool {
        self.taken = self.taken.wrapping_add(1);
        if self.taken != 0 {
            return false;
        }
        let most = self.words.len() / self.pair_words().max(1) * usize::from(PER_BLOCK) / 2;
        usize::from(self.one) + usize::from(self.other) <= most
    }

    /// Where the block's pair begins, or would begin.
    #[inline]
    fn place(&self, b: u8) -> Result<usize, usize> {
        let [low, high] = self.blocks;
        let bit = 1 << (b % 64);
        let (own, before) = match b < 64 {
            // Where there is much, all blocks before have a pair.
            true if low & (bit - 1) == bit - 1 => (low, u32::from(b)),
            true => (low, (low & (bit - 1)).count_ones()),
            false => (high, low.count_ones() + (high & (bit - 1)).count_ones()),
        };
        let at = before as usize * self.pair_words();
        if own & bit != 0 { Ok(at) } else { Err(at) }
    }

    #[inline]
    pub(super) fn touch(&self, b: u8) -> u64 {
        let (Ok(at) | Err(at)) = self.place(b);
        self.words.get(at).copied().unwrap_or_default()
    }

    /// The block's bitmaps.
    #[inline]
    fn pair(&self, b: u8) -> (&[u64], &[u64]) {
        let pair = match self.place(b) {
            Ok(at) => self.words.get(at..at + self.pair_words()),
            Err(_) => None,
        };
        let pair = pair.and_then(|pair| pair.split_at_checked(self.one_words.into()));
        pair.unwrap_or_default()
    }

    #[inline]
    fn pair_mut(&mut self, b: u8) -> Option<(&mut [u64], &mut [u64])> {
        let (at, len) = (self.place(b).ok()?, self.pair_words());
        let pair = self.words.get_mut(at..at + len)?;
        pair.split_at_mut_checked(self.one_words.into())
    }

    pub(super) fn contains(&self, which: Which, pos: u16) -> bool {
        let (item, (one, other)) = (item_of(pos), self.pair(block_of(pos)));
        let word = match which {
            Which::One => one.get(item as usize / 64),
            Which::Other => other.get(item as usize / 64),
        };
        word.is_some_and(|word| word >> (item % 64) & 1 != 0)
    }

    pub(super) fn block(&self, b: u8) -> Both {
        let (one, other) = self.pair(b);
        let offsets = |words: &[u64]| {
            let mut offsets = Offsets::default();
            let to = offsets.words_mut().iter_mut();
            to.zip(words).for_each(|(to, word)| *to = *word);
            offsets
        };
        Both {
            one: offsets(one),
            other: offsets(other),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, which: Which, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        let (at, item) = (
            self.bitmap(which, block_of(pos), words_for(pos), mem)?,
            item_of(pos),
        );
        let first = which == Which::One && self.is_empty_at(at);
        if let Some(word) = self.words.get_mut(at + item as usize / 64) {
            let bit = 1 << (item % 64);
            let new = u16::from(*word & bit == 0);
            *word |= bit;
            *self.count(which) += new;
            self.one_blocks += u8::from(first);
        }
        Ok(())
    }

    /// Whether the one set's bitmap that begins here is empty.
    #[inline]
    fn is_empty_at(&self, at: usize) -> bool {
        let bitmap = self.words.get(at..at + usize::from(self.one_words));
        bitmap.is_none_or(|words| any(words, words.len()) == 0)
    }

    /// Add offsets of a block, of which there is one at least.
    pub(super) fn insert_offsets(
        &mut self,
        which: Which,
        b: u8,
        offsets: Offsets,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let more = offsets.words();
        let needed = more
            .iter()
            .rposition(|&word| word != 0)
            .map_or(1, |at| at + 1);
        let at = self.bitmap(which, b, needed, mem)?;
        self.one_blocks += u8::from(which == Which::One && self.is_empty_at(at));
        let mut new = 0;
        for (word, more) in self.words.iter_mut().skip(at).zip(more).take(needed) {
            new += (more & !*word).count_ones() as u16;
            *word |= more;
        }
        *self.count(which) += new;
        Ok(())
    }

    #[inline]
    fn count(&mut self, which: Which) -> &mut u16 {
        match which {
            Which::One => &mut self.one,
            Which::Other => &mut self.other,
        }
    }

    /// Where a block's bitmap for one of the sets begins, which has so many
    /// words at least. It is made if need be.
    #[inline]
    fn bitmap(
        &mut self,
        which: Which,
        b: u8,
        needed: usize,
        mem: &mut Mem,
    ) -> Result<usize, NoMemory> {
        let words = match which {
            Which::One => self.one_words,
            Which::Other => self.other_words,
        };
        if needed > usize::from(words) {
            self.widen(which, needed, mem)?;
        }
        let at = match self.place(b) {
            Ok(at) => at,
            Err(at) => {
                self.open(b, at, mem)?;
                at
            }
        };
        Ok(match which {
            Which::One => at,
            Which::Other => at + usize::from(self.one_words),
        })
    }

    /// See [`Sets::exchange`](super::Sets::exchange).
    ///
    /// Nearly every change of a tuple comes here, each to a block of its own, so
    /// there is no branch but what is nearly always the same.
    #[inline]
    pub(super) fn exchange(&mut self, b: u8, absent: u16, item: Option<u16>) -> bool {
        let (ones, others) = (usize::from(self.one_words), usize::from(self.other_words));
        let pair = match self.place(b) {
            Ok(at) => self.words.get_mut(at..at + ones + others),
            Err(_) => None,
        };
        let Some(pair) = pair else {
            return item.is_none();
        };
        let (at, bit) = (absent as usize / 64, absent % 64);
        let has = word(pair, 0, ones, at) | word(pair, ones, others, at);
        let (to, mask) = match item {
            Some(item) => (item as usize / 64, 1 << (item % 64)),
            None => (0, 0u64),
        };
        if has >> bit & 1 != 0 || to >= ones {
            return (has >> bit & 1 == 0) & (mask == 0);
        }
        let before = any(pair, ones);
        if let Some(word) = pair.get_mut(to) {
            let new = mask & !*word;
            *word |= mask;
            self.one += u16::from(new != 0);
            self.one_blocks += u8::from((before == 0) & (new != 0));
        }
        true
    }

    /// Take a position out of both sets. Which of them had it: mostly neither,
    /// for this is asked whenever a tuple comes to a free place.
    #[inline]
    pub(super) fn remove(&mut self, pos: u16) -> (bool, bool) {
        let Some((one, other)) = self.pair_mut(block_of(pos)) else {
            return (false, false);
        };
        let item = item_of(pos);
        let (at, bit) = (item as usize / 64, 1 << (item % 64));
        let has = |words: &[u64]| words.get(at).is_some_and(|word| word & bit != 0);
        let removed = (has(one), has(other));
        if removed == (false, false) {
            return removed;
        }
        for words in [&mut *one, other] {
            if let Some(word) = words.get_mut(at) {
                *word &= !bit;
            }
        }
        let last = removed.0 && any(one, one.len()) == 0;
        self.one_blocks -= u8::from(last);
        self.one -= u16::from(removed.0);
        self.other -= u16::from(removed.1);
        removed
    }

    /// Take these of a block out of one set, and those out of the other. Which
    /// of them were there.
    #[inline]
    pub(super) fn take(&mut self, b: u8, gone: Both) -> Both {
        let had = self.block(b);
        self.take_away(b, gone);
        Both {
            one: had.one.and(gone.one),
            other: had.other.and(gone.other),
        }
    }

    /// The same; how many were in the one set.
    #[inline]
    pub(super) fn take_away(&mut self, b: u8, gone: Both) -> u16 {
        let Some((one, other)) = self.pair_mut(b) else {
            return 0;
        };
        let take = |bitmap: &mut [u64], gone: Offsets| {
            let words = bitmap.iter_mut().zip(gone.words());
            words.fold((0, 0), |(n, left), (word, gone)| {
                let hit = *word & gone;
                *word ^= hit;
                (n + hit.count_ones() as u16, left | *word)
            })
        };
        let (ones, left) = take(one, gone.one);
        let (others, _) = take(other, gone.other);
        // Both numbers first: they are taken up together with what lies behind
        // them, for which the processor would have to wait.
        self.one -= ones;
        self.other -= others;
        self.one_blocks -= u8::from((ones != 0) & (left == 0));
        ones
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Many, NoMemory> {
        let mut words = Vec::new();
        words.try_reserve_exact(self.words.len())?;
        words.extend_from_slice(&self.words);
        let copy = Many { words, ..*self };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }

    pub(super) fn mask(&self) -> u128 {
        let [low, high] = self.blocks;
        u128::from(high) << 64 | u128::from(low)
    }

    pub(super) fn last(&self, which: Which) -> Option<u16> {
        let mut blocks = self.mask();
        while blocks != 0 {
            let b = (u128::BITS - 1 - blocks.leading_zeros()) as u8;
            blocks ^= 1 << b;
            let (one, other) = self.pair(b);
            let bitmap = match which {
                Which::One => one,
                Which::Other => other,
            };
            if let Some(at) = bitmap.iter().rposition(|&word| word != 0) {
                let bit = 63 - bitmap.get(at)?.leading_zeros() as u16;
                return Some(position_of(b, at as u16 * 64 + bit));
            }
        }
        None
    }

    pub(super) fn iter(&self, which: Which) -> Iter<'_> {
        let (one, other) = (self.one_words.into(), self.other_words.into());
        let (skip, len) = match which {
            Which::One => (0, one),
            Which::Other => (one, other),
        };
        Iter {
            words: &self.words,
            pair: one + other,
            skip,
            len,
            blocks: self.mask(),
            b: 0,
            word: 0,
            at: 0,
            bitmap: &[],
        }
    }
}

/// A word of the bitmap that has `len` words from `from` on, 0 behind it:
/// without a branch.
#[inline]
fn word(pair: &[u64], from: usize, len: usize, at: usize) -> u64 {
    let found = pair.get((from + at).min(pair.len().saturating_sub(1)));
    select_unpredictable(at < len, found.copied().unwrap_or_default(), 0)
}

/// Not 0 if any bit of the first `len` words is set, of which there is one if
/// there are others. The last one is looked at again where there are fewer than a
/// bitmap can have: how many there are, nobody can foresee.
#[inline]
fn any(words: &[u64], len: usize) -> u64 {
    let word = |at: usize| words.get(at.min(len.saturating_sub(1)));
    (0..Offsets::WORDS).fold(0, |all, at| all | word(at).copied().unwrap_or_default())
}

/// Words a bitmap with this position needs.
#[inline]
pub(super) fn words_for(pos: u16) -> usize {
    item_of(pos) as usize / 64 + 1
}
