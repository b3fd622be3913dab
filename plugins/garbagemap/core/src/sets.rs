//! Two sets of positions in a block range: its dead tuples and its `LP_DEAD`
//! items, or what a transaction deleted there and what it inserted.
//!
//! Nearly every look at one of the two is a look at the other, and memory is
//! slower than anything that is done with it: so both are kept together. A few
//! positions lie inline ([`Few`]), more in bitmaps, one pair for each block
//! ([`Many`]), which is found without a look at any other memory.

mod few;
mod iter;
mod many;
mod room;

use crate::block::{Offsets, position, position_of};
use crate::mem::{Mem, NoMemory};
use few::Few;
use many::Many;

/// See the module's documentation.
pub(crate) struct Sets(Repr);

enum Repr {
    Few(Few),
    Many(Many),
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    One,
    Other,
}

/// What both have of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Both {
    pub one: Offsets,
    pub other: Offsets,
}

impl Both {
    /// All there can be.
    const ALL: Both = Both {
        one: Offsets::ALL,
        other: Offsets::ALL,
    };
}

/// Bitmaps that hold no more than this go back inline. Less than what fits
/// there, so that a page that is filled and pruned in turns stays.
const BACK: u32 = 3;

impl Default for Sets {
    fn default() -> Self {
        Sets(Repr::Few(Few::default()))
    }
}

impl Sets {
    #[inline]
    pub(crate) fn len(&self, which: Which) -> u16 {
        match &self.0 {
            Repr::Few(few) => few.len(which),
            Repr::Many(many) => many.len(which),
        }
    }

    /// Blocks of which the one set has something.
    pub(crate) fn blocks(&self) -> u8 {
        match &self.0 {
            Repr::Few(few) => few.blocks(),
            Repr::Many(many) => many.blocks(),
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Few(_) => 0,
            Repr::Many(many) => many.heap_bytes(),
        }
    }

    /// Whether one of them has a position.
    pub(crate) fn contains(&self, which: Which, pos: u16) -> bool {
        match &self.0 {
            Repr::Few(few) => few.list(which).contains(&pos),
            Repr::Many(many) => many.contains(which, pos),
        }
    }

    /// What they have of a block.
    pub(crate) fn block(&self, b: u8) -> Both {
        match &self.0 {
            Repr::Few(few) => few.block(b),
            Repr::Many(many) => many.block(b),
        }
    }

    /// Something of what they have of a block, so that it is at hand.
    #[inline]
    pub(crate) fn touch(&self, b: u8) -> u64 {
        match &self.0 {
            Repr::Few(few) => few.len(Which::One).into(),
            Repr::Many(many) => many.touch(b),
        }
    }

    /// Add a position to one of them.
    #[inline]
    pub(crate) fn insert(&mut self, which: Which, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        match &mut self.0 {
            Repr::Few(few) => match few.insert(which, pos) {
                true => Ok(()),
                false => self.insert_into_many(which, pos, mem),
            },
            Repr::Many(many) => many.insert(which, pos, mem),
        }
    }

    /// There is no room for it inline.
    #[inline(never)]
    fn insert_into_many(&mut self, which: Which, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Repr::Few(few) = &self.0 {
            let with = |of| Some(pos).filter(|_| of == which);
            let one = few.list(Which::One).iter().copied();
            let other = few.list(Which::Other).iter().copied();
            let (one, other) = (one.chain(with(Which::One)), other.chain(with(Which::Other)));
            let mut many = Many::for_positions(one, other, mem)?;
            for which in [Which::One, Which::Other] {
                for (b, offsets) in few.by_block(which) {
                    if let Err(NoMemory) = many.insert_offsets(which, b, offsets, mem) {
                        mem.shrank(many.heap_bytes());
                        return Err(NoMemory);
                    }
                }
            }
            self.0 = Repr::Many(many);
        }
        self.insert(which, pos, mem)
    }

    /// Add an item of a block to the one set, if there is one to add, if
    /// another (or the same) is in neither, and if there is a place for it.
    /// Whether that was done: nothing is otherwise.
    #[inline]
    pub(crate) fn exchange(&mut self, b: u8, absent: u16, item: Option<u16>) -> bool {
        match &mut self.0 {
            Repr::Few(few) => {
                !few.contains(position_of(b, absent))
                    && item.is_none_or(|item| few.insert(Which::One, position_of(b, item)))
            }
            Repr::Many(many) => many.exchange(b, absent, item),
        }
    }

    /// Take a position out of both. Which of them had it.
    #[inline]
    pub(crate) fn remove(&mut self, pos: u16, mem: &mut Mem) -> (bool, bool) {
        match &mut self.0 {
            Repr::Few(few) => match few.is_empty() {
                true => (false, false),
                false => few.remove(pos),
            },
            Repr::Many(many) => {
                let removed = many.remove(pos);
                if removed != (false, false) {
                    self.shrink(mem);
                }
                removed
            }
        }
    }

    /// Take these of a block out of one, and those out of the other. Which of
    /// them were there.
    #[inline]
    pub(crate) fn take(&mut self, b: u8, gone: Both, mem: &mut Mem) -> Both {
        match &mut self.0 {
            Repr::Few(few) => match few.is_empty() {
                true => Both::default(),
                false => few.take(b, gone),
            },
            Repr::Many(many) => {
                let removed = many.take(b, gone);
                self.shrink(mem);
                removed
            }
        }
    }

    /// The same; how many were in the one set.
    #[inline]
    pub(crate) fn take_away(&mut self, b: u8, gone: Both, mem: &mut Mem) -> u16 {
        match &mut self.0 {
            Repr::Few(_) => self.take(b, gone, mem).one.count(),
            Repr::Many(many) => {
                let n = many.take_away(b, gone);
                self.shrink(mem);
                n
            }
        }
    }

    /// Add offsets of a block.
    pub(crate) fn insert_offsets(
        &mut self,
        which: Which,
        b: u8,
        offsets: Offsets,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let Some(first) = offsets.first() else {
            return Ok(());
        };
        if let Repr::Few(few) = &mut self.0 {
            if few.has_room_for(offsets.count()) {
                offsets.iter().for_each(|off| {
                    few.insert(which, position(b, off));
                });
                return Ok(());
            }
            self.insert_into_many(which, position(b, first), mem)?;
        }
        match &mut self.0 {
            Repr::Many(many) => many.insert_offsets(which, b, offsets, mem),
            Repr::Few(_) => Ok(()), // not any more
        }
    }

    /// Have this of a block, and nothing else.
    pub(crate) fn set_block(&mut self, b: u8, both: Both, mem: &mut Mem) -> Result<(), NoMemory> {
        self.clear_block(b, mem);
        self.insert_offsets(Which::One, b, both.one, mem)?;
        self.insert_offsets(Which::Other, b, both.other, mem)
    }

    /// Have nothing of a block.
    pub(crate) fn clear_block(&mut self, b: u8, mem: &mut Mem) {
        self.take(b, Both::ALL, mem);
    }

    /// The blocks of which one of them has something, and what.
    pub(crate) fn by_block(&self, which: Which) -> impl Iterator<Item = (u8, Offsets)> {
        let mask = match &self.0 {
            Repr::Few(few) => few.mask(which),
            Repr::Many(many) => many.mask(),
        };
        let blocks = iter::bits_of(mask).map(move |b| match which {
            Which::One => (b, self.block(b).one),
            Which::Other => (b, self.block(b).other),
        });
        blocks.filter(|(_, offsets)| !offsets.is_empty())
    }

    /// The highest position of one of them.
    pub(crate) fn last(&self, which: Which) -> Option<u16> {
        match &self.0 {
            Repr::Few(few) => few.list(which).last().copied(),
            Repr::Many(many) => many.last(which),
        }
    }

    /// The positions of one of them in ascending order.
    pub(crate) fn iter(&self, which: Which) -> Iter<'_> {
        match &self.0 {
            Repr::Few(few) => Iter::Few(few.list(which).iter()),
            Repr::Many(many) => Iter::Many(many.iter(which)),
        }
    }

    pub(crate) fn try_clone(&self, mem: &mut Mem) -> Result<Sets, NoMemory> {
        Ok(Sets(match &self.0 {
            Repr::Few(few) => Repr::Few(*few),
            Repr::Many(many) => Repr::Many(many.try_clone(mem)?),
        }))
    }

    /// Give memory back after positions were taken out.
    #[inline(always)]
    fn shrink(&mut self, mem: &mut Mem) {
        if let Repr::Many(many) = &mut self.0 {
            let both = [Which::One, Which::Other].map(|which| u32::from(many.len(which)));
            match both.iter().sum::<u32>() > BACK {
                true => many.shrink(mem),
                false => self.go_back(mem),
            }
        }
    }

    /// Have inline what is left.
    #[inline(never)]
    fn go_back(&mut self, mem: &mut Mem) {
        let Repr::Many(many) = &mut self.0 else {
            return;
        };
        mem.shrank(many.heap_bytes());
        let mut few = Few::default();
        for which in [Which::One, Which::Other] {
            many.iter(which).for_each(|pos| {
                few.insert(which, pos);
            });
        }
        self.0 = Repr::Few(few);
    }
}

/// Iterator over the positions of one of the sets.
#[derive(Clone)]
pub(crate) enum Iter<'a> {
    Few(std::slice::Iter<'a, u16>),
    Many(iter::Iter<'a>),
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Iter::Few(list) => list.next().copied(),
            Iter::Many(bits) => bits.next(),
        }
    }
}

#[cfg(test)]
mod tests;
