//! `walker_records`: the records between two positions, decoded.
//!
//! Rows are made one at a time (ValuePerCall): memory is bounded by one
//! record, a cursor or a LIMIT in the select list reads no further than it
//! needs, and where the executor wants all rows (a function in FROM), it keeps
//! them itself in a tuplestore that honours `work_mem`.

mod filter;
mod jsonb;
mod scan;

use filter::Filter;
use jsonb::Jsonb;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use scan::Scan;
use walker_plugin::sql::{
    PgLsn, PgXid, ROLE_PG_READ_SERVER_FILES, record_type, require_role, rmgr_name,
};
use walker_plugin::wal::{Block, Record, decode};
use walker_plugin::{MAJOR, WalRecord};

pgrx::extension_sql_file!("../../sql/records.sql", name = "records");

/// A row.
type Row = (
    PgLsn,
    PgLsn,
    PgLsn,
    PgXid,
    String,
    String,
    i32,
    i32,
    Option<Jsonb>,
    Jsonb,
);

/// Records that lie between two positions, optionally only those of a resource
/// manager and those with a block reference to a relation's current files. For
/// pg_read_server_files, as pg_walinspect.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn walker_records(
    start_lsn: Option<PgLsn>,
    end_lsn: Option<PgLsn>,
    rmgr: Option<&str>,
    relation: Option<pg_sys::Oid>,
) -> TableIterator<
    'static,
    (
        name!(start_lsn, PgLsn),
        name!(end_lsn, PgLsn),
        name!(prev_lsn, PgLsn),
        name!(xid, PgXid),
        name!(rmgr, String),
        name!(record_type, String),
        name!(length, i32),
        name!(fpi_length, i32),
        name!(blocks, Option<Jsonb>),
        name!(data, Jsonb),
    ),
> {
    require_role("walker_records", &[ROLE_PG_READ_SERVER_FILES]);
    let (Some(start), Some(end)) = (start_lsn, end_lsn) else {
        return TableIterator::empty();
    };
    let filter = Filter::new(rmgr, relation).unwrap_or_else(|e| raise(e));
    let scan = Scan::open(start.0, end.0).unwrap_or_else(|e| raise(e));
    TableIterator::new(Records { scan, filter })
}

/// Why there are no (more) rows. In a box: it is large, and rarely needed.
type Failure = Box<ErrorReport>;

fn raise(error: Failure) -> ! {
    error.report(PgLogLevel::ERROR);
    unreachable!("ereport(ERROR) does not return")
}

struct Records {
    scan: Scan,
    filter: Filter,
}

impl Iterator for Records {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            pgrx::check_for_interrupts!();
            let record = self.scan.next_record().unwrap_or_else(|e| raise(e))?;
            if self.filter.wants(&record) {
                return Some(row(&record));
            }
        }
    }
}

fn row(record: &WalRecord<'_>) -> Row {
    let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let ids = record
        .max_block_id()
        .map_or(0..0, |max| 0..max.saturating_add(1));
    let blocks: Vec<Block<'_>> = ids.filter_map(|id| record.block(id)).collect();
    let data = match decode(MAJOR, record) {
        Ok(payload) => Jsonb::of(&payload),
        Err(error) => Jsonb::error(&error.to_string()),
    };
    (
        PgLsn(record.lsn()),
        PgLsn(record.end_lsn()),
        PgLsn(record.prev_lsn()),
        PgXid(record.xid()),
        rmgr_name(record.rmid()),
        record_type(record.rmid(), record.info()),
        int(record.total_len()),
        int(record.fpi_len()),
        (!blocks.is_empty()).then(|| Jsonb::of(&blocks)),
        data,
    )
}
