//! The state of one block, and sets of blocks within a range.

use walker_wal::{OffsetNumber, TransactionId};

use crate::MAX_RANGE_BLOCKS;
use crate::mem::NoMemory;

/// `MaxHeapTuplesPerPage` of 8 kB pages: no heap page has a line pointer
/// above it, and a record that names one is malformed.
pub const MAX_OFFSET: OffsetNumber = 291;

const MASK_WORDS: usize = MAX_RANGE_BLOCKS as usize / 64;

/// Blocks of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct BlockMask([u64; MASK_WORDS]);

impl BlockMask {
    /// The blocks from `first` on, in a range of `blocks`.
    pub(crate) fn from(first: u8, blocks: u8) -> Self {
        let below = |n: u8, word: u32| match u32::from(n).saturating_sub(word * 64) {
            n @ 0..64 => (1 << n) - 1,
            _ => u64::MAX,
        };
        let of_word = |word: u32| below(blocks, word) & !below(first, word);
        BlockMask::of([of_word(0), of_word(1)])
    }

    /// From its bits.
    pub(crate) fn of(words: [u64; MASK_WORDS]) -> Self {
        BlockMask(words)
    }

    pub(crate) fn words(self) -> [u64; MASK_WORDS] {
        self.0
    }

    pub(crate) fn and(self, other: BlockMask) -> Self {
        BlockMask(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    #[inline]
    pub(crate) fn get(&self, b: u8) -> bool {
        self.0[b as usize / 64 % MASK_WORDS] >> (b % 64) & 1 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, b: u8, value: bool) {
        let word = &mut self.0[b as usize / 64 % MASK_WORDS];
        *word = *word & !(1 << (b % 64)) | u64::from(value) << (b % 64);
    }

    pub(crate) fn count(&self) -> u8 {
        self.0.iter().map(|word| word.count_ones() as u8).sum()
    }

    /// The first block not in the mask.
    pub(crate) fn first_clear(&self) -> u8 {
        match self.0[0].trailing_ones() {
            64 => 64 + self.0[1].trailing_ones() as u8,
            n => n as u8,
        }
    }
}

/// Bits of a position that name the item.
const ITEM_BITS: u32 = 9;
const _: () = assert!(MAX_OFFSET as usize <= 1 << ITEM_BITS);
const _: () = assert!(MAX_RANGE_BLOCKS as usize <= 1 << (u16::BITS - ITEM_BITS));

/// The position of an item in a range: its block's number there and its own,
/// which begins at 0.
#[inline]
pub(crate) fn position_of(b: u8, item: u16) -> u16 {
    u16::from(b) << ITEM_BITS | item
}

/// The position of an offset, which is within 1..=[`MAX_OFFSET`].
#[inline]
pub(crate) fn position(b: u8, off: OffsetNumber) -> u16 {
    position_of(b, off - 1)
}

/// The block of a position.
#[inline]
pub(crate) fn block_of(pos: u16) -> u8 {
    (pos >> ITEM_BITS) as u8
}

/// The item of a position.
#[inline]
pub(crate) fn item_of(pos: u16) -> u16 {
    pos & ((1 << ITEM_BITS) - 1)
}

/// Offsets of one block, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Offsets([u64; Offsets::WORDS]);

impl Offsets {
    pub(crate) const WORDS: usize = (MAX_OFFSET as usize).div_ceil(64);
    /// All there can be.
    pub(crate) const ALL: Offsets = Offsets([u64::MAX; Offsets::WORDS]);

    /// Item by item from the first one.
    #[inline]
    pub(crate) fn words(self) -> [u64; Offsets::WORDS] {
        self.0
    }

    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64; Offsets::WORDS] {
        &mut self.0
    }

    /// `offset` is within 1..=[`MAX_OFFSET`].
    #[inline]
    pub(crate) fn insert(&mut self, offset: OffsetNumber) {
        let i = offset as usize - 1;
        self.0[i / 64] |= 1 << (i % 64);
    }

    /// The same.
    #[inline]
    pub(crate) fn remove(&mut self, offset: OffsetNumber) {
        let i = offset as usize - 1;
        self.0[i / 64] &= !(1 << (i % 64));
    }

    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = OffsetNumber> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                (bit < 64).then(|| {
                    word &= word - 1;
                    (at * 64) as u16 + bit as u16 + 1
                })
            })
        })
    }

    /// Without what would be beyond [`MAX_OFFSET`].
    pub(crate) fn valid(mut self) -> Offsets {
        const BEYOND: u32 = (Offsets::WORDS * 64) as u32 - MAX_OFFSET as u32;
        if let Some(last) = self.0.last_mut() {
            *last &= u64::MAX >> BEYOND;
        }
        self
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    #[inline]
    pub(crate) fn count(&self) -> u16 {
        // Most words are 0, and not all processors have an instruction for it.
        let used = self.0.iter().filter(|&&word| word != 0);
        used.map(|word| word.count_ones() as u16).sum()
    }

    pub(crate) fn first(self) -> Option<OffsetNumber> {
        self.iter().next()
    }

    pub(crate) fn last(self) -> Option<OffsetNumber> {
        let at = self.0.iter().rposition(|&word| word != 0)?;
        Some(at as u16 * 64 + self.0[at].ilog2() as u16 + 1)
    }

    #[inline]
    pub(crate) fn contains(&self, offset: OffsetNumber) -> bool {
        let i = offset as usize - 1;
        self.0[i / 64] >> (i % 64) & 1 != 0
    }

    /// Whether they have one in common.
    #[inline]
    pub(crate) fn intersects(self, other: Offsets) -> bool {
        !self.and(other).is_empty()
    }

    pub(crate) fn xor(self, other: Offsets) -> Offsets {
        self.zip(other, |a, b| a ^ b)
    }

    pub(crate) fn without(self, other: Offsets) -> Offsets {
        self.zip(other, |a, b| a & !b)
    }

    pub(crate) fn and(self, other: Offsets) -> Offsets {
        self.zip(other, |a, b| a & b)
    }

    pub(crate) fn or(self, other: Offsets) -> Offsets {
        self.zip(other, |a, b| a | b)
    }

    fn zip(self, other: Offsets, f: impl Fn(u64, u64) -> u64) -> Offsets {
        Offsets(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// What pruning did to the items of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pruned {
    /// Those that hold no tuple any more: what was pruned.
    pub gone: Offsets,
    /// Those of them that now are `LP_DEAD`,
    pub nowdead: Offsets,
    /// and those that now are `LP_UNUSED`; the others redirect.
    pub nowunused: Offsets,
}

/// What a running transaction may do to a tuple's dead-ness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// It inserted the tuple, which is dead if it aborts.
    Insert,
    /// It deleted the tuple, which is dead if it commits.
    Delete,
    /// It updated the tuple, which is the same but for what is counted.
    Update,
}

/// A block's state as its page shows it. One instance is reused, so that
/// decoding an image allocates nothing.
#[derive(Default, Debug)]
pub(crate) struct BlockState {
    /// Dead `LP_NORMAL` items.
    pub dead: Offsets,
    /// `LP_DEAD` items.
    pub items: Offsets,
    /// `LP_NORMAL` items.
    pub normal: u16,
    /// Events whose transaction has not ended.
    pub pending: Vec<(OffsetNumber, TransactionId, Event)>,
}

impl BlockState {
    /// Empty it, and make sure that filling it cannot fail: two events per
    /// item at most.
    pub(crate) fn reset(&mut self) -> Result<(), NoMemory> {
        self.dead = Offsets::default();
        self.items = Offsets::default();
        self.normal = 0;
        self.pending.clear();
        self.pending.try_reserve_exact(2 * MAX_OFFSET as usize)?;
        Ok(())
    }

    pub(crate) fn pending_offsets(&self) -> Offsets {
        let mut offsets = Offsets::default();
        self.pending
            .iter()
            .for_each(|&(off, ..)| offsets.insert(off));
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_offsets() {
        let mut mask = BlockMask::from(30, 32);
        assert_eq!((mask.count(), mask.first_clear()), (2, 0));
        (0..30).for_each(|b| mask.set(b, true));
        assert_eq!((mask.count(), mask.first_clear()), (32, 32));
        mask.set(7, false);
        assert_eq!((mask.count(), mask.first_clear()), (31, 7));
        assert_eq!(BlockMask::from(0, 128).first_clear(), 128);
        for (first, blocks) in [(0, 0), (5, 3), (0, 64), (63, 65), (64, 128), (3, 127)] {
            let mask = BlockMask::from(first, blocks);
            let bits = (0..128).filter(|&b| mask.get(b));
            assert!(bits.eq(first..blocks), "{first} to {blocks}");
        }

        let mut offsets = Offsets::default();
        for off in [1, 64, 65, 291] {
            offsets.insert(off);
        }
        assert!(offsets.iter().eq([1, 64, 65, 291]));
        let mut other = Offsets::default();
        other.insert(65);
        assert!(offsets.without(other).iter().eq([1, 64, 291]));
        assert_eq!(other.first(), Some(65));
    }
}
