//! Sets that are on the heap, go there, or come back.

use super::Repr::{Dense, Inline, Sparse};
use super::inline::{INLINE, InlineList};
use super::iter::masks;
use super::{PosSet, alone, bit, find, span};
use crate::mem::NoMemory;

/// The bitmap grows by this many words, which cover eight blocks and a bit.
const WORDS_STEP: usize = 40;
/// The first vector has room for so many.
const FIRST_SPARSE: usize = 32;

impl PosSet {
    /// The same, where the positions are on the heap or go there.
    #[inline(never)]
    pub(super) fn insert_far(&mut self, pos: u16) -> Result<bool, NoMemory> {
        if let Inline(list) = &self.0 {
            let mut more = Vec::new();
            more.try_reserve_exact(FIRST_SPARSE)?;
            more.extend_from_slice(list.as_slice());
            self.0 = Sparse(more);
        }
        match &mut self.0 {
            Inline(_) => Ok(false), // it is a vector now
            Sparse(list) => {
                let Err(at) = find(list, pos) else {
                    return Ok(false);
                };
                if list.len() == list.capacity() {
                    let highest = list.last().map_or(pos, |&last| last.max(pos));
                    if bitmap_bytes(highest) < list.len() * 2 {
                        self.make_dense(highest)?;
                        return self.insert_far(pos);
                    }
                    list.try_reserve(1)?;
                }
                list.insert(at, pos);
                Ok(true)
            }
            Dense { len, words } => {
                reach(words, pos)?;
                let word = &mut words[pos as usize / 64];
                let new = *word & bit(pos) == 0;
                *word |= bit(pos);
                *len += u16::from(new);
                Ok(new)
            }
        }
    }

    #[inline(never)]
    pub(super) fn insert_in_far(
        &mut self,
        pos: u16,
        lo: u16,
        hi: u16,
    ) -> Result<(bool, bool), NoMemory> {
        if let Sparse(list) = &mut self.0
            && list.len() < list.capacity()
            && let Err(at) = find(list, pos)
        {
            let alone = alone(list, at, at, lo, hi);
            list.insert(at, pos);
            return Ok((true, alone));
        }
        let new = self.insert(pos)?;
        let alone = match self.list() {
            Some(list) => find(list, pos).is_ok_and(|at| alone(list, at, at + 1, lo, hi)),
            None => !self.any_in(lo, pos) && !self.any_in(pos + 1, hi),
        };
        Ok((new, alone))
    }

    #[inline(never)]
    pub(super) fn clear_range_far(&mut self, lo: u16, hi: u16) -> u16 {
        let gone = match &mut self.0 {
            Inline(_) => 0,
            Sparse(list) => {
                let (from, to) = span(list, lo, hi);
                list.drain(from..to).count() as u16
            }
            Dense { len, words } => {
                let mut gone = 0;
                for (at, mask) in masks(lo, hi) {
                    let Some(word) = words.get_mut(at) else { break };
                    gone += (*word & mask).count_ones() as u16;
                    *word &= !mask;
                }
                *len -= gone;
                gone
            }
        };
        if gone > 0 {
            self.shrink();
        }
        gone
    }

    fn make_dense(&mut self, highest: u16) -> Result<(), NoMemory> {
        let Sparse(list) = &self.0 else { return Ok(()) };
        let mut words = Vec::new();
        reach(&mut words, highest)?;
        for &pos in list {
            words[pos as usize / 64] |= bit(pos);
        }
        self.0 = Dense {
            len: list.len() as u16,
            words,
        };
        Ok(())
    }

    /// Give memory back after positions were taken out. Never needs more of
    /// it: where it would, the set stays as it is.
    pub(super) fn shrink(&mut self) {
        match &mut self.0 {
            Sparse(list) if list.len() <= INLINE / 2 => {
                self.0 = Inline(InlineList::of(list.iter().copied()));
            }
            Dense { len, .. } if *len as usize <= INLINE / 2 => {
                self.0 = Inline(InlineList::of(self.iter()));
            }
            Dense { len, words } if *len as usize * 4 < words.len() => {
                let mut list = Vec::new();
                if list.try_reserve_exact(*len as usize).is_ok() {
                    list.extend(self.iter());
                    self.0 = Sparse(list);
                }
            }
            _ => {}
        }
    }
}

fn bitmap_bytes(highest: u16) -> usize {
    (highest as usize / 64 + 1).next_multiple_of(WORDS_STEP) * 8
}

/// Make the bitmap long enough to hold `pos`.
fn reach(words: &mut Vec<u64>, pos: u16) -> Result<(), NoMemory> {
    let need = pos as usize / 64 + 1;
    if words.len() < need {
        let want = need.next_multiple_of(WORDS_STEP);
        words.try_reserve_exact(want - words.len())?;
        words.resize(want, 0);
    }
    Ok(())
}
