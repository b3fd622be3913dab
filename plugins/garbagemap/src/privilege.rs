//! Who may call what, checked in the functions as well as by GRANT: a GRANT
//! can be widened by accident, and functions can be created anew.

use crate::compat;
use crate::error::Error;
use crate::relation::Table;
use pgrx::pg_sys;

/// Predefined roles; see `catalog/pg_authid.dat`.
const SCAN_TABLES: &[u32] = &[pg_sys::ROLE_PG_STAT_SCAN_TABLES];
const READ_STATS: &[u32] = &[
    pg_sys::ROLE_PG_STAT_SCAN_TABLES,
    pg_sys::ROLE_PG_READ_ALL_STATS,
];
const MONITOR: &[u32] = &[pg_sys::ROLE_PG_MONITOR];

/// For functions that read a whole table.
pub fn require_scan_tables(function: &'static str) -> Result<(), Error> {
    require(function, SCAN_TABLES, "pg_stat_scan_tables")
}

/// For functions that read the map of relations.
pub fn require_read_stats(function: &'static str) -> Result<(), Error> {
    require(
        function,
        READ_STATS,
        "pg_stat_scan_tables or pg_read_all_stats",
    )
}

/// For functions that show how the map itself is doing.
pub fn require_monitor(function: &'static str) -> Result<(), Error> {
    require(function, MONITOR, "pg_monitor")
}

/// For functions that change what the map knows.
pub fn require_superuser(function: &'static str) -> Result<(), Error> {
    // SAFETY: reads the current user's attributes, in a transaction.
    if unsafe { pg_sys::superuser() } {
        Ok(())
    } else {
        Err(Error::Denied {
            function,
            roles: "a superuser",
        })
    }
}

/// Who may prune a table: whoever may VACUUM it.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub const MAINTAINERS: &str = "the owner of the table or of the database";
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub const MAINTAINERS: &str = "roles with the MAINTAIN privilege or the owner of the database";

/// For what changes the table's storage, though not its contents.
pub fn require_maintain(table: &Table) -> Result<(), Error> {
    // SAFETY: reads catalogs, in a transaction; the table was there just now,
    // and if it is gone they raise an error.
    if unsafe { compat::may_maintain(table.oid, table.shared) } {
        Ok(())
    } else {
        Err(Error::NotMaintainer {
            name: table.name.clone(),
        })
    }
}

fn require(function: &'static str, any_of: &[u32], roles: &'static str) -> Result<(), Error> {
    // SAFETY: GetUserId and has_privs_of_role (utils/acl.h) need a transaction,
    // in which every SQL function runs. Superusers have all privileges.
    let allowed = unsafe {
        let user = pg_sys::GetUserId();
        any_of
            .iter()
            .any(|role| pg_sys::has_privs_of_role(user, pg_sys::Oid::from(*role)))
    };
    if allowed {
        Ok(())
    } else {
        Err(Error::Denied { function, roles })
    }
}
