//! From one way to keep positions to another, as they become more or fewer.

use super::few::Few;
use super::many::Many;
use super::packed::{PER_BLOCK, Packed};
use super::{Repr, Sets, Which};
use crate::mem::{Mem, NoMemory};

/// Bitmaps that hold no more than this go back inline. Less than what fits
/// there, so that a page that is filled and pruned in turns stays.
const BACK: u32 = 3;
/// The same of words, of which there are many and which are soon made again.
const BACK_FROM_WORDS: u32 = 6;
/// So many fit inline and leave room there.
const INLINE: u32 = 15;

impl Sets {
    /// Add a position to words, or to what they give way to.
    #[inline(never)]
    pub(super) fn insert_packed(
        &mut self,
        which: Which,
        pos: u16,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        if let Repr::Packed(packed) = &mut self.0
            && packed.insert(which, pos, mem)?
        {
            return Ok(());
        }
        self.insert_elsewhere(which, pos, mem)
    }

    /// There is no room for it where the others are.
    #[inline(never)]
    pub(super) fn insert_elsewhere(
        &mut self,
        which: Which,
        pos: u16,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        // Many of one block, as small tables have them, are seen at once.
        let may_pack = match &self.0 {
            Repr::Few(few) => {
                few.span(pos) * PER_BLOCK > few.len(Which::One) + few.len(Which::Other)
            }
            Repr::Packed(_) | Repr::Many(_) => false,
        };
        if !may_pack || !self.pack(Some(pos), mem)? {
            self.make_many(which, pos, mem)?;
        }
        self.insert(which, pos, mem)
    }

    /// Put all in words, with room there for one more, if that is what they are
    /// for. Whether it was done.
    fn pack(&mut self, more: Option<u16>, mem: &mut Mem) -> Result<bool, NoMemory> {
        let all = || self.iter(Which::One).chain(self.iter(Which::Other));
        let mut own = Mem::default();
        let Some(mut packed) = Packed::for_positions(all().chain(more), &mut own)? else {
            return Ok(false);
        };
        for which in [Which::One, Which::Other] {
            for pos in self.iter(which) {
                if !packed.insert(which, pos, &mut own)? {
                    return Ok(false); // not where room was made for all
                }
            }
        }
        mem.grew(packed.heap_bytes());
        mem.shrank(self.heap_bytes());
        self.0 = Repr::Packed(packed);
        Ok(true)
    }

    /// Have bitmaps, and room there for one more.
    #[inline(never)]
    pub(super) fn make_many(
        &mut self,
        which: Which,
        pos: u16,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let many = match &self.0 {
            Repr::Few(few) => {
                let list = |which| few.list(which).iter().copied();
                Many::of(list, |which| few.by_block(which), (which, pos), mem)?
            }
            Repr::Packed(_) | Repr::Many(_) => {
                let list = |which| self.iter(which);
                Many::of(list, |which| self.by_block(which), (which, pos), mem)?
            }
        };
        mem.shrank(self.heap_bytes());
        self.0 = Repr::Many(many);
        Ok(())
    }

    /// Give memory back after positions were taken out.
    #[inline(always)]
    pub(super) fn shrink(&mut self, mem: &mut Mem) {
        let sum = |one: u16, other: u16| u32::from(one) + u32::from(other);
        match &mut self.0 {
            Repr::Few(_) => {}
            Repr::Packed(packed) => {
                let left = sum(packed.len(Which::One), packed.len(Which::Other));
                if left <= BACK_FROM_WORDS || packed.is_sparse() {
                    self.leave_words(left, mem);
                }
            }
            Repr::Many(many) => {
                if sum(many.len(Which::One), many.len(Which::Other)) <= BACK {
                    self.go_back(mem);
                } else if many.might_be_packed() {
                    self.repack(mem);
                } else {
                    many.shrink(mem);
                }
            }
        }
    }

    /// Too little is left for words. Where there is no memory for what it would
    /// need elsewhere, all stays as it is.
    #[inline(never)]
    fn leave_words(&mut self, left: u32, mem: &mut Mem) {
        let last = |which| Some((which, self.last(which)?));
        match last(Which::One).or(last(Which::Other)) {
            Some((which, pos)) if left > INLINE => {
                let _ = self.make_many(which, pos, mem);
            }
            _ => self.go_back(mem),
        }
    }

    /// Some block had too many for words once. Have them again if none has, and
    /// bitmaps as before if one still has or there is no memory.
    #[inline(never)]
    fn repack(&mut self, mem: &mut Mem) {
        let _ = self.pack(None, mem);
    }

    /// Have inline what is left.
    #[inline(never)]
    fn go_back(&mut self, mem: &mut Mem) {
        mem.shrank(self.heap_bytes());
        let mut few = Few::default();
        for which in [Which::One, Which::Other] {
            self.iter(which).for_each(|pos| {
                few.insert(which, pos);
            });
        }
        self.0 = Repr::Few(few);
    }
}
