//! Where the ledger shows its counters.

use walker_wal::{BlockNumber, RelFileLocator};

/// The widest range whose counters fit their 16 bits: 128 blocks of at most
/// 291 line pointers.
pub const MAX_RANGE_BLOCKS: u32 = 128;

/// What is shown of one block range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RangeCounts {
    /// Dead tuples that still have storage (`LP_NORMAL`), as pgstattuple
    /// counts them.
    pub dead: u16,
    /// `LP_DEAD` line pointers: only an index vacuum frees them.
    pub items: u16,
    /// Live tuples, as pgstattuple's `tuple_count`; `None` if not known.
    pub tuples: Option<u16>,
    /// Index within the range of the first block whose state is not known;
    /// the number of blocks in a range if all are. A range is exact if this is
    /// not below the number of blocks that exist in it.
    pub first_unknown: u8,
}

impl RangeCounts {
    /// Whether they say something: 0 of which not even the first block is known is no
    /// answer.
    pub fn tell(&self) -> bool {
        self.first_unknown > 0 || self.dead > 0 || self.items > 0
    }
}

/// Takes the counters out of the ledger. Written by one process only.
///
/// An implementation that runs out of room says so (`None`, `false`) and must
/// from then on show the relation as unknown, never with old numbers.
pub trait Sink {
    /// A relation's place in the sink.
    type Rel: Copy;

    /// Make a place for a relation, where nothing is shown and no block is known,
    /// or find the one it has.
    fn open(&mut self, locator: RelFileLocator) -> Option<Self::Rel>;
    /// Show one range. False if there is no room for it.
    fn publish(&mut self, rel: Self::Rel, rangeno: u32, counts: RangeCounts) -> bool;
    /// Blocks from here on are known (and empty) unless a published range
    /// says otherwise; `None` if no such block is known.
    fn set_known_from(&mut self, rel: Self::Rel, known_from: Option<BlockNumber>);
    /// Forget the published ranges from `first_rangeno` on.
    fn truncate(&mut self, rel: Self::Rel, first_rangeno: u32);
    /// Show one bucket of the relation's garbage by age; those of a place that
    /// was just opened are empty.
    fn publish_bucket(&mut self, rel: Self::Rel, index: usize, bucket: crate::HorizonBucket) {
        let _ = (rel, index, bucket);
    }
    /// Show what happened to the relation; nothing did to that of a place that
    /// was just opened.
    fn publish_counters(&mut self, rel: Self::Rel, counters: &crate::Counters) {
        let _ = (rel, counters);
    }
    /// Show how fast garbage comes and goes in the relation.
    fn publish_rates(&mut self, rel: Self::Rel, rates: &crate::Rates) {
        let _ = (rel, rates);
    }
    /// Forget the relation.
    fn close(&mut self, rel: Self::Rel);
}
