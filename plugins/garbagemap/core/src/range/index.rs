//! Where in a range something is undecided.
//!
//! Whoever takes a place asks this before he looks through all transactions.
//! Invariant: once it is kept, it knows each position at which one of them has
//! something; it may know some at which nobody has anything any more. Only a
//! range with much undecided has it, so it is plain bits: setting one costs next to
//! nothing.

use crate::block::{Offsets, block_of, item_of};
use crate::mem::{Mem, NoMemory, list_bytes};

/// Offsets of a block that somebody has, or had; and those of them that may have
/// come more than once.
#[derive(Clone, Copy, Default)]
struct OfBlock {
    known: Offsets,
    often: Offsets,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Index {
    /// By block, as far as there was something.
    blocks: Vec<OfBlock>,
    kept: bool,
}

/// Block and offset of a position.
#[inline]
fn place(pos: u16) -> (usize, u16) {
    (block_of(pos).into(), item_of(pos) + 1)
}

impl Index {
    /// Keep it from now on: who does so notes all there is.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn heap_bytes(&self) -> usize {
        list_bytes::<OfBlock>(self.blocks.capacity())
    }

    /// Whether there may be something at this position.
    #[inline]
    pub(super) fn may_have(&self, pos: u16) -> bool {
        let (b, off) = place(pos);
        let of = self.blocks.get(b);
        !self.kept || of.is_some_and(|of| of.known.contains(off))
    }

    /// Whether there may be something in this block.
    #[inline]
    pub(super) fn may_have_in(&self, b: u8) -> bool {
        let of = self.blocks.get(usize::from(b));
        !self.kept || of.is_some_and(|of| !of.known.is_empty())
    }

    /// Somebody has something at these positions.
    #[inline]
    pub(super) fn note(
        &mut self,
        mut at: impl Iterator<Item = u16>,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        if !self.kept {
            return Ok(());
        }
        at.try_for_each(|pos| {
            let (b, off) = place(pos);
            if b >= self.blocks.len() {
                self.reach(b, mem)?;
            }
            if let Some(of) = self.blocks.get_mut(b) {
                match of.known.contains(off) {
                    false => of.known.insert(off),
                    true => of.often.insert(off),
                }
            }
            Ok(())
        })
    }

    /// Have room for this block.
    #[cold]
    fn reach(&mut self, b: usize, mem: &mut Mem) -> Result<(), NoMemory> {
        let before = self.heap_bytes();
        self.blocks.try_reserve(b + 1 - self.blocks.len())?;
        self.blocks.resize(b + 1, OfBlock::default());
        mem.changed(before, self.heap_bytes());
        Ok(())
    }

    /// Who had something at these positions has not any more.
    #[inline]
    pub(super) fn unnote(&mut self, at: impl Iterator<Item = u16>) {
        if !self.kept {
            return; // a group may have thousands
        }
        for pos in at {
            let (b, off) = place(pos);
            if let Some(of) = self.blocks.get_mut(b)
                && !of.often.contains(off)
            {
                of.known.remove(off);
            }
        }
    }

    /// There is nothing at this position from now on. Whether there may have been
    /// something.
    #[inline]
    pub(super) fn clear(&mut self, pos: u16) -> bool {
        let (b, off) = place(pos);
        let mut one = Offsets::default();
        one.insert(off);
        self.clear_in(b as u8, one)
    }

    /// The same of these offsets of a block.
    #[inline]
    pub(super) fn clear_in(&mut self, b: u8, gone: Offsets) -> bool {
        let Some(of) = self.blocks.get_mut(usize::from(b)) else {
            return !self.kept;
        };
        let had = of.known.intersects(gone);
        of.known = of.known.without(gone);
        of.often = of.often.without(gone);
        had
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Index, NoMemory> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(self.blocks.len())?;
        blocks.extend_from_slice(&self.blocks);
        let copy = Index {
            blocks,
            kept: self.kept,
        };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }
}
