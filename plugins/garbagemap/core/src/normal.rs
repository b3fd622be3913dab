//! How many `LP_NORMAL` items each block of a range has.
//!
//! Live tuples are what is left of them after the dead ones, so the map can
//! say `n_tuples` without a look at the heap. A block can be known without its
//! count (an all-visible record tells that nothing in it is dead, not how much
//! is in it). The counts are the first thing to go when memory is short.
//! Invariant: `sum` is the sum of all counts, `uncounted` the number of blocks
//! marked [`UNCOUNTED`].

use crate::block::MAX_OFFSET;
use crate::mem::{Mem, NoMemory, list_bytes};

const UNCOUNTED: u16 = u16::MAX;

#[derive(Default)]
pub(crate) struct Normal {
    /// Empty if nothing is counted.
    per_block: Box<[u16]>,
    sum: u16,
    uncounted: u8,
}

impl Normal {
    /// All blocks empty.
    pub(crate) fn try_new(blocks: u8, mem: &mut Mem) -> Result<Self, NoMemory> {
        let mut per_block = Vec::new();
        per_block.try_reserve_exact(blocks as usize)?;
        per_block.resize(blocks as usize, 0);
        let normal = Normal {
            // Capacity equals length, so nothing is allocated.
            per_block: per_block.into_boxed_slice(),
            sum: 0,
            uncounted: 0,
        };
        mem.grew(normal.heap_bytes());
        Ok(normal)
    }

    /// No block has a count.
    pub(crate) fn uncounted(blocks: u8, mem: &mut Mem) -> Result<Self, NoMemory> {
        let mut normal = Normal::try_new(blocks, mem)?;
        normal.per_block.fill(UNCOUNTED);
        normal.uncounted = blocks;
        Ok(normal)
    }

    pub(crate) fn try_clone(&self) -> Result<Self, NoMemory> {
        let mut per_block = Vec::new();
        per_block.try_reserve_exact(self.per_block.len())?;
        per_block.extend_from_slice(&self.per_block);
        Ok(Normal {
            per_block: per_block.into_boxed_slice(),
            ..*self
        })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        list_bytes::<u16>(self.per_block.len())
    }

    #[inline]
    pub(crate) fn is_tracked(&self) -> bool {
        !self.per_block.is_empty()
    }

    /// Count no more.
    pub(crate) fn drop_counts(&mut self, mem: &mut Mem) {
        mem.shrank(self.heap_bytes());
        *self = Normal::default();
    }

    /// The sum over all blocks, `None` if a block's count is missing.
    #[inline]
    pub(crate) fn total(&self) -> Option<u16> {
        (self.is_tracked() && self.uncounted == 0).then_some(self.sum)
    }

    #[inline]
    pub(crate) fn get(&self, b: u8) -> Option<u16> {
        self.per_block
            .get(b as usize)
            .copied()
            .filter(|&n| n != UNCOUNTED)
    }

    /// Whether tuples are counted, but not this block's.
    pub(crate) fn lacks(&self, b: u8) -> bool {
        self.is_tracked() && self.get(b).is_none()
    }

    pub(crate) fn set(&mut self, b: u8, count: Option<u16>) {
        let Some(slot) = self.per_block.get_mut(b as usize) else {
            return;
        };
        match *slot {
            UNCOUNTED => self.uncounted -= 1,
            n => self.sum -= n,
        }
        match count.filter(|&n| n <= MAX_OFFSET) {
            None => {
                *slot = UNCOUNTED;
                self.uncounted += 1;
            }
            Some(n) => {
                *slot = n;
                self.sum += n;
            }
        }
    }

    /// One item more. A count that leaves its bounds is no count.
    #[inline]
    pub(crate) fn increment(&mut self, b: u8) {
        // UNCOUNTED is above it, too.
        if let Some(slot) = self.per_block.get_mut(b as usize)
            && *slot < MAX_OFFSET
        {
            *slot += 1;
            self.sum += 1;
        } else if let Some(n) = self.get(b) {
            self.set(b, Some(n + 1));
        }
    }

    /// So many items more.
    pub(crate) fn add(&mut self, b: u8, more: u16) {
        if let Some(n) = self.get(b) {
            self.set(b, n.checked_add(more));
        }
    }

    /// So many items less.
    pub(crate) fn subtract(&mut self, b: u8, less: u16) {
        if let Some(n) = self.get(b) {
            self.set(b, n.checked_sub(less));
        }
    }

    /// The counts in the order of the blocks, [`Normal::from_raw`]'s input.
    pub(crate) fn raw(&self) -> &[u16] {
        &self.per_block
    }

    /// From a state file: the counts are checked, the sums are computed.
    pub(crate) fn from_raw(
        blocks: u8,
        raw: impl ExactSizeIterator<Item = u16>,
        mem: &mut Mem,
    ) -> Result<Option<Self>, NoMemory> {
        if raw.len() == 0 {
            return Ok(Some(Normal::default()));
        }
        if raw.len() != blocks as usize {
            return Ok(None);
        }
        let mut normal = Normal::try_new(blocks, mem)?;
        for (slot, n) in normal.per_block.iter_mut().zip(raw) {
            let counted = n <= MAX_OFFSET;
            *slot = if counted { n } else { UNCOUNTED };
            normal.sum += if counted { n } else { 0 };
            normal.uncounted += u8::from(!counted);
        }
        Ok(Some(normal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let mut mem = Mem::default();
        let mut normal = Normal::try_new(4, &mut mem).unwrap();
        normal.set(1, Some(3));
        normal.increment(1);
        normal.increment(2);
        assert_eq!(normal.total(), Some(5));
        normal.set(2, None);
        normal.increment(2);
        assert_eq!((normal.total(), normal.get(2)), (None, None));
        normal.set(2, Some(1));
        normal.subtract(2, 1);
        assert_eq!(normal.total(), Some(4));
        normal.subtract(2, 1);
        assert_eq!(
            (normal.total(), normal.get(2)),
            (None, None),
            "below zero is no count"
        );
        normal.set(2, Some(292));
        assert_eq!(normal.get(2), None);
        normal.drop_counts(&mut mem);
        assert_eq!((mem.used(), normal.total()), (0, None));
    }
}
