//! `garbage_base_scan` of all tables of the database, and how far the scans are
//! that run.

use super::base_scan::{mailbox, scan};
use crate::error::{Error, or_raise};
use crate::mailbox::Slot;
use crate::rows::{Rows, bigint};
use crate::{privilege, text};
use pgrx::prelude::*;

/// Of all tables. Declared with `SET search_path = pg_catalog, pg_temp`.
#[pg_extern(sql = false)]
fn garbage_base_scan_all() -> i64 {
    or_raise(scan_all())
}

/// Table by table: what becomes of one is no reason to leave the others out. A
/// server that does not answer is.
fn scan_all() -> Result<i64, Error> {
    privilege::require_superuser("garbage_base_scan")?;
    let mut read = 0;
    for rel in all_tables()? {
        match scan(rel) {
            Ok(pages) => read += pages,
            // Dropped meanwhile.
            Err(Error::NoSuchRelation(_)) => {}
            Err(
                error @ (Error::NoMemory
                | Error::ScanLost
                | Error::ScanForgotten
                | Error::NotATable { .. }
                | Error::NotHeap { .. }
                | Error::Unlogged { .. }
                | Error::NotLoggedYet { .. }),
            ) => pgrx::warning!(
                "base scan of table {} failed: {error}",
                text::qualified_name(rel)
            ),
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn all_tables() -> Result<Vec<pg_sys::Oid>, Error> {
    let query = "SELECT oid FROM pg_class
                 WHERE relkind IN ('r', 'm', 't') AND relpersistence = 'p'
                   AND relam = (SELECT oid FROM pg_am WHERE amname = 'heap')";
    Spi::connect(|client| {
        let mut tables = Vec::new();
        for row in client.select(query, None, &[])? {
            tables.extend(row.get::<pg_sys::Oid>(1)?);
        }
        Ok(tables)
    })
    .map_err(Error::Tables)
}

#[pg_extern(sql = false)]
fn garbage_base_scan_progress_rows(fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(progress(&mut rows));
}

fn progress(rows: &mut Rows) -> Result<(), Error> {
    privilege::require_read_stats("garbage_base_scan_progress_rows")?;
    for p in mailbox()?.1.slots().filter_map(Slot::progress) {
        rows.add([
            Some(pg_sys::Datum::from(p.pid)),
            Some(pg_sys::Datum::from(p.db_oid)),
            Some(pg_sys::Datum::from(p.rel_oid)),
            bigint(u64::from(p.total)),
            bigint(u64::from(p.done)),
        ]);
    }
    Ok(())
}
