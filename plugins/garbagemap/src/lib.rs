//! garbagemap: a live, exact map of dead tuples per block range.
//!
//! One library with two faces. In walker's worker it is a plugin that keeps a
//! ledger of dead line pointers and shows its counters in shared memory. In
//! every other process it is an extension whose functions read those counters,
//! or scan a table to tell the truth independently of them.
#![deny(ffi_unwind_calls)]

mod area;
mod compat;
mod error;
mod forks;
mod guc;
mod mailbox;
mod plugin;
mod privilege;
mod prune;
mod relation;
mod rows;
mod scan;
mod sql;
mod text;

use pgrx::prelude::*;

pg_module_magic!(name = c"garbagemap", version = c"0.2.0");

extension_sql_file!("../sql/guard.sql", name = "guard", bootstrap);
extension_sql_file!("../sql/functions.sql", name = "functions");
extension_sql_file!("../sql/views.sql", name = "views", requires = ["functions"]);
extension_sql_file!(
    "../sql/candidates.sql",
    name = "candidates",
    requires = ["views"]
);
extension_sql_file!(
    "../sql/pictures.sql",
    name = "pictures",
    requires = ["privileges"]
);
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
