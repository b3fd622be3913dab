//! What two sets have of a block, as far as it fits into a word.

use crate::block::MAX_OFFSET;
use crate::sets::Which;

/// So many positions fit a block's word.
pub(in crate::sets) const PER_BLOCK: u16 = 6;

/// Bits of a lane, of which a word has [`PER_BLOCK`]: an item, and above it
/// whose it is.
const LANE: u32 = 10;
const LANE_BITS: u64 = (1 << LANE) - 1;
const SET: u32 = LANE - 1;
/// The bits of an item. All of them are an empty lane, for no item is so high.
const ITEM: u64 = (1 << SET) - 1;
/// From this bit on a word says how many lanes are used.
const COUNT: u32 = PER_BLOCK as u32 * LANE;
/// A 1 in each lane; the bits of all items, and those of whose they are.
const EACH: u64 = each(1);
const ITEMS: u64 = each(ITEM);
const OTHERS: u64 = each(1 << SET);
const _: () =
    assert!(MAX_OFFSET as u64 <= ITEM && (PER_BLOCK as u64) << COUNT >> COUNT == PER_BLOCK as u64);

/// The same in each lane.
const fn each(lane: u64) -> u64 {
    let (mut all, mut n) = (0, 0);
    while n < PER_BLOCK as u32 {
        all |= lane << (n * LANE);
        n += 1;
    }
    all
}

/// What there is of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub u64);

impl Word {
    pub const EMPTY: Word = Word(ITEMS);

    #[inline]
    pub fn len(self) -> u16 {
        (self.0 >> COUNT) as u16
    }

    /// How many of the other set. They are added up in the highest lane.
    #[inline]
    pub fn others(self) -> u16 {
        let each = (self.0 & OTHERS) >> SET;
        (each.wrapping_mul(EACH) >> (COUNT - LANE) & LANE_BITS) as u16
    }

    #[inline]
    pub fn ones(self) -> u16 {
        self.len() - self.others()
    }

    /// In which lanes an item is: the bits there that say whose it is.
    #[inline]
    pub fn lanes_of(self, item: u16) -> u64 {
        let differs = ((self.0 ^ EACH.wrapping_mul(item.into())) & ITEMS) + ITEMS;
        !differs & OTHERS
    }

    /// Whether a set has an item.
    #[inline]
    pub fn has(self, which: Which, item: u16) -> bool {
        let of = match which {
            Which::One => !self.0,
            Which::Other => self.0,
        };
        self.lanes_of(item) & of != 0
    }

    /// Add an item to a set that does not have it. There must be room: less than
    /// [`PER_BLOCK`] are there.
    #[inline]
    pub fn push(&mut self, which: Which, item: u16) {
        let lane = ITEM ^ u64::from(item) ^ u64::from(which == Which::Other) << SET;
        let n = u32::from(self.len());
        self.0 = (self.0 ^ lane << (n * LANE)) + (1 << COUNT);
    }

    /// Item by item, and whose they are.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (Which, u16)> {
        let mut rest = self.0;
        (0..self.len()).map(move |_| {
            let (item, which) = ((rest & ITEM) as u16, rest >> SET & 1);
            rest >>= LANE;
            let which = if which == 0 { Which::One } else { Which::Other };
            (which, item)
        })
    }

    /// Without those that are not to be kept.
    #[inline]
    pub fn retain(self, keep: impl Fn(Which, u16) -> bool) -> Word {
        let mut kept = Word::EMPTY;
        for (which, item) in self.iter() {
            if keep(which, item) {
                kept.push(which, item);
            }
        }
        kept
    }
}
