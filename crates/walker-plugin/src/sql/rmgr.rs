//! Names of resource managers and record types, as this server has them.

use crate::MAJOR;
use core::ffi::CStr;
use pgrx::pg_sys;
use walker_wal::{RmgrId, identify};

/// The server's entry for an ID; its name is NULL if there is none.
fn entry(rmid: RmgrId) -> pg_sys::RmgrData {
    // SAFETY: RmgrTable has RM_MAX_ID + 1 = 256 entries and changes only while
    // libraries are preloaded (access/transam/rmgr.c).
    unsafe {
        (&raw const pg_sys::RmgrTable)
            .cast::<pg_sys::RmgrData>()
            .add(usize::from(rmid.0))
            .read()
    }
}

fn registered_name(rmid: RmgrId) -> Option<String> {
    let name = entry(rmid).rm_name;
    if name.is_null() {
        return None;
    }
    // SAFETY: the name of a registered resource manager is a static string of
    // a library that is never unloaded.
    let name = unsafe { CStr::from_ptr(name) };
    Some(name.to_string_lossy().into_owned())
}

/// Whether the server has a resource manager with this ID.
pub fn rmgr_exists(rmid: RmgrId) -> bool {
    rmid.builtin_name().is_some() || registered_name(rmid).is_some()
}

/// The name of a resource manager: the built-in or registered one, or as
/// pg_waldump would invent it.
pub fn rmgr_name(rmid: RmgrId) -> String {
    rmid.builtin_name()
        .map(str::to_owned)
        .or_else(|| registered_name(rmid))
        .unwrap_or_else(|| format!("custom{:03}", rmid.0))
}

/// The ID of a resource manager of this server by its name, in any case, as
/// pg_waldump takes it.
pub fn find_rmgr(name: &str) -> Option<RmgrId> {
    (0..=u8::MAX).map(RmgrId).find(|id| {
        id.builtin_name()
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
            || registered_name(*id).is_some_and(|n| n.eq_ignore_ascii_case(name))
    })
}

/// The name of a record's type, as pg_waldump and pg_walinspect show it;
/// `info` is the record's info byte, of which the upper four bits count.
pub fn record_type(rmid: RmgrId, info: u8) -> String {
    identify(MAJOR, rmid, info)
        .map(str::to_owned)
        .or_else(|| registered_type(rmid, info))
        .unwrap_or_else(|| format!("UNKNOWN ({:x})", info & 0xF0))
}

/// What the resource manager itself calls the type.
fn registered_type(rmid: RmgrId, info: u8) -> Option<String> {
    if !rmid.is_custom() {
        return None;
    }
    let rm_identify = entry(rmid).rm_identify?;
    // SAFETY: rm_identify takes any info byte and returns NULL or a string
    // that is static or allocated (access/xlog_internal.h); the guard turns an
    // ERROR into a panic.
    unsafe {
        let name = pg_sys::ffi::pg_guard_ffi_boundary(|| rm_identify(info));
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
