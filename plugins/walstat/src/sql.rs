//! What the SQL functions do. Their declarations are in `sql/functions.sql`;
//! each Rust function here is reached as `<name>_wrapper`.

use crate::area::{NAME, table};
use pgrx::prelude::*;
use walker_plugin::sql::{
    PgLsn, PgOid, ROLE_PG_MONITOR, ROLE_PG_READ_ALL_STATS, has_role, record_type, require_role,
    rmgr_name,
};
use walker_plugin::{ErrorReport, services};
use walstat_core::{Key, Owner, Row, TableReader};

/// The counters, or the error that says what is missing.
fn required_table() -> TableReader<'static> {
    table().unwrap_or_else(|error| raise(*error))
}

fn raise(error: ErrorReport) -> ! {
    error.report(PgLogLevel::ERROR);
    unreachable!("ereport(ERROR) does not return")
}

fn bigint(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Kind of owner, tablespace, database, relfilenode.
type Place = (&'static str, Option<u32>, Option<u32>, Option<u32>);

fn place(owner: Owner) -> Place {
    match owner {
        Owner::Relation(l) => (
            "relation",
            Some(l.spc_oid),
            Some(l.db_oid),
            Some(l.rel_number),
        ),
        Owner::Nobody => ("none", None, None, None),
        Owner::Dropped(db_oid) => ("dropped", None, Some(db_oid), None),
        Owner::Other | Owner::Rest => ("other", None, None, None),
    }
}

/// Whether the row is of this database, of shared relations or of none.
fn is_ours(key: &Key, my_database: u32) -> bool {
    let (_, _, database, _) = place(key.owner);
    database.is_none_or(|db| db == 0 || db == my_database)
}

/// Implementation of the view `wal_by_relation`. For pg_monitor; other
/// databases only for pg_read_all_stats.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn wal_by_relation_rows() -> TableIterator<
    'static,
    (
        name!(kind, &'static str),
        name!(reltablespace, Option<PgOid>),
        name!(reldatabase, Option<PgOid>),
        name!(relfilenode, Option<PgOid>),
        name!(rmgr, Option<String>),
        name!(record_type, Option<String>),
        name!(records, i64),
        name!(bytes, i64),
        name!(fpi_bytes, i64),
        name!(aborted_bytes, i64),
    ),
> {
    require_role("wal_by_relation_rows", &[ROLE_PG_MONITOR]);
    let table = required_table();
    let all = has_role(ROLE_PG_READ_ALL_STATS);
    // SAFETY: set when the session connected to its database.
    let my_database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let counted = |row: &Row| row.counters != Default::default();
    let rows = table
        .rows()
        .into_iter()
        .filter(move |row| counted(row) && (all || is_ours(&row.key, my_database)));
    TableIterator::new(rows.map(|Row { key, counters }| {
        let (kind, spc, db, rel) = place(key.owner);
        let known = (key.owner != Owner::Rest).then_some(key.record_type);
        (
            kind,
            spc.map(PgOid),
            db.map(PgOid),
            rel.map(PgOid),
            known.map(|t| rmgr_name(t.rmid)),
            known.map(|t| record_type(t.rmid, t.op)),
            bigint(counters.records),
            bigint(counters.bytes),
            bigint(counters.fpi_bytes),
            bigint(counters.aborted_bytes),
        )
    }))
}

/// Implementation of the view `walstat_status`. For pg_monitor.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn walstat_status_row() -> TableIterator<
    'static,
    (
        name!(counted_from_lsn, Option<PgLsn>),
        name!(applied_lsn, Option<PgLsn>),
        name!(state_lsn, Option<PgLsn>),
        name!(entries, i64),
        name!(max_entries, i64),
        name!(open_transactions, i64),
        name!(untracked_bytes, i64),
        name!(gaps, i64),
        name!(malformed_records, i64),
    ),
> {
    require_role("walstat_status_row", &[ROLE_PG_MONITOR]);
    let status = required_table().status();
    let applied = services().and_then(|s| s.applied_lsn(NAME));
    TableIterator::once((
        PgLsn::valid(status.counted_from),
        applied.map(PgLsn),
        PgLsn::valid(status.state_lsn),
        bigint(status.entries),
        bigint(status.max_entries),
        bigint(status.open_transactions),
        bigint(status.untracked_bytes),
        bigint(status.gaps),
        bigint(status.malformed_records),
    ))
}

/// Ask the worker to set all counters to zero. For superusers.
#[pg_extern(sql = false)]
fn walstat_reset() {
    // SAFETY: reads the current user's attributes, in a transaction.
    if !unsafe { pg_sys::superuser() } {
        raise(
            ErrorReport::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "permission denied for function walstat_reset",
                "walstat",
            )
            .set_detail("Only superusers may reset the WAL statistics."),
        );
    }
    required_table().request_reset();
    if let Some(services) = services() {
        services.wake();
    }
}
