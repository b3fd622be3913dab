//! walstat: which relation writes how much WAL, by record type.
//!
//! One library with two faces. In walker's worker it is a plugin that counts
//! every record in walker's shared memory. In every other process it is an
//! extension whose functions read those counters. It is also meant as a model
//! of a plugin with durable state: see `plugin.rs`.
#![deny(ffi_unwind_calls)]

mod area;
mod guc;
mod plugin;
mod sql;

use pgrx::prelude::*;

pg_module_magic!(name = c"walstat", version = c"0.2.0");

extension_sql_file!("../sql/functions.sql", name = "functions");
extension_sql_file!("../sql/views.sql", name = "views", requires = ["functions"]);
extension_sql_file!(
    "../sql/privileges.sql",
    name = "privileges",
    requires = ["views"]
);

/// Called by the server when it loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    walker_plugin::prepare();
    guc::init();
}
