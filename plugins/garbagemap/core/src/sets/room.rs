//! Room for bitmaps: made where there are none, where a block gets its first
//! position or one that is too high for them; given back where most are empty.

use super::Which;
use super::iter::bits_of;
use super::many::{Many, words_for};
use crate::block::{Offsets, block_of};
use crate::mem::{Mem, NoMemory};

impl Many {
    /// What both sets have, by position and by block, with room for one position
    /// more of the one that is named.
    #[inline]
    pub(super) fn of<P, B>(
        list: impl Fn(Which) -> P,
        by_block: impl Fn(Which) -> B,
        (which, pos): (Which, u16),
        mem: &mut Mem,
    ) -> Result<Many, NoMemory>
    where
        P: Iterator<Item = u16>,
        B: Iterator<Item = (u8, Offsets)>,
    {
        let with = |of| list(of).chain(Some(pos).filter(|_| of == which));
        let mut many = Many::for_positions(with(Which::One), with(Which::Other), mem)?;
        for which in [Which::One, Which::Other] {
            for (b, offsets) in by_block(which) {
                if let Err(NoMemory) = many.insert_offsets(which, b, offsets, mem) {
                    mem.shrank(many.heap_bytes());
                    return Err(NoMemory);
                }
            }
        }
        Ok(many)
    }

    /// Nothing yet, with room for these positions and those of one more block.
    fn for_positions(
        one: impl Iterator<Item = u16>,
        other: impl Iterator<Item = u16>,
        mem: &mut Mem,
    ) -> Result<Many, NoMemory> {
        let mut blocks = 0u128;
        let mut needed = |positions: &mut dyn Iterator<Item = u16>| {
            positions.fold(0, |words, pos| {
                blocks |= 1 << block_of(pos);
                words.max(words_for(pos))
            })
        };
        let mut one = one;
        let mut other = other;
        let (one_words, other_words) = (needed(&mut one), needed(&mut other));
        let pairs = blocks.count_ones() as usize + 1;
        let mut words = Vec::new();
        words.try_reserve_exact(pairs * (one_words + other_words))?;
        let many = Many {
            words,
            blocks: [0; 2],
            one: 0,
            other: 0,
            one_words: one_words as u8,
            other_words: other_words as u8,
            one_blocks: 0,
            taken: 0,
        };
        mem.grew(many.heap_bytes());
        Ok(many)
    }

    /// Make an empty pair for a block.
    pub(super) fn open(&mut self, b: u8, at: usize, mem: &mut Mem) -> Result<(), NoMemory> {
        let len = self.pair_words();
        if self.words.len() + len > self.words.capacity() {
            let before = self.heap_bytes();
            // One block, or an eighth of what there is.
            let more = len.max(self.words.len() / 8);
            self.words.try_reserve_exact(more)?;
            mem.changed(before, self.heap_bytes());
        }
        let end = self.words.len();
        self.words.resize(end + len, 0); // there is room
        self.words.copy_within(at..end, at + len);
        if let Some(pair) = self.words.get_mut(at..at + len) {
            pair.fill(0);
        }
        if let Some(word) = self.blocks.get_mut(usize::from(b / 64)) {
            *word |= 1 << (b % 64);
        }
        Ok(())
    }

    /// Give every bitmap of a which so many words.
    #[cold]
    pub(super) fn widen(
        &mut self,
        which: Which,
        words: usize,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let before = self.heap_bytes();
        let (one, other) = (usize::from(self.one_words), usize::from(self.other_words));
        let (more_ones, more_others) = match which {
            Which::One => (words - one, 0),
            Which::Other => (0, words - other),
        };
        let pairs = self
            .blocks
            .iter()
            .map(|word| word.count_ones())
            .sum::<u32>() as usize;
        let mut wide = Vec::new();
        wide.try_reserve_exact((pairs + 1) * (one + more_ones + other + more_others))?;
        let mut rest = self.words.as_slice();
        for _ in 0..pairs {
            let (bitmap, more) = rest.split_at_checked(one).unwrap_or_default();
            wide.extend_from_slice(bitmap);
            wide.resize(wide.len() + more_ones, 0);
            let (bitmap, more) = more.split_at_checked(other).unwrap_or_default();
            wide.extend_from_slice(bitmap);
            wide.resize(wide.len() + more_others, 0);
            rest = more;
        }
        self.words = wide;
        match which {
            Which::One => self.one_words = words as u8,
            Which::Other => self.other_words = words as u8,
        }
        mem.changed(before, self.heap_bytes());
        Ok(())
    }

    /// Let go of empty pairs where three of four are. Where that needs memory
    /// that is not to be had, all stays as it is.
    #[inline]
    pub(super) fn shrink(&mut self, mem: &mut Mem) {
        // A pair that is not empty holds one position at least.
        let most = usize::from(self.one) + usize::from(self.other);
        if most * 4 * self.pair_words() < self.words.len() {
            self.shrink_now(mem);
        }
    }

    #[inline(never)]
    fn shrink_now(&mut self, mem: &mut Mem) {
        let (len, before) = (self.pair_words(), self.heap_bytes());
        let full = |pair: &&[u64]| pair.iter().any(|&word| word != 0);
        let pairs = || self.words.chunks_exact(len.max(1));
        let mut words = Vec::new();
        let room = (pairs().filter(full).count() + 1) * len;
        if words.try_reserve_exact(room).is_err() {
            return;
        }
        let mut blocks = 0u128;
        for (b, pair) in bits_of(self.mask()).zip(pairs()) {
            if full(&pair) {
                words.extend_from_slice(pair);
                blocks |= 1 << b;
            }
        }
        self.blocks = [blocks as u64, (blocks >> 64) as u64];
        self.words = words;
        mem.changed(before, self.heap_bytes());
    }
}
