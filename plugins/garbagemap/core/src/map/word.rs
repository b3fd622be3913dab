//! The two kinds of words that hold more than a number.

use super::layout::{INLINE_RANGES, PAGE_RANGES};
use crate::RangeCounts;

/// Without it the word says nothing about its range.
const PUBLISHED: u8 = 1;
const TUPLES_UNKNOWN: u8 = 2;

/// A range's counters: dead, items, tuples (16 bits each), first unknown
/// block, flags (8 bits each).
#[inline]
pub(crate) fn pack(counts: RangeCounts) -> u64 {
    let flags = PUBLISHED
        | if counts.tuples.is_none() {
            TUPLES_UNKNOWN
        } else {
            0
        };
    u64::from(counts.dead) << 48
        | u64::from(counts.items) << 32
        | u64::from(counts.tuples.unwrap_or(0)) << 16
        | u64::from(counts.first_unknown) << 8
        | u64::from(flags)
}

/// `None` if the range is not published.
#[inline]
pub(crate) fn unpack(word: u64) -> Option<RangeCounts> {
    let flags = word as u8;
    (flags & PUBLISHED != 0).then(|| RangeCounts {
        dead: (word >> 48) as u16,
        items: (word >> 32) as u16,
        tuples: (flags & TUPLES_UNKNOWN == 0).then_some((word >> 16) as u16),
        first_unknown: (word >> 8) as u8,
    })
}

/// Where a range's counters are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the entry, at this index.
    Inline(usize),
    /// In the relation's page of this number, at this index.
    Page(u32, usize),
}

#[inline]
pub(super) fn place_of(rangeno: u32) -> Place {
    match rangeno.checked_sub(INLINE_RANGES) {
        None => Place::Inline(rangeno as usize),
        Some(beyond) => Place::Page(beyond / PAGE_RANGES, (beyond % PAGE_RANGES) as usize),
    }
}

/// The first range of a relation's page.
pub(super) fn first_range_of(pageno: u32) -> u32 {
    INLINE_RANGES.saturating_add(pageno.saturating_mul(PAGE_RANGES))
}

/// A page's link: the next page + 1 (0 for none), and which of its relation's
/// pages this one is. The latter grows along a chain; that is how a reader
/// knows a broken chain from a long one.
pub(super) fn pack_link(next: Option<u32>, pageno: u32) -> u64 {
    u64::from(next.map_or(0, |page| page + 1)) << 32 | u64::from(pageno)
}

/// The next page and this page's number, as [`pack_link`] put them together.
pub(super) fn unpack_link(word: u64) -> (Option<u32>, u32) {
    (((word >> 32) as u32).checked_sub(1), word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_distinct_places_in_order() {
        assert_eq!(place_of(0), Place::Inline(0));
        assert_eq!(
            place_of(INLINE_RANGES - 1),
            Place::Inline(INLINE_RANGES as usize - 1)
        );
        assert_eq!(place_of(INLINE_RANGES), Place::Page(0, 0));
        assert_eq!(place_of(INLINE_RANGES + PAGE_RANGES), Place::Page(1, 0));
        for pageno in [0, 1, 77] {
            assert_eq!(place_of(first_range_of(pageno)), Place::Page(pageno, 0));
        }
        // The very last range there can be, with ranges of one block.
        assert!(matches!(place_of(u32::MAX), Place::Page(_, _)));
    }

    #[test]
    fn words_keep_what_they_are_given() {
        let c = RangeCounts {
            dead: 7,
            items: u16::MAX,
            tuples: None,
            first_unknown: 128,
        };
        assert_eq!(unpack(pack(c)), Some(c));
        let c = RangeCounts {
            tuples: Some(0),
            ..RangeCounts::default()
        };
        assert_eq!(unpack(pack(c)), Some(c));
        assert_eq!(unpack(0), None);
        assert_eq!(unpack_link(pack_link(None, 9)), (None, 9));
        assert_eq!(
            unpack_link(pack_link(Some(0), u32::MAX)),
            (Some(0), u32::MAX)
        );
    }
}
