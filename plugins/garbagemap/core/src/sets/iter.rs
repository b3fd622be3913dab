//! The positions of bitmaps, one after the other.

use crate::block::position_of;

/// The numbers of the bits that are set.
pub(super) fn bits_of(mut mask: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < u128::BITS).then_some(bit as u8)
    })
}

/// The positions of one of the sets in ascending order.
#[derive(Clone)]
pub(crate) struct Iter<'a> {
    /// The pairs that come after the present one.
    pub(super) words: &'a [u64],
    /// Words of a pair, those before this which's, and this which's.
    pub(super) pair: usize,
    pub(super) skip: usize,
    pub(super) len: usize,
    /// Blocks that come after the present one.
    pub(super) blocks: u128,
    pub(super) b: u8,
    /// What is left of the present word, and its number.
    pub(super) word: u64,
    pub(super) at: u16,
    /// Words of the present bitmap that come after it.
    pub(super) bitmap: &'a [u64],
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.word == 0 {
            if let Some((&word, rest)) = self.bitmap.split_first() {
                (self.word, self.bitmap) = (word, rest);
                self.at += 1;
                continue;
            }
            if self.blocks == 0 {
                return None;
            }
            self.b = self.blocks.trailing_zeros() as u8;
            self.blocks &= self.blocks - 1;
            let (pair, rest) = self.words.split_at_checked(self.pair)?;
            self.words = rest;
            let bitmap = pair.get(self.skip..self.skip + self.len)?;
            let (&word, rest) = bitmap.split_first()?;
            (self.word, self.bitmap, self.at) = (word, rest, 0);
        }
        let bit = self.word.trailing_zeros() as u16;
        self.word &= self.word - 1;
        Some(position_of(self.b, self.at * 64 + bit))
    }
}
