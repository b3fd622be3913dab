//! The ledger's statistics, shown for `garbage_status`.

use garbagemap_core::Ledger;
use garbagemap_core::map::{MapStatus, MapWriter};
use pgrx::prelude::*;
use std::time::Duration;
use walker_plugin::wal::Lsn;

/// What is known of the state file.
#[derive(Clone, Copy, Default)]
pub struct Saved {
    lsn: u64,
    /// When this process wrote it; 0 if one before did.
    at: i64,
    writes: u64,
    bytes: u64,
    longest: Duration,
}

impl Saved {
    /// The state was read from the file.
    pub fn loaded(&mut self, lsn: Lsn) {
        self.lsn = lsn.0;
        self.at = 0;
    }

    /// Whether the file is recent enough for its size: rewriting a large state
    /// for a little WAL would cost more than reading that WAL again. Never
    /// while WAL from before a checkpoint may go.
    pub fn is_recent(&self, upto: Lsn, redo: Lsn) -> bool {
        self.lsn >= redo.0 && upto.bytes_since(Lsn(self.lsn)) < 4 * self.bytes
    }

    /// Reading stood still for so long while state was written.
    pub fn stood_still(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// The state was written to the file.
    pub fn saved(&mut self, lsn: Lsn, bytes: u64) {
        self.writes += 1;
        self.bytes = bytes;
        self.lsn = lsn.0;
        // SAFETY: reads the clock.
        self.at = unsafe { pg_sys::GetCurrentTimestamp() };
    }

    /// The position the file stands for.
    pub fn lsn(&self) -> Option<Lsn> {
        (self.lsn != 0).then_some(Lsn(self.lsn))
    }
}

/// Show the statistics as of `applied`.
pub fn publish(ledger: &mut Ledger<MapWriter<'static>>, saved: &Saved, applied: Lsn) {
    let stats = ledger.stats();
    let status = MapStatus {
        relations: stats.relations,
        known_blocks: stats.blocks_known,
        garbage_blocks: stats.blocks_with_garbage,
        dead_tuples: stats.dead_tuples,
        dead_items: stats.dead_items,
        pending_transactions: stats.pending_transactions,
        memory_used: stats.memory_used,
        memory_limit: ledger.max_memory() as u64,
        applied_lsn: applied.0,
        state_lsn: saved.lsn,
        state_saved_at: saved.at as u64,
        state_writes: saved.writes,
        state_bytes: saved.bytes,
        state_write_longest: saved.longest.as_micros() as u64,
        images_checked: stats.images_checked,
        image_mismatches: stats.image_mismatches + stats.count_mismatches,
        degraded_relations: stats.degradations,
        unknown_records: stats.unknown_records + stats.malformed_records,
        unpublished_relations: stats.unpublished_relations,
    };
    ledger.sink_mut().set_status(&status);
}
