//! Everything that differs between the supported major versions.

use pgrx::pg_sys;
use walker_wal::RelFileLocator;

/// Whether the relation's file was made by a transaction that has not ended:
/// our own, or it could not be opened. With `wal_level = minimal` its changes
/// are not logged then (RelationNeedsWAL in utils/rel.h).
///
/// # Safety
/// `rel` must be an open relation.
pub unsafe fn is_file_new(rel: pg_sys::Relation) -> bool {
    // SAFETY: the caller's promise.
    let (created, file) = unsafe {
        #[cfg(feature = "pg15")]
        let file = (*rel).rd_firstRelfilenodeSubid;
        #[cfg(not(feature = "pg15"))]
        let file = (*rel).rd_firstRelfilelocatorSubid;
        ((*rel).rd_createSubid, file)
    };
    created != 0 || file != 0
}

/// The relation's physical address: `rd_node` in 15, `rd_locator` since.
///
/// # Safety
/// `rel` must be an open relation.
pub unsafe fn locator_of(rel: pg_sys::Relation) -> RelFileLocator {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise.
    let (spc, db, number) = unsafe {
        let node = (*rel).rd_node;
        (node.spcNode, node.dbNode, node.relNode.to_u32())
    };
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    let (spc, db, number) = unsafe {
        let locator = (*rel).rd_locator;
        (locator.spcOid, locator.dbOid, u32::from(locator.relNumber))
    };
    RelFileLocator {
        spc_oid: spc.to_u32(),
        db_oid: db.to_u32(),
        rel_number: number,
    }
}

/// The relation's storage. Not to be kept: the next invalidation closes it.
///
/// # Safety
/// `rel` must be an open relation.
pub unsafe fn smgr_of(rel: pg_sys::Relation) -> pg_sys::SMgrRelation {
    // RelationGetSmgr is an inline function that caches this in the relation.
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::smgropen((*rel).rd_node, (*rel).rd_backend)
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::smgropen((*rel).rd_locator, (*rel).rd_backend)
    }
}

// Not in the bindings. A relfilenode is an Oid in 15 and a 32-bit number of
// its own since; both are passed alike.
#[cfg(feature = "pg15")]
unsafe extern "C-unwind" {
    #[link_name = "RelationMapOidToFilenode"]
    fn relation_map_oid_to_number(oid: pg_sys::Oid, shared: bool) -> u32;
}
#[cfg(not(feature = "pg15"))]
unsafe extern "C-unwind" {
    #[link_name = "RelationMapOidToFilenumber"]
    fn relation_map_oid_to_number(oid: pg_sys::Oid, shared: bool) -> u32;
}

/// The relfilenode of a mapped catalog, 0 if there is none.
pub fn mapped_number(oid: pg_sys::Oid, shared: bool) -> u32 {
    // SAFETY: RelationMapOidToFilenode/-number (utils/cache/relmapper.c) looks
    // through the process's own copy of the map and raises no error; the guard
    // is for the rule's sake.
    #[allow(ffi_unwind_calls, reason = "inside pg_guard_ffi_boundary")]
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| relation_map_oid_to_number(oid, shared))
    }
}

/// The path of a fork's first segment, relative to the data directory, which
/// is every server process's working directory.
pub fn relation_path(locator: RelFileLocator, fork: pg_sys::ForkNumber::Type) -> String {
    // SAFETY: GetRelationPath (common/relpath.c) formats its arguments. -1
    // means "not temporary". 15 to 17 return palloc'd memory, which goes with
    // the call's memory context; 18 returns the array itself.
    unsafe {
        let path = pg_sys::GetRelationPath(
            locator.db_oid.into(),
            locator.spc_oid.into(),
            locator.rel_number.into(),
            -1,
            fork,
        );
        #[cfg(feature = "pg18")]
        let path = path.str_.as_ptr();
        core::ffi::CStr::from_ptr(path)
            .to_string_lossy()
            .into_owned()
    }
}

/// Prepare a function's result set; see `InitMaterializedSRF` in
/// utils/fmgr/funcapi.c. The first minors of 15 know it under its first name.
///
/// # Safety
/// `fcinfo` must be the call being executed.
pub unsafe fn init_result_set(fcinfo: pg_sys::FunctionCallInfo) {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::SetSingleFuncCall(fcinfo, 0)
    };
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::InitMaterializedSRF(fcinfo, 0)
    };
}

/// Whether the current user may VACUUM the table; see
/// `vacuum_is_permitted_for_relation` in commands/vacuum.c.
///
/// # Safety
/// In a transaction.
pub unsafe fn may_maintain(oid: pg_sys::Oid, shared: bool) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        let owns_database = pg_sys::pg_database_ownercheck(pg_sys::MyDatabaseId, user);
        #[cfg(not(feature = "pg15"))]
        let owns_database =
            pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, pg_sys::MyDatabaseId, user);
        #[cfg(feature = "pg15")]
        let maintains = pg_sys::pg_class_ownercheck(oid, user);
        #[cfg(feature = "pg16")]
        let maintains = pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, user);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let maintains = pg_sys::pg_class_aclcheck(oid, user, u64::from(pg_sys::ACL_MAINTAIN))
            == pg_sys::AclResult::ACLCHECK_OK;
        maintains || owns_database && !shared
    }
}

/// Start (or end, with false) the accounting behind `vacuum_cost_delay`, as
/// `vacuum` does in commands/vacuum.c.
pub fn set_cost_delay(on: bool) {
    // SAFETY: the process's own variables; VacuumUpdateCosts
    // (postmaster/autovacuum.c) computes them from the settings.
    unsafe {
        pg_sys::VacuumCostBalance = 0;
        if !on {
            pg_sys::VacuumCostActive = false;
            return;
        }
        #[cfg(feature = "pg15")]
        {
            pg_sys::VacuumCostActive = pg_sys::VacuumCostDelay > 0.0;
        }
        #[cfg(not(feature = "pg15"))]
        pg_sys::VacuumUpdateCosts();
    }
}

/// Serve interrupts, and sleep if the cost balance says so.
pub fn delay_point() {
    // SAFETY: commands/vacuum.c; nothing is locked here.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
    }
}

/// The state of the n-th backend, counted from 1.
///
/// # Safety
/// `n` must not exceed `pgstat_fetch_stat_numbackends()` of this transaction.
pub unsafe fn backend_status(n: i32) -> *const pg_sys::PgBackendStatus {
    // SAFETY: the caller's promise; a copy that lives as long as the
    // transaction's (utils/activity/backend_status.c).
    unsafe {
        #[cfg(feature = "pg15")]
        let local = pg_sys::pgstat_fetch_stat_local_beentry(n);
        #[cfg(not(feature = "pg15"))]
        let local = pg_sys::pgstat_get_local_beentry_by_index(n);
        if local.is_null() {
            core::ptr::null()
        } else {
            &raw const (*local).backendStatus
        }
    }
}
