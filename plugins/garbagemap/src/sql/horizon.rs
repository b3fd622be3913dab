//! `garbage_map_horizon`: how much of a table's garbage may be removed now, for
//! the view `garbage_horizon`.

use crate::error::{Error, or_raise};
use crate::relation::Table;
use crate::rows::{Rows, bigint};
use crate::{area, privilege};
use garbagemap_core::{HORIZON_UNKNOWN, HorizonBucket};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn garbage_map_horizon(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

/// No row for what is no table, is gone, or is locked: the view is about many.
fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_read_stats("garbage_map_horizon")?;
    let map = area::map()?;
    let Ok(table) = Table::look_up(rel) else {
        return Ok(());
    };
    let Some(buckets) = map.find(table.locator).and_then(|r| r.horizon()) else {
        return Ok(());
    };
    if buckets.iter().all(|b| b.count == 0) {
        return Ok(());
    }
    let Some(open) = table.open_unless_locked() else {
        return Ok(());
    };
    // SAFETY: the relation is open (storage/ipc/procarray.c).
    let horizon = unsafe { pg_sys::GetOldestNonRemovableTransactionId(open.rel()) };
    let split = Split::at(&buckets, horizon.into_inner());
    rows.add([
        bigint(split.removable),
        bigint(split.kept),
        bigint(split.uncertain),
        Some(horizon.into_inner().into()),
    ]);
    Ok(())
}

/// Dead tuples on both sides of a horizon.
#[derive(Default)]
struct Split {
    /// At least so many may be removed now.
    removable: u64,
    /// At most so many may not.
    kept: u64,
    /// So many of those kept may be on the other side: their bucket is wider
    /// than what lies behind the horizon, or nobody knows how old they are.
    uncertain: u64,
}

impl Split {
    fn at(buckets: &[HorizonBucket], horizon: u32) -> Split {
        let mut split = Split::default();
        let mut before = true;
        for (place, bucket) in buckets.iter().enumerate() {
            // TransactionIdPrecedes: the youngest of them must be older.
            let removable = bucket.xid == 0 || (bucket.xid.wrapping_sub(horizon) as i32) < 0;
            if removable {
                split.removable += u64::from(bucket.count);
            } else {
                split.kept += u64::from(bucket.count);
                if place == HORIZON_UNKNOWN || std::mem::take(&mut before) {
                    split.uncertain += u64::from(bucket.count);
                }
            }
        }
        split
    }
}
