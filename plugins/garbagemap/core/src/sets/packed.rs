//! A few positions of each of many blocks: all of a block in one word.
//!
//! Where tuples are updated here and there, most blocks have one to five dead
//! ones. A bitmap for each set would be mostly zeros, and what is looked at for
//! a block would not fit the processor's cache.

mod word;

use super::{Both, Which};
use crate::block::{block_of, item_of, position_of};
use crate::mem::{MALLOC_OVERHEAD, Mem, NoMemory};
pub(super) use word::PER_BLOCK;
use word::Word;

/// Words are made where one block of so many has something,
const MADE: usize = 4;
/// and kept where one of so many has.
const KEPT: usize = 6;

/// See the module's documentation. Invariant: `one` and `other` are the numbers
/// of positions, `one_blocks` that of the blocks of which the one set has some,
/// `used` that of those of which either has.
pub(super) struct Packed {
    words: Vec<u64>,
    one: u16,
    other: u16,
    one_blocks: u8,
    used: u8,
}

impl Packed {
    /// Nothing yet, with room for these positions, each of which is another, if
    /// they are few in each of their blocks, and these not far apart.
    pub(super) fn for_positions(
        all: impl Iterator<Item = u16> + Clone,
        mem: &mut Mem,
    ) -> Result<Option<Packed>, NoMemory> {
        let blocks = || all.clone().map(block_of);
        let mask = blocks().fold(0u128, |mask, b| mask | 1 << b);
        let len = (u128::BITS - mask.leading_zeros()).next_power_of_two();
        let there = mask.count_ones();
        if there * u32::from(PER_BLOCK) < blocks().count() as u32
            || (there as usize) * MADE < len as usize
        {
            return Ok(None);
        }
        let mut counts = [0u8; u128::BITS as usize];
        for b in blocks() {
            if let Some(count) = counts.get_mut(usize::from(b)) {
                *count += 1;
                if u16::from(*count) > PER_BLOCK {
                    return Ok(None);
                }
            }
        }
        let mut packed = Packed {
            words: Vec::new(),
            one: 0,
            other: 0,
            one_blocks: 0,
            used: 0,
        };
        packed.grow(len as usize)?;
        mem.grew(packed.heap_bytes());
        Ok(Some(packed))
    }

    fn grow(&mut self, len: usize) -> Result<(), NoMemory> {
        self.words.try_reserve_exact(len - self.words.len())?;
        self.words.resize(len, Word::EMPTY.0);
        Ok(())
    }

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
    pub(super) fn blocks(&self) -> u8 {
        self.one_blocks
    }

    #[inline]
    fn word(&self, b: u8) -> Word {
        let word = self.words.get(usize::from(b));
        word.map_or(Word::EMPTY, |&word| Word(word))
    }

    #[inline]
    pub(super) fn touch(&self, b: u8) -> u64 {
        self.word(b).0
    }

    pub(super) fn contains(&self, which: Which, pos: u16) -> bool {
        self.word(block_of(pos)).has(which, item_of(pos))
    }

    pub(super) fn block(&self, b: u8) -> Both {
        let mut both = Both::default();
        for (which, item) in self.word(b).iter() {
            match which {
                Which::One => both.one.insert(item + 1),
                Which::Other => both.other.insert(item + 1),
            }
        }
        both
    }

    /// How many more positions of a block there is room for.
    pub(super) fn room(&self, b: u8) -> u16 {
        PER_BLOCK - self.word(b).len()
    }

    /// Whether too few blocks have something for all these words.
    #[inline]
    pub(super) fn is_sparse(&self) -> bool {
        usize::from(self.used) * KEPT < self.words.len()
    }

    /// False if there is no room for it: its block has enough, or is far away.
    #[inline]
    pub(super) fn insert(
        &mut self,
        which: Which,
        pos: u16,
        mem: &mut Mem,
    ) -> Result<bool, NoMemory> {
        let (b, item) = (usize::from(block_of(pos)), item_of(pos));
        if b >= self.words.len() {
            let len = (b + 1).next_power_of_two();
            if (usize::from(self.used) + 1) * MADE < len {
                return Ok(false);
            }
            let before = self.heap_bytes();
            self.grow(len)?;
            mem.changed(before, self.heap_bytes());
        }
        let word = self.word(b as u8);
        if word.has(which, item) {
            return Ok(true);
        }
        if word.len() >= PER_BLOCK {
            return Ok(false);
        }
        self.push(b, word, which, item);
        Ok(true)
    }

    /// Add an item to a block's word, which is this.
    #[inline]
    fn push(&mut self, b: usize, mut word: Word, which: Which, item: u16) {
        match which {
            Which::One => {
                self.one_blocks += u8::from(word.ones() == 0);
                self.one += 1;
            }
            Which::Other => self.other += 1,
        }
        self.used += u8::from(word.len() == 0);
        word.push(which, item);
        if let Some(to) = self.words.get_mut(b) {
            *to = word.0;
        }
    }

    /// See [`Sets::exchange`](super::Sets::exchange).
    #[inline]
    pub(super) fn exchange(&mut self, b: u8, absent: u16, item: Option<u16>) -> bool {
        let Some(&word) = self.words.get(usize::from(b)) else {
            return item.is_none();
        };
        let word = Word(word);
        if word.lanes_of(absent) != 0 {
            return false;
        }
        match item {
            None => true,
            Some(item) if word.has(Which::One, item) => true,
            Some(_) if word.len() >= PER_BLOCK => false,
            Some(item) => {
                self.push(b.into(), word, Which::One, item);
                true
            }
        }
    }

    /// Take a position out of both sets. Which of them had it.
    pub(super) fn remove(&mut self, pos: u16) -> (bool, bool) {
        let (b, item) = (block_of(pos), item_of(pos));
        let word = self.word(b);
        if word.lanes_of(item) == 0 {
            return (false, false);
        }
        let (ones, others) = self.put(b, word, word.retain(|_, other| other != item));
        (ones != 0, others != 0)
    }

    /// Have this of a block, which is a part of what there was. How many of
    /// each set are gone.
    #[inline]
    fn put(&mut self, b: u8, before: Word, word: Word) -> (u16, u16) {
        let ones = before.ones() - word.ones();
        let others = before.others() - word.others();
        self.one -= ones;
        self.other -= others;
        self.one_blocks -= u8::from((ones != 0) & (word.ones() == 0));
        self.used -= u8::from((before.len() != 0) & (word.len() == 0));
        if let Some(to) = self.words.get_mut(usize::from(b)) {
            *to = word.0;
        }
        (ones, others)
    }

    /// Take these of a block out of one set, and those out of the other. Which
    /// of them were there.
    pub(super) fn take(&mut self, b: u8, gone: Both) -> Both {
        let had = self.block(b);
        self.take_away(b, &gone);
        Both {
            one: had.one.and(gone.one),
            other: had.other.and(gone.other),
        }
    }

    /// The same; how many were in the one set.
    #[inline]
    pub(super) fn take_away(&mut self, b: u8, gone: &Both) -> u16 {
        let word = self.word(b);
        let left = word.retain(|which, item| {
            let gone = match which {
                Which::One => &gone.one,
                Which::Other => &gone.other,
            };
            !gone.contains(item + 1)
        });
        self.put(b, word, left).0
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Packed, NoMemory> {
        let mut words = Vec::new();
        words.try_reserve_exact(self.words.len())?;
        words.extend_from_slice(&self.words);
        let copy = Packed { words, ..*self };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }

    /// The blocks that have something.
    pub(super) fn mask(&self) -> u128 {
        let blocks = self.words.iter().enumerate();
        blocks.fold(0, |mask, (b, &word)| {
            mask | u128::from(Word(word).len() != 0) << b
        })
    }

    pub(super) fn last(&self, which: Which) -> Option<u16> {
        let mut blocks = self.words.iter().enumerate().rev();
        blocks.find_map(|(b, &word)| {
            let own = Word(word).iter().filter(|&(of, _)| of == which);
            own.map(|(_, item)| position_of(b as u8, item)).max()
        })
    }

    pub(super) fn iter(&self, which: Which) -> Iter<'_> {
        Iter {
            words: &self.words,
            which,
            b: 0,
            items: [0; PER_BLOCK as usize],
            at: 0,
            end: 0,
        }
    }
}

/// The positions of one of the sets in ascending order.
#[derive(Clone)]
pub(crate) struct Iter<'a> {
    /// The words of the blocks behind the present one, and how many blocks
    /// there were before those.
    words: &'a [u64],
    which: Which,
    b: u8,
    /// What the present block has, what comes next of it, and the end of it.
    items: [u16; PER_BLOCK as usize],
    at: u8,
    end: u8,
}

impl Iter<'_> {
    /// The items of a block in ascending order.
    fn enter(&mut self, word: Word) {
        let mut n = 0;
        for (_, item) in word.iter().filter(|&(of, _)| of == self.which) {
            let mut at = n;
            while at > 0 && self.items[at - 1] > item {
                self.items[at] = self.items[at - 1];
                at -= 1;
            }
            self.items[at] = item;
            n += 1;
        }
        (self.at, self.end) = (0, n as u8);
    }
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.at == self.end {
            let (&word, rest) = self.words.split_first()?;
            self.words = rest;
            self.b += 1;
            self.enter(Word(word));
        }
        let item = self.items[usize::from(self.at)];
        self.at += 1;
        Some(position_of(self.b - 1, item))
    }
}
