//! Names of resource managers, built-in and registered by extensions, by
//! their plain numbers.

use core::ffi::CStr;
use walker_plugin::sql::{find_rmgr, rmgr_exists, rmgr_name};
use walker_plugin::wal::RmgrId;

/// Whether the server has a resource manager with this ID.
pub fn is_known(rmid: u8) -> bool {
    rmgr_exists(RmgrId(rmid))
}

/// The name of an ID; as pg_waldump would invent it, if it has none.
pub fn name(rmid: u8) -> String {
    rmgr_name(RmgrId(rmid))
}

/// The ID of a registered name. Case does not matter: the server refuses two
/// names that differ in case only (RegisterCustomRmgr).
pub fn find(name: &CStr) -> Option<u8> {
    find_rmgr(name.to_str().ok()?).map(|id| id.0)
}
