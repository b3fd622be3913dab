//! A few positions without a heap.

use super::{Both, Which};
use crate::block::{Offsets, block_of, item_of};

/// So many fit where bitmaps have their own fields.
const ROOM: usize = 19;

/// The positions of one set and behind them those of the other, both in
/// strictly ascending order. Invariant: there are [`ROOM`] at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Few {
    one: u8,
    other: u8,
    list: [u16; ROOM],
}

impl Few {
    #[inline]
    pub(super) fn len(&self, which: Which) -> u16 {
        match which {
            Which::One => self.one.into(),
            Which::Other => self.other.into(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        (self.one, self.other) == (0, 0)
    }

    /// Whether there is room for so many more.
    #[inline]
    pub(super) fn has_room_for(&self, more: u16) -> bool {
        usize::from(self.one) + usize::from(self.other) + usize::from(more) <= ROOM
    }

    /// From the first block to the last one, with that of one position more,
    /// how many there are.
    #[inline]
    pub(super) fn span(&self, more: u16) -> u16 {
        let (one, other) = (self.list(Which::One), self.list(Which::Other));
        let ends = [one.first(), one.last(), other.first(), other.last()];
        let ends = || ends.into_iter().flatten().chain([&more]);
        let [low, high] = [ends().min(), ends().max()].map(|pos| pos.map_or(0, |&p| block_of(p)));
        u16::from(high - low) + 1
    }

    /// How many positions of a block there are.
    pub(super) fn len_of(&self, b: u8) -> u16 {
        let both = [Which::One, Which::Other].into_iter();
        let all = both.flat_map(|which| self.list(which));
        all.filter(|&&pos| block_of(pos) == b).count() as u16
    }

    #[inline]
    fn bounds(&self, which: Which) -> (usize, usize) {
        let one = usize::from(self.one);
        match which {
            Which::One => (0, one),
            Which::Other => (one, one + usize::from(self.other)),
        }
    }

    #[inline]
    pub(super) fn list(&self, which: Which) -> &[u16] {
        let (from, to) = self.bounds(which);
        self.list.get(from..to).unwrap_or_default()
    }

    pub(super) fn blocks(&self) -> u8 {
        let list = self.list(Which::One);
        let others = list
            .windows(2)
            .filter(|pair| block_of(pair[0]) != block_of(pair[1]));
        others.count() as u8 + u8::from(!list.is_empty())
    }

    /// The blocks that one set has something of.
    pub(super) fn mask(&self, which: Which) -> u128 {
        let list = self.list(which).iter();
        list.fold(0, |mask, &pos| mask | 1 << block_of(pos))
    }

    pub(super) fn block(&self, b: u8) -> Both {
        let of_block = |which| {
            let found = self.by_block(which).find(|&(block, _)| block == b);
            found.map(|(_, offsets)| offsets).unwrap_or_default()
        };
        Both {
            one: of_block(Which::One),
            other: of_block(Which::Other),
        }
    }

    /// The blocks that one set has something of, and what.
    pub(super) fn by_block(&self, which: Which) -> impl Iterator<Item = (u8, Offsets)> {
        let same_block = |a: &u16, b: &u16| block_of(*a) == block_of(*b);
        let blocks = self.list(which).chunk_by(same_block);
        blocks.map(|positions| {
            let mut offsets = Offsets::default();
            for &pos in positions {
                offsets.insert(item_of(pos) + 1);
            }
            (block_of(positions[0]), offsets)
        })
    }

    #[inline]
    pub(super) fn contains(&self, pos: u16) -> bool {
        let len = usize::from(self.one) + usize::from(self.other);
        self.list.iter().take(len).any(|&other| other == pos)
    }

    /// False if there is no room.
    #[inline]
    pub(super) fn insert(&mut self, which: Which, pos: u16) -> bool {
        let (from, to) = self.bounds(which);
        let end = usize::from(self.one) + usize::from(self.other);
        let mut at = to;
        // Newest positions tend to be the highest.
        while at > from && self.list[at - 1] >= pos {
            at -= 1;
        }
        if at < to && self.list[at] == pos {
            return true;
        }
        if end >= ROOM {
            return false;
        }
        let mut i = end;
        while i > at {
            self.list[i] = self.list[i - 1];
            i -= 1;
        }
        self.list[at] = pos;
        match which {
            Which::One => self.one += 1,
            Which::Other => self.other += 1,
        }
        true
    }

    #[inline]
    pub(super) fn remove(&mut self, pos: u16) -> (bool, bool) {
        let before = (self.one, self.other);
        self.retain(|_, p| p != pos);
        (self.one != before.0, self.other != before.1)
    }

    /// Take these of a block out of one set, and those out of the other. Which
    /// of them were there.
    #[inline]
    pub(super) fn take(&mut self, b: u8, gone: Both) -> Both {
        let mut removed = Both::default();
        self.retain(|which, pos| {
            if block_of(pos) != b {
                return true;
            }
            let off = item_of(pos) + 1;
            match which {
                Which::One if gone.one.contains(off) => removed.one.insert(off),
                Which::Other if gone.other.contains(off) => removed.other.insert(off),
                _ => return true,
            }
            false
        });
        removed
    }

    #[inline]
    fn retain(&mut self, mut keep: impl FnMut(Which, u16) -> bool) {
        let (one, other) = (usize::from(self.one), usize::from(self.other));
        let (mut kept, mut ones_kept) = (0, 0);
        for i in 0..(one + other).min(ROOM) {
            let pos = self.list[i];
            let which = if i < one { Which::One } else { Which::Other };
            let stays = keep(which, pos);
            self.list[kept] = pos;
            kept += usize::from(stays);
            ones_kept += u8::from(stays && i < one);
        }
        self.other = kept as u8 - ones_kept;
        self.one = ones_kept;
    }
}
