//! Which records are wanted.

use super::Failure;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use walker_plugin::sql::find_rmgr;
use walker_plugin::wal::{Record, RelFileLocator, RmgrId};

/// OID of the tablespace of shared relations (catalog/pg_tablespace.dat).
const GLOBALTABLESPACE_OID: u32 = 1664;

/// Which records are wanted.
pub struct Filter {
    rmid: Option<RmgrId>,
    locator: Option<RelFileLocator>,
}

impl Filter {
    /// Everything, but for what is given.
    pub fn new(rmgr: Option<&str>, relation: Option<pg_sys::Oid>) -> Result<Filter, Failure> {
        let rmid = rmgr.map(|name| find_rmgr(name).ok_or_else(|| no_such_rmgr(name)));
        Ok(Filter {
            rmid: rmid.transpose()?,
            locator: relation.map(locate).transpose()?,
        })
    }

    /// Whether the record is wanted. A relation's records are those with a
    /// block reference to it.
    pub fn wants<R: Record + ?Sized>(&self, record: &R) -> bool {
        self.rmid.is_none_or(|id| id == record.rmid())
            && self.locator.is_none_or(|locator| {
                let max = record.max_block_id();
                max.is_some_and(|max| {
                    (0..=max).any(|id| record.block(id).is_some_and(|b| b.locator == locator))
                })
            })
    }
}

fn no_such_rmgr(name: &str) -> Failure {
    let report = ErrorReport::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("resource manager \"{name}\" does not exist"),
        "walker_records",
    );
    let hint = "SELECT rm_name FROM pg_get_wal_resource_managers() lists them.";
    Box::new(report.set_hint(hint))
}

/// The files a relation has now. Takes no lock: a rewrite that is going on
/// must not make us wait.
fn locate(relation: pg_sys::Oid) -> Result<RelFileLocator, Failure> {
    // SAFETY: both look into the system caches, in a transaction;
    // pg_relation_filenode (utils/adt/dbsize.c) takes an OID and returns NULL
    // for what has no files, get_rel_tablespace (utils/cache/lsyscache.c)
    // returns 0 for the database's default tablespace.
    let (number, tablespace, my_tablespace, my_database) = unsafe {
        (
            pgrx::direct_function_call::<pg_sys::Oid>(
                pg_sys::pg_relation_filenode,
                &[relation.into_datum()],
            ),
            pg_sys::get_rel_tablespace(relation).to_u32(),
            pg_sys::MyDatabaseTableSpace.to_u32(),
            pg_sys::MyDatabaseId.to_u32(),
        )
    };
    let Some(number) = number else {
        return Err(without_files(relation));
    };
    let shared = tablespace == GLOBALTABLESPACE_OID;
    Ok(RelFileLocator {
        spc_oid: match tablespace {
            0 => my_tablespace,
            oid => oid,
        },
        db_oid: if shared { 0 } else { my_database },
        rel_number: number.to_u32(),
    })
}

fn without_files(relation: pg_sys::Oid) -> Failure {
    // SAFETY: get_rel_name (utils/cache/lsyscache.c) returns NULL or a palloc'd
    // C string.
    let name = unsafe {
        let name = pg_sys::get_rel_name(relation);
        (!name.is_null()).then(|| {
            core::ffi::CStr::from_ptr(name)
                .to_string_lossy()
                .into_owned()
        })
    };
    Box::new(match name {
        Some(name) => ErrorReport::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("relation \"{name}\" does not have storage"),
            "walker_records",
        ),
        None => ErrorReport::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation with OID {} does not exist", relation.to_u32()),
            "walker_records",
        ),
    })
}
