//! `garbage_summary`: a table's garbage by reading the table.

use crate::error::{Error, or_raise};
use crate::forks::AllVisible;
use crate::relation::Table;
use crate::rows::{Rows, bigint};
use crate::scan::TableScan;
use crate::{guc, privilege};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn garbage_summary(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_scan_tables("garbage_summary")?;
    let table = Table::look_up(rel)?.open()?;
    let mut scan = TableScan::new(&table);
    let mut all_visible = AllVisible::new(&table);
    let blocks = scan.blocks();
    // The setting may change in the middle only of a function that changes it.
    let width = guc::summary_size();
    let mut start = 0;
    for rangeno in 0u32.. {
        if start >= blocks {
            break;
        }
        let end = start.saturating_add(width).min(blocks);
        let counts = scan.range(start, end);
        let rangeno = i32::try_from(rangeno).map_err(|_| Error::TooManyRanges)?;
        rows.add([
            Some(rangeno.into()),
            bigint(counts.freespace),
            bigint(counts.tuples),
            bigint(counts.dead),
            bigint(all_visible.count(u64::from(start), u64::from(end))),
        ]);
        start = end;
    }
    Ok(())
}
