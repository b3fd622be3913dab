//! Two sets of positions in a block range: its dead tuples and its `LP_DEAD`
//! items, or what a transaction deleted there and what it inserted.
//!
//! Nearly every look at one of the two is a look at the other, and memory is
//! slower than anything that is done with it: so both are kept together. A few
//! positions lie inline ([`Few`]). More lie in words, one for each block, if no
//! block has many ([`Packed`]), else in bitmaps, one pair for each block
//! ([`Many`]); either is found without a look at any other memory.

mod few;
mod iter;
mod many;
mod packed;
mod repr;
mod room;

use crate::block::{Offsets, position, position_of};
use crate::mem::{Mem, NoMemory};
use few::Few;
use many::Many;
use packed::{PER_BLOCK, Packed};

/// See the module's documentation.
pub(crate) struct Sets(Repr);

enum Repr {
    Few(Few),
    Packed(Packed),
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
            Repr::Packed(packed) => packed.len(which),
            Repr::Many(many) => many.len(which),
        }
    }

    /// Blocks of which the one set has something.
    pub(crate) fn blocks(&self) -> u8 {
        match &self.0 {
            Repr::Few(few) => few.blocks(),
            Repr::Packed(packed) => packed.blocks(),
            Repr::Many(many) => many.blocks(),
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Few(_) => 0,
            Repr::Packed(packed) => packed.heap_bytes(),
            Repr::Many(many) => many.heap_bytes(),
        }
    }

    /// Whether one of them has a position.
    pub(crate) fn contains(&self, which: Which, pos: u16) -> bool {
        match &self.0 {
            Repr::Few(few) => few.list(which).contains(&pos),
            Repr::Packed(packed) => packed.contains(which, pos),
            Repr::Many(many) => many.contains(which, pos),
        }
    }

    /// What they have of a block.
    pub(crate) fn block(&self, b: u8) -> Both {
        match &self.0 {
            Repr::Few(few) => few.block(b),
            Repr::Packed(packed) => packed.block(b),
            Repr::Many(many) => many.block(b),
        }
    }

    /// Something of what they have of a block, so that it is at hand.
    #[inline]
    pub(crate) fn touch(&self, b: u8) -> u64 {
        match &self.0 {
            Repr::Few(few) => few.len(Which::One).into(),
            Repr::Packed(packed) => packed.touch(b),
            Repr::Many(many) => many.touch(b),
        }
    }

    /// Add a position to one of them.
    #[inline]
    pub(crate) fn insert(&mut self, which: Which, pos: u16, mem: &mut Mem) -> Result<(), NoMemory> {
        match &mut self.0 {
            Repr::Few(few) => match few.insert(which, pos) {
                true => Ok(()),
                false => self.insert_elsewhere(which, pos, mem),
            },
            Repr::Packed(_) => self.insert_packed(which, pos, mem),
            Repr::Many(many) => many.insert(which, pos, mem),
        }
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
            Repr::Packed(packed) => packed.exchange(b, absent, item),
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
            Repr::Packed(packed) => {
                let removed = packed.remove(pos);
                if removed != (false, false) {
                    self.shrink(mem);
                }
                removed
            }
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
            Repr::Packed(packed) => {
                let removed = packed.take(b, gone);
                self.shrink(mem);
                removed
            }
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
            Repr::Packed(packed) => {
                let n = packed.take_away(b, &gone);
                self.shrink(mem);
                n
            }
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
        let Some(last) = offsets.last() else {
            return Ok(());
        };
        if !matches!(self.0, Repr::Many(_)) {
            let n = offsets.count();
            let is_room = match &self.0 {
                Repr::Few(few) if few.has_room_for(n) => true,
                Repr::Few(few) => n <= PER_BLOCK && few.len_of(b) + n <= PER_BLOCK,
                Repr::Packed(packed) => n <= packed.room(b),
                Repr::Many(_) => false,
            };
            if is_room {
                let mut all = offsets.iter().map(|off| position(b, off));
                return all.try_for_each(|pos| self.insert(which, pos, mem));
            }
            self.make_many(which, position(b, last), mem)?;
        }
        match &mut self.0 {
            Repr::Many(many) => many.insert_offsets(which, b, offsets, mem),
            Repr::Few(_) | Repr::Packed(_) => Ok(()), // not any more
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
            Repr::Packed(packed) => packed.mask(),
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
            Repr::Packed(packed) => packed.last(which),
            Repr::Many(many) => many.last(which),
        }
    }

    /// The positions of one of them in ascending order.
    pub(crate) fn iter(&self, which: Which) -> Iter<'_> {
        match &self.0 {
            Repr::Few(few) => Iter::Few(few.list(which).iter()),
            Repr::Packed(packed) => Iter::Packed(packed.iter(which)),
            Repr::Many(many) => Iter::Many(many.iter(which)),
        }
    }

    pub(crate) fn try_clone(&self, mem: &mut Mem) -> Result<Sets, NoMemory> {
        Ok(Sets(match &self.0 {
            Repr::Few(few) => Repr::Few(*few),
            Repr::Packed(packed) => Repr::Packed(packed.try_clone(mem)?),
            Repr::Many(many) => Repr::Many(many.try_clone(mem)?),
        }))
    }
}

/// Iterator over the positions of one of the sets.
#[derive(Clone)]
pub(crate) enum Iter<'a> {
    Few(std::slice::Iter<'a, u16>),
    Packed(packed::Iter<'a>),
    Many(iter::Iter<'a>),
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Iter::Few(list) => list.next().copied(),
            Iter::Packed(words) => words.next(),
            Iter::Many(bits) => bits.next(),
        }
    }
}

#[cfg(test)]
mod tests;
