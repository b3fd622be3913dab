//! Neighbouring ranges put together, so that there is a mark for each.

use crate::{Known, Range};

/// One or more ranges added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bin {
    /// Dead tuples in what is known.
    pub dead: u64,
    /// Ranges of which something is known.
    pub known: u64,
    /// Ranges that are not known whole.
    pub inexact: u64,
    /// All ranges.
    pub ranges: u64,
}

impl Bin {
    fn add(&mut self, range: Range) {
        self.ranges += 1;
        match range.known {
            Known::Whole => self.known += 1,
            Known::Partly => {
                self.known += 1;
                self.inexact += 1;
            }
            Known::Nothing => {
                self.inexact += 1;
                return;
            }
        }
        self.dead += u64::from(range.dead);
    }

    /// Whether something in it is unknown: then its count is a lower bound.
    pub fn inexact(&self) -> bool {
        self.inexact > 0
    }

    /// Dead tuples per range of which something is known, rounded up: not 0 if
    /// there is garbage.
    pub fn mean(&self) -> u64 {
        self.dead.div_ceil(self.known.max(1))
    }
}

/// Ranges added up, and how many ranges make a bin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bins {
    /// In order; the last may be of fewer ranges.
    pub bins: Vec<Bin>,
    /// Ranges in each.
    pub per_bin: usize,
}

impl Bins {
    /// At most `count` bins of one size.
    pub fn at_most(ranges: &[Range], count: usize) -> Bins {
        Bins::of(ranges, ranges.len().div_ceil(count.max(1)).max(1))
    }

    /// As [`at_most`](Self::at_most), of a size that is a power of two, as
    /// `garbage_map` could show them.
    pub fn powers(ranges: &[Range], count: usize) -> Bins {
        let per_bin = ranges.len().div_ceil(count.max(1)).max(1);
        Bins::of(ranges, per_bin.next_power_of_two())
    }

    fn of(ranges: &[Range], per_bin: usize) -> Bins {
        let sum = |ranges: &[Range]| {
            let mut bin = Bin::default();
            ranges.iter().for_each(|r| bin.add(*r));
            bin
        };
        Bins {
            bins: ranges.chunks(per_bin).map(sum).collect(),
            per_bin,
        }
    }

    /// All of them together.
    pub fn total(&self) -> Bin {
        self.bins.iter().fold(Bin::default(), |sum, bin| Bin {
            dead: sum.dead + bin.dead,
            known: sum.known + bin.known,
            inexact: sum.inexact + bin.inexact,
            ranges: sum.ranges + bin.ranges,
        })
    }
}
