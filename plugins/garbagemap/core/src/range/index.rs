//! Where in a range something is undecided.
//!
//! Whoever takes a place asks this before he looks through all transactions.
//! Invariant: once it is kept, it knows each position at which one of them has
//! something; it may know some at which nobody has anything any more.

use crate::block::Offsets;
use crate::mem::{Mem, NoMemory};
use crate::sets::{Both, Sets, Which};

/// Positions that somebody has, or had; and those of them that may have come more
/// than once.
const KNOWN: Which = Which::One;
const OFTEN: Which = Which::Other;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Index {
    known: Sets,
    kept: bool,
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
        self.known.heap_bytes()
    }

    /// Whether there may be something at this position.
    #[inline]
    pub(super) fn may_have(&self, pos: u16) -> bool {
        !self.kept || self.known.contains(KNOWN, pos)
    }

    /// Whether there may be something in this block.
    #[inline]
    pub(super) fn may_have_in(&self, b: u8) -> bool {
        !self.kept || !self.known.block(b).one.is_empty()
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
            let which = match self.known.contains(KNOWN, pos) {
                false => KNOWN,
                true => OFTEN,
            };
            self.known.insert(which, pos, mem)
        })
    }

    /// Who had something at these positions has not any more.
    #[inline]
    pub(super) fn unnote(&mut self, at: impl Iterator<Item = u16>, mem: &mut Mem) {
        if !self.kept {
            return;
        }
        for pos in at {
            if !self.known.contains(OFTEN, pos) {
                self.known.remove(pos, mem);
            }
        }
    }

    /// There is nothing at this position from now on. Whether there may have been
    /// something.
    #[inline]
    pub(super) fn clear(&mut self, pos: u16, mem: &mut Mem) -> bool {
        !self.kept || self.known.remove(pos, mem) != (false, false)
    }

    /// The same of these offsets of a block.
    pub(super) fn clear_in(&mut self, b: u8, gone: Offsets, mem: &mut Mem) -> bool {
        let both = Both {
            one: gone,
            other: gone,
        };
        !self.kept || !self.known.take(b, both, mem).one.is_empty()
    }

    pub(super) fn try_clone(&self, mem: &mut Mem) -> Result<Index, NoMemory> {
        Ok(Index {
            known: self.known.try_clone(mem)?,
            kept: self.kept,
        })
    }
}
