//! What the ledger is told at the start, and what it tells of itself.

use walker_wal::{BlockNumber, OffsetNumber, RelFileLocator, TransactionId};

use crate::ledger::Ledger;
use crate::{MAX_RANGE_BLOCKS, Sink};

/// Settings of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Blocks in a range: a power of two up to [`MAX_RANGE_BLOCKS`].
    pub range_blocks: u32,
    /// Bytes the ledger may use before it lets go of the coldest relations.
    pub max_memory: usize,
    /// Whether live tuples are counted, at two bytes per known block.
    pub count_tuples: bool,
    /// A transaction is large if so many changes of it, one after the other,
    /// had to be noted at once before it ended: what more it does is put
    /// together by block. 0 for none.
    pub large: u32,
}

impl Default for Config {
    fn default() -> Self {
        const { assert!(32 <= MAX_RANGE_BLOCKS) };
        Config {
            range_blocks: 32,
            max_memory: 256 << 20,
            count_tuples: true,
            large: 256,
        }
    }
}

/// The state of the ledger, for `garbage_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Relations with an entry.
    pub relations: u64,
    /// Blocks whose state is known. Empty ones that no record named since
    /// they are known are not among them.
    pub blocks_known: u64,
    /// Blocks with at least one dead tuple.
    pub blocks_with_garbage: u64,
    /// Dead tuples with storage.
    pub dead_tuples: u64,
    /// `LP_DEAD` items.
    pub dead_items: u64,
    /// Transactions with undecided events.
    pub pending_transactions: u64,
    /// Bytes in use.
    pub memory_used: u64,
    /// Page images compared with the ledger.
    pub images_checked: u64,
    /// Images that showed something else. The image wins.
    pub image_mismatches: u64,
    /// Images whose number of tuples was not the expected one.
    pub count_mismatches: u64,
    /// Records that contradicted the ledger without an image: an insertion
    /// where a dead tuple was, an all-visible page with garbage.
    pub contradictions: u64,
    /// Records of a resource manager of interest with an unknown opcode.
    pub unknown_records: u64,
    /// Malformed records.
    pub malformed_records: u64,
    /// Images that could not be restored or decided about.
    pub images_undecided: u64,
    /// How often a relation was dropped to unknown for lack of memory.
    pub degradations: u64,
    /// How often a range was found to need no memory of its own while memory was
    /// short.
    pub ranges_cleaned: u64,
    /// Relations not shown in full because the sink is full.
    pub unpublished_relations: u64,
}

/// What is known of one block, for checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockView {
    /// Dead `LP_NORMAL` items.
    pub dead: Vec<OffsetNumber>,
    /// `LP_DEAD` items.
    pub items: Vec<OffsetNumber>,
    /// Undecided insertions.
    pub inserted: Vec<(OffsetNumber, TransactionId)>,
    /// Undecided deletions.
    pub deleted: Vec<(OffsetNumber, TransactionId)>,
    /// `LP_NORMAL` items, if counted.
    pub normal: Option<u16>,
}

impl<S: Sink> Ledger<S> {
    /// The state of the ledger as it was published last. Cheap: nothing is
    /// scanned.
    pub fn stats(&self) -> Stats {
        Stats {
            relations: self.rels.len() as u64,
            blocks_known: self.totals.blocks_known,
            blocks_with_garbage: self.totals.blocks_with_garbage,
            dead_tuples: self.totals.dead_tuples,
            dead_items: self.totals.dead_items,
            pending_transactions: self.txs.len() as u64,
            memory_used: self.mem.used() as u64,
            ..self.stats
        }
    }

    /// What is known of a block; `None` if nothing is. Allocates, so it is for
    /// tests and diagnostics.
    pub fn block(&self, locator: RelFileLocator, blkno: BlockNumber) -> Option<BlockView> {
        let (_, rel) = self.rels.iter().find(|(_, rel)| rel.locator == locator)?;
        let (rangeno, b) = self.geo.split(blkno);
        let Some(range) = rel.ranges.get(rangeno) else {
            let known = rel.known_from.is_some_and(|from| blkno >= from);
            let normal = self.geo.count_tuples.then_some(0);
            return known.then(|| BlockView {
                normal,
                ..BlockView::default()
            });
        };
        if !range.is_known(b) {
            return None;
        }
        let both = range.garbage.block(b);
        let mut view = BlockView {
            dead: both.one.iter().collect(),
            items: both.other.iter().collect(),
            normal: range.normal.get(b),
            ..BlockView::default()
        };
        for xid in range.pending.xids().ok()? {
            let looked = range.pending.with_group(xid, |group| {
                let both = group.sets.block(b);
                view.deleted.extend(both.one.iter().map(|off| (off, xid)));
                view.inserted
                    .extend(both.other.iter().map(|off| (off, xid)));
            });
            looked.ok()?;
        }
        Some(view)
    }
}
