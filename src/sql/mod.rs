//! What SQL sees: snapshots of shared memory, the WAL's records, and two small
//! levers.
//!
//! No function here waits for the worker, except `walker_wait`.

mod records;
mod restart;
mod status;
mod wait;

use crate::shared::{Control, control};
use pgrx::prelude::*;

pgrx::extension_sql_file!("../../sql/views.sql", name = "views", finalize);

/// The control block, or the error that says what is missing.
fn required_control() -> &'static Control {
    control().unwrap_or_else(|| {
        pg_sys::panic::ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "walker must be loaded via \"shared_preload_libraries\"",
            "walker",
        )
        .set_hint("Add walker to shared_preload_libraries and restart the server.")
        .report(PgLogLevel::ERROR);
        unreachable!("ereport(ERROR) does not return")
    })
}
