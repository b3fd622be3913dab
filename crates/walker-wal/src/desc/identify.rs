//! The names of record types, as `rm_identify` of each resource manager has
//! them.

use crate::heap2::PruneReason;
use crate::{Major, RmgrId};

/// The name that `pg_waldump` and pg_walinspect show for a record type of a
/// built-in resource manager; `None` for types they do not know.
pub fn identify(major: Major, rmid: RmgrId, info: u8) -> Option<&'static str> {
    let op = info & 0xF0;
    Some(match rmid {
        RmgrId::XLOG => match op {
            0x00 => "CHECKPOINT_SHUTDOWN",
            0x10 => "CHECKPOINT_ONLINE",
            0x20 => "NOOP",
            0x30 => "NEXTOID",
            0x40 => "SWITCH",
            0x50 => "BACKUP_END",
            0x60 => "PARAMETER_CHANGE",
            0x70 => "RESTORE_POINT",
            0x80 => "FPW_CHANGE",
            0x90 => "END_OF_RECOVERY",
            0xA0 => "FPI_FOR_HINT",
            0xB0 => "FPI",
            0xD0 => "OVERWRITE_CONTRECORD",
            0xE0 if major >= Major::V17 => "CHECKPOINT_REDO",
            _ => return None,
        },
        RmgrId::XACT => match op & 0x70 {
            0x00 => "COMMIT",
            0x10 => "PREPARE",
            0x20 => "ABORT",
            0x30 => "COMMIT_PREPARED",
            0x40 => "ABORT_PREPARED",
            0x50 => "ASSIGNMENT",
            0x60 => "INVALIDATION",
            _ => return None,
        },
        RmgrId::SMGR => ["CREATE", "TRUNCATE"].get(index(op).checked_sub(1)?)?,
        RmgrId::CLOG | RmgrId::COMMIT_TS => ["ZEROPAGE", "TRUNCATE"].get(index(op))?,
        RmgrId::DBASE => ["CREATE_FILE_COPY", "CREATE_WAL_LOG", "DROP"].get(index(op))?,
        RmgrId::TBLSPC => ["CREATE", "DROP"].get(index(op))?,
        RmgrId::MULTIXACT => {
            ["ZERO_OFF_PAGE", "ZERO_MEM_PAGE", "CREATE_ID", "TRUNCATE_ID"].get(index(op))?
        }
        RmgrId::RELMAP => ["UPDATE"].get(index(op))?,
        RmgrId::STANDBY => ["LOCK", "RUNNING_XACTS", "INVALIDATIONS"].get(index(op))?,
        RmgrId::HEAP2 => heap2(major, op)?,
        RmgrId::HEAP => match op {
            0x00 => "INSERT",
            0x80 => "INSERT+INIT",
            0x10 => "DELETE",
            0x20 => "UPDATE",
            0xA0 => "UPDATE+INIT",
            0x40 => "HOT_UPDATE",
            0xC0 => "HOT_UPDATE+INIT",
            0x30 => "TRUNCATE",
            0x50 => "HEAP_CONFIRM",
            0x60 => "LOCK",
            0x70 => "INPLACE",
            _ => return None,
        },
        RmgrId::BTREE => BTREE.get(index(op))?,
        RmgrId::HASH => HASH.get(index(op))?,
        RmgrId::GIN => GIN.get(index(op).checked_sub(1)?)?,
        RmgrId::GIST => match op {
            0x00 => "PAGE_UPDATE",
            0x10 => "DELETE",
            0x20 => "PAGE_REUSE",
            0x30 => "PAGE_SPLIT",
            0x60 => "PAGE_DELETE",
            0x70 => "ASSIGN_LSN",
            _ => return None,
        },
        RmgrId::SEQ => ["LOG"].get(index(op))?,
        RmgrId::SPGIST => SPGIST.get(index(op).checked_sub(1)?)?,
        RmgrId::BRIN => match op {
            0x00 => "CREATE_INDEX",
            0x10 => "INSERT",
            0x90 => "INSERT+INIT",
            0x20 => "UPDATE",
            0xA0 => "UPDATE+INIT",
            0x30 => "SAMEPAGE_UPDATE",
            0x40 => "REVMAP_EXTEND",
            0x50 => "DESUMMARIZE",
            _ => return None,
        },
        RmgrId::REPLORIGIN => ["SET", "DROP"].get(index(op))?,
        RmgrId::GENERIC => "Generic",
        RmgrId::LOGICALMSG => ["MESSAGE"].get(index(op))?,
        _ => return None,
    })
}

fn index(op: u8) -> usize {
    usize::from(op >> 4)
}

fn heap2(major: Major, op: u8) -> Option<&'static str> {
    let reason = if major >= Major::V17 {
        PruneReason::of_op(op)
    } else {
        None
    };
    Some(match (reason, op) {
        (Some(PruneReason::OnAccess), _) => "PRUNE_ON_ACCESS",
        (Some(PruneReason::VacuumScan), _) => "PRUNE_VACUUM_SCAN",
        (Some(PruneReason::VacuumCleanup), _) => "PRUNE_VACUUM_CLEANUP",
        (_, 0x00) => "REWRITE",
        (_, 0x10) => "PRUNE",
        (_, 0x20) => "VACUUM",
        (_, 0x30) => "FREEZE_PAGE",
        (_, 0x40) => "VISIBLE",
        (_, 0x50) => "MULTI_INSERT",
        (_, 0xD0) => "MULTI_INSERT+INIT",
        (_, 0x60) => "LOCK_UPDATED",
        (_, 0x70) => "NEW_CID",
        _ => return None,
    })
}

/// From 0x00 (`access/nbtxlog.h`).
const BTREE: [&str; 15] = [
    "INSERT_LEAF",
    "INSERT_UPPER",
    "INSERT_META",
    "SPLIT_L",
    "SPLIT_R",
    "INSERT_POST",
    "DEDUP",
    "DELETE",
    "UNLINK_PAGE",
    "UNLINK_PAGE_META",
    "NEWROOT",
    "MARK_PAGE_HALFDEAD",
    "VACUUM",
    "REUSE_PAGE",
    "META_CLEANUP",
];

/// From 0x00 (`access/hash_xlog.h`).
const HASH: [&str; 13] = [
    "INIT_META_PAGE",
    "INIT_BITMAP_PAGE",
    "INSERT",
    "ADD_OVFL_PAGE",
    "SPLIT_ALLOCATE_PAGE",
    "SPLIT_PAGE",
    "SPLIT_COMPLETE",
    "MOVE_PAGE_CONTENTS",
    "SQUEEZE_PAGE",
    "DELETE",
    "SPLIT_CLEANUP",
    "UPDATE_META_PAGE",
    "VACUUM_ONE_PAGE",
];

/// From 0x10 (`access/ginxlog.h`).
const GIN: [&str; 9] = [
    "CREATE_PTREE",
    "INSERT",
    "SPLIT",
    "VACUUM_PAGE",
    "DELETE_PAGE",
    "UPDATE_META_PAGE",
    "INSERT_LISTPAGE",
    "DELETE_LISTPAGE",
    "VACUUM_DATA_LEAF_PAGE",
];

/// From 0x10 (`access/spgxlog.h`).
const SPGIST: [&str; 8] = [
    "ADD_LEAF",
    "MOVE_LEAFS",
    "ADD_NODE",
    "SPLIT_TUPLE",
    "PICKSPLIT",
    "VACUUM_LEAF",
    "VACUUM_ROOT",
    "VACUUM_REDIRECT",
];
