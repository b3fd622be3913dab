//! What SQL functions of plugins share: types, roles, names.

mod number;
mod rmgr;

pub use number::{PgOid, PgXid};
pub use rmgr::{find_rmgr, record_type, rmgr_exists, rmgr_name};

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum as BorrowedDatum;
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use walker_wal::Lsn;

/// An LSN as SQL has it, `pg_lsn`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PgLsn(pub Lsn);

impl PgLsn {
    /// `None`, which is NULL in SQL, for the invalid LSN 0.
    pub fn valid(lsn: u64) -> Option<PgLsn> {
        (lsn != 0).then_some(PgLsn(Lsn(lsn)))
    }
}

impl_sql_translatable!(PgLsn, "pg_lsn");

impl IntoDatum for PgLsn {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // pg_lsn is passed by value: 64 bits, as XLogRecPtr (pg_lsn.h).
        Some(pg_sys::Datum::from(self.0.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::PG_LSNOID
    }
}

impl FromDatum for PgLsn {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then(|| PgLsn(Lsn(datum.value() as u64)))
    }
}

// SAFETY: the argument is a pg_lsn, which FromDatum takes by value.
unsafe impl<'fcx> ArgAbi<'fcx> for PgLsn {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises that the types match.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(PgLsn(Lsn(0)))
    }
}

// SAFETY: the result is a pg_lsn, by value.
unsafe impl BoxRet for PgLsn {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> BorrowedDatum<'fcx> {
        // SAFETY: the caller promises that the types match.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0.0)) }
    }
}

/// Raise "permission denied for function" unless the current user has the
/// privileges of one of the roles.
///
/// Checked in code as well as by GRANT, because GRANTs can be changed and
/// functions re-created.
pub fn require_role(function: &str, roles: &[u32]) {
    let allowed = roles.iter().any(|role| has_role(*role));
    if !allowed {
        let names: Vec<_> = roles.iter().filter_map(|role| role_name(*role)).collect();
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for function {function}"),
            format!(
                "Only roles with privileges of {} may call this function.",
                names.join(" or ")
            )
        );
    }
}

fn role_name(role: u32) -> Option<String> {
    // SAFETY: GetUserNameFromId (utils/init/miscinit.c) returns a palloc'd name, or
    // NULL for a role that is not there.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::Oid::from(role), true);
        (!name.is_null()).then(|| {
            core::ffi::CStr::from_ptr(name)
                .to_string_lossy()
                .into_owned()
        })
    }
}

/// Whether the current user has the privileges of a role.
pub fn has_role(role: u32) -> bool {
    // SAFETY: GetUserId and has_privs_of_role (utils/adt/acl.c) only read.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(role)) }
}

/// OID of the predefined role `pg_monitor` (catalog/pg_authid.dat).
pub const ROLE_PG_MONITOR: u32 = 3373;
/// OID of the predefined role `pg_read_all_stats`.
pub const ROLE_PG_READ_ALL_STATS: u32 = 3375;
/// OID of the predefined role `pg_stat_scan_tables`.
pub const ROLE_PG_STAT_SCAN_TABLES: u32 = 3377;
/// OID of the predefined role `pg_read_server_files`.
pub const ROLE_PG_READ_SERVER_FILES: u32 = 4569;
