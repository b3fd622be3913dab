//! What is where in the area.
//!
//! ```text
//! header | status | directory | entries | pages
//! ```
//!
//! * The directory is an open-addressing hash from locators to entries, never
//!   more than half full: a word is an entry's number + 1, or 0.
//! * An entry is one relation. The counters of its first ranges are in the
//!   entry itself: most relations of a database are catalogs and small tables,
//!   which then need no page.
//! * A page holds the counters of [`PAGE_RANGES`] ranges in a row, and the
//!   number of the next page of its relation. Pages of ranges nobody has
//!   touched do not exist.
//!
//! The layout follows from the area's length alone, so a reader needs to trust
//! no offset it finds in shared memory.

use super::counted::{COUNTERS, RATE_WORDS};
use walker_wal::RelFileLocator;

/// `"gbgmap"` and the layout's version.
pub(super) const MAGIC: u64 = 0x6762_676D_6170_0004;

pub(super) const H_MAGIC: usize = 0;
/// Odd while the area is being formatted; grows with each format.
pub(super) const H_EPOCH: usize = 1;
pub(super) const H_RANGE_BLOCKS: usize = 2;
/// Odd while directory slots move.
pub(super) const H_DIR_SEQ: usize = 3;
pub(super) const H_RELATIONS: usize = 4;
/// Entries that were ever used: where a scan of all entries may stop.
pub(super) const H_ENTRIES_TOUCHED: usize = 5;
pub(super) const H_FREE_PAGES: usize = 6;
pub(super) const H_OVERFLOWED: usize = 7;

/// The status block: a sequence number and then its words.
pub(super) const STATUS_AT: usize = 16;
pub(super) const STATUS_WORDS: usize = 47;
const HEADER_WORDS: usize = STATUS_AT + 1 + STATUS_WORDS;

pub(super) const ENTRY_WORDS: usize = 40;
pub(super) const E_SEQ: usize = 0;
/// Tablespace in the upper half, database in the lower.
pub(super) const E_SPC_DB: usize = 1;
/// Flags in the upper half, relfilenode in the lower.
pub(super) const E_FLAGS_REL: usize = 2;
/// First known block + 1, 0 for none.
pub(super) const E_KNOWN_FROM: usize = 3;
/// First page + 1, 0 for none.
pub(super) const E_HEAD: usize = 4;
pub(super) const E_INLINE: usize = 5;
/// Ranges whose counters are in the entry.
pub(super) const INLINE_RANGES: u32 = 5;
/// The relation's garbage by age: transaction in the upper half, count in the
/// lower.
pub(super) const E_HORIZON: usize = E_INLINE + INLINE_RANGES as usize;
/// What happened to the relation: its counters, and then its rates.
pub(super) const E_COUNTERS: usize = E_HORIZON + crate::HORIZON_BUCKETS;
pub(super) const E_RATES: usize = E_COUNTERS + COUNTERS;
const _: () = assert!(E_RATES + RATE_WORDS <= ENTRY_WORDS);

pub(super) const FLAG_USED: u32 = 1;
pub(super) const FLAG_OVERFLOWED: u32 = 2;

pub(super) const PAGE_WORDS: usize = 64;
/// Ranges whose counters are in one page; word 0 is the link.
pub(super) const PAGE_RANGES: u32 = PAGE_WORDS as u32 - 1;

/// The smallest directory.
const MIN_DIR: usize = 4;

/// The smallest area that holds a map at all.
pub const MIN_WORDS: usize = HEADER_WORDS + 3 * MIN_DIR * (1 + ENTRY_WORDS / 2);

/// Where the parts begin and how many there are of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// A power of two, twice the number of entries.
    pub dir_slots: usize,
    pub entries: u32,
    pub pages: u32,
    entries_at: usize,
    pages_at: usize,
}

impl Layout {
    /// The layout of an area of `words` words, `None` if that is too small.
    ///
    /// A third is for directory and entries, rounded down to a power of two:
    /// with 48 MB these are 32 thousand relations, and pages for 150 million
    /// blocks.
    pub fn of(words: usize) -> Option<Layout> {
        if words < MIN_WORDS {
            return None;
        }
        let per_slot = 1 + ENTRY_WORDS / 2;
        let wanted = (words - HEADER_WORDS) / 3 / per_slot;
        let dir_slots = 1usize << wanted.clamp(MIN_DIR, 1 << 24).ilog2();
        let entries_at = HEADER_WORDS + dir_slots;
        let pages_at = entries_at + dir_slots / 2 * ENTRY_WORDS;
        let pages = ((words - pages_at) / PAGE_WORDS).min(u32::MAX as usize - 1);
        Some(Layout {
            dir_slots,
            entries: (dir_slots / 2) as u32,
            pages: pages as u32,
            entries_at,
            pages_at,
        })
    }

    pub fn dir_word(&self, slot: usize) -> usize {
        HEADER_WORDS + slot
    }

    #[inline]
    pub fn entry_word(&self, entry: u32, field: usize) -> usize {
        self.entries_at + entry as usize * ENTRY_WORDS + field
    }

    #[inline]
    pub fn page_word(&self, page: u32, word: usize) -> usize {
        self.pages_at + page as usize * PAGE_WORDS + word
    }

    /// The slot at which the search for a locator begins.
    pub fn home_slot(&self, locator: RelFileLocator) -> usize {
        // The finalizer of splitmix64, over both halves.
        let (spc_db, rel) = key_of(locator);
        let mut h = spc_db.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(rel);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (h ^ (h >> 31)) as usize & (self.dir_slots - 1)
    }
}

pub(super) fn key_of(locator: RelFileLocator) -> (u64, u32) {
    (
        u64::from(locator.spc_oid) << 32 | u64::from(locator.db_oid),
        locator.rel_number,
    )
}

pub(super) fn locator_of(spc_db: u64, rel: u32) -> RelFileLocator {
    RelFileLocator {
        spc_oid: (spc_db >> 32) as u32,
        db_oid: spc_db as u32,
        rel_number: rel,
    }
}
