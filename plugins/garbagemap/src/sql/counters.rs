//! `garbage_map_counters`: what happened to a relation, for `garbage_counters`.

use crate::error::{Error, or_raise};
use crate::relation::Table;
use crate::rows::{Rows, bigint};
use crate::{area, privilege};
use pgrx::prelude::*;

/// From 17 on pruning records say whether VACUUM wrote them.
const TELLS_VACUUM: bool = cfg!(not(any(feature = "pg15", feature = "pg16")));

#[pg_extern(sql = false)]
fn garbage_map_counters(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

/// No row for what is no table or not in the map: the view is about many.
fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_read_stats("garbage_map_counters")?;
    let map = area::map()?;
    let Ok(table) = Table::look_up(rel) else {
        return Ok(());
    };
    let Some((counters, rates)) = map.find(table.locator).and_then(|r| r.counters()) else {
        return Ok(());
    };
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let [short, long] = rates.as_of(now);
    let float = |rate: f64| Some(pg_sys::Datum::from(rate.to_bits()));
    rows.add([
        bigint(counters.dead_by_delete),
        bigint(counters.dead_by_update),
        bigint(counters.dead_by_abort),
        bigint(counters.pruned),
        bigint(counters.vacuumed).filter(|_| TELLS_VACUUM),
        bigint(counters.hot_updates),
        bigint(counters.other_updates),
        bigint(counters.visible_lost),
        float(short.0),
        float(short.1),
        float(long.0),
        float(long.1),
    ]);
    Ok(())
}
