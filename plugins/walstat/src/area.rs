//! Where the counters are: a part of walker's shared memory.

use core::ffi::CStr;
use pgrx::PgSqlErrorCode;
use walker_plugin::{ErrorReport, services};
use walstat_core::TableReader;

/// The plugin's name in `walker.plugins`, of its state file and of its part
/// of walker's shared memory.
pub const NAME: &CStr = c"walstat";

/// The counters, ready to be read, or the error that says what is missing.
pub fn table() -> Result<TableReader<'static>, Box<ErrorReport>> {
    let Some(services) = services() else {
        return Err(missing(
            "walker must be loaded via \"shared_preload_libraries\"",
            "Add walker to shared_preload_libraries, and walstat to walker.plugins, and restart \
             the server.",
        ));
    };
    let area = services.area_of_running(NAME);
    area.and_then(|area| TableReader::open(area.words()))
        .ok_or_else(|| {
            missing(
                "there are no WAL statistics on this server",
                "Check that walker.plugins contains walstat; the view walker_plugins shows \
                 whether it is running.",
            )
        })
}

fn missing(message: &'static str, hint: &'static str) -> Box<ErrorReport> {
    let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    Box::new(ErrorReport::new(code, message, "walstat").set_hint(hint))
}
