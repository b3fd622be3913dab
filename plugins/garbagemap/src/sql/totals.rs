//! `garbage_map_totals`: one relation's map added up, for `garbage_tables`.

use crate::error::{Error, or_raise};
use crate::relation::Table;
use crate::rows::{Rows, bigint, boolean};
use crate::{area, privilege};
use garbagemap_core::map::Totals;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn garbage_map_totals(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_read_stats("garbage_map_totals")?;
    let map = area::map()?;
    // The caller goes through a catalog: what has been dropped since, or is
    // nothing the map could know, has no row.
    let Ok((table, blocks)) = Table::look_up_with_blocks(rel) else {
        return Ok(());
    };
    if table.require_wal_logged().is_err() {
        return Ok(());
    }
    let totals = match map.find(table.locator) {
        Some(relation) => relation.totals(blocks),
        None => unknown(blocks),
    };
    let known = totals.unknown_blocks < u64::from(blocks) || blocks == 0;
    rows.add([
        bigint(u64::from(blocks)),
        totals.tuples.and_then(bigint),
        known.then_some(totals.dead).and_then(bigint),
        known.then_some(totals.items).and_then(bigint),
        boolean(totals.exact()),
        bigint(totals.inexact_blocks),
    ]);
    Ok(())
}

/// A relation of which nothing is known. An empty one has nothing to know.
fn unknown(blocks: u32) -> Totals {
    Totals {
        tuples: (blocks == 0).then_some(0),
        inexact_blocks: u64::from(blocks),
        unknown_blocks: u64::from(blocks),
        ..Totals::default()
    }
}
