//! `garbage_map_status`: how the map itself is doing, for `garbage_status`.

use crate::error::{Error, or_raise};
use crate::rows::{Rows, bigint};
use crate::{area, privilege};
use pgrx::prelude::*;
use walker_wal::Lsn;

#[pg_extern(sql = false)]
fn garbage_map_status(fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows));
}

fn fill(rows: &mut Rows) -> Result<(), Error> {
    privilege::require_monitor("garbage_map_status")?;
    let map = area::map()?;
    let facts = map.facts();
    // NULL if the worker is in the middle of writing them, or died there.
    let status = map.status();
    let ledger = |field: fn(&garbagemap_core::map::MapStatus) -> u64| {
        status.as_ref().and_then(|s| bigint(field(s)))
    };
    let lsn = |lsn: Option<Lsn>| lsn.map(|lsn| pg_sys::Datum::from(lsn.0));
    let state = status.as_ref().and_then(|s| s.state());
    rows.add([
        bigint(u64::from(facts.range_blocks)),
        ledger(|s| s.relations),
        ledger(|s| s.known_blocks),
        ledger(|s| s.garbage_blocks),
        ledger(|s| s.dead_tuples),
        ledger(|s| s.dead_items),
        ledger(|s| s.pending_transactions),
        ledger(|s| s.memory_used),
        ledger(|s| s.memory_limit),
        ledger(|s| s.degraded_relations),
        bigint(facts.bytes),
        bigint(facts.pages),
        bigint(facts.pages_used),
        bigint(
            facts
                .overflowed
                .max(status.map_or(0, |s| s.unpublished_relations)),
        ),
        lsn(status.as_ref().and_then(|s| s.applied())),
        lsn(state),
        status
            .filter(|s| s.state_saved_at != 0)
            .map(|s| pg_sys::Datum::from(s.state_saved_at)),
        ledger(|s| s.state_writes),
        ledger(|s| s.state_bytes),
        status.map(|s| pg_sys::Datum::from((s.state_write_longest as f64 / 1000.0).to_bits())),
        ledger(|s| s.images_checked),
        ledger(|s| s.image_mismatches),
        ledger(|s| s.unknown_records),
    ]);
    Ok(())
}
