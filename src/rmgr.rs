//! Names of resource managers, built-in and registered by extensions.

use core::ffi::CStr;
use pgrx::pg_sys;
use walker_plugin::wal::RmgrId;

/// The name under which an ID is registered in this server.
fn registered_name(rmid: u8) -> Option<&'static CStr> {
    // SAFETY: RmgrTable has RM_MAX_ID + 1 = 256 entries; unused ones have a
    // NULL name (access/transam/rmgr.c). Names belong to libraries that are
    // preloaded and never unloaded.
    unsafe {
        let entry = (&raw const pg_sys::RmgrTable)
            .cast::<pg_sys::RmgrData>()
            .add(usize::from(rmid));
        let name = (*entry).rm_name;
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }
}

/// Whether the server has a resource manager with this ID.
pub fn is_known(rmid: u8) -> bool {
    RmgrId(rmid).builtin_name().is_some() || registered_name(rmid).is_some()
}

/// The name of an ID; as pg_waldump would invent it, if it has none.
pub fn name(rmid: u8) -> String {
    match (RmgrId(rmid).builtin_name(), registered_name(rmid)) {
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) => name.to_string_lossy().into_owned(),
        (None, None) => format!("custom{rmid:03}"),
    }
}

/// The ID of a registered name. Case does not matter: the server refuses two
/// names that differ in case only (RegisterCustomRmgr).
pub fn find(name: &CStr) -> Option<u8> {
    (0u8..=255).find(|id| {
        registered_name(*id).is_some_and(|n| n.to_bytes().eq_ignore_ascii_case(name.to_bytes()))
    })
}
