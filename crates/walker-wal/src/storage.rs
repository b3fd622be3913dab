//! Records about files and directories: resource managers Storage
//! (`catalog/storage_xlog.h`), Database (`commands/dbcommands_xlog.h`),
//! Tablespace (`commands/tablespace.h`) and RelMap (`utils/relmapper.h`).

use crate::bytes::{Reader, U32List};
use crate::text::Text;
use crate::{BlockNumber, ForkNumber, Record, RelFileLocator, WalError};
use serde::Serialize;

/// A fork of a relation was created.
pub const XLOG_SMGR_CREATE: u8 = 0x10;
/// A relation was cut.
pub const XLOG_SMGR_TRUNCATE: u8 = 0x20;
/// The main fork is cut.
pub const SMGR_TRUNCATE_HEAP: u32 = 0x0001;
/// The visibility map is cut.
pub const SMGR_TRUNCATE_VM: u32 = 0x0002;
/// The free space map is cut.
pub const SMGR_TRUNCATE_FSM: u32 = 0x0004;

/// A database was created by copying a directory.
pub const XLOG_DBASE_CREATE_FILE_COPY: u8 = 0x00;
/// A database was created whose blocks follow in the WAL.
pub const XLOG_DBASE_CREATE_WAL_LOG: u8 = 0x10;
/// Directories of a database were removed.
pub const XLOG_DBASE_DROP: u8 = 0x20;

/// A tablespace was created.
pub const XLOG_TBLSPC_CREATE: u8 = 0x00;
/// A tablespace was dropped.
pub const XLOG_TBLSPC_DROP: u8 = 0x10;

/// A relation map was written.
pub const XLOG_RELMAP_UPDATE: u8 = 0x00;

/// A record of resource manager Storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum SmgrRecord {
    /// `xl_smgr_create`
    Create {
        /// The relation.
        locator: RelFileLocator,
        /// The fork.
        fork: ForkNumber,
    },
    /// `xl_smgr_truncate`
    Truncate {
        /// The relation.
        locator: RelFileLocator,
        /// The number of blocks that stay.
        blkno: BlockNumber,
        /// `SMGR_TRUNCATE_*`: which forks.
        flags: u32,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// A record of resource manager Database.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum DbaseRecord<'a> {
    /// `xl_dbase_create_file_copy_rec`: the contents are those of the source,
    /// and nothing else tells.
    CreateFileCopy {
        /// The new database.
        db_oid: u32,
        /// Its tablespace.
        ts_oid: u32,
        /// The source.
        src_db_oid: u32,
        /// Its tablespace.
        src_ts_oid: u32,
    },
    /// `xl_dbase_create_wal_log_rec`
    CreateWalLog {
        /// The new database.
        db_oid: u32,
        /// Its tablespace.
        ts_oid: u32,
    },
    /// `xl_dbase_drop_rec`: only what is in these tablespaces is gone.
    Drop {
        /// The database.
        db_oid: u32,
        /// The tablespaces.
        ts_oids: U32List<'a>,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// A record of resource manager Tablespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum TblspcRecord<'a> {
    /// `xl_tblspc_create_rec`
    Create {
        /// The tablespace.
        ts_oid: u32,
        /// Its directory; empty for one in place.
        path: Text<'a>,
    },
    /// `xl_tblspc_drop_rec`
    Drop {
        /// The tablespace.
        ts_oid: u32,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// A record of resource manager RelMap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum RelmapRecord<'a> {
    /// `xl_relmap_update`
    Update {
        /// The database, 0 for the shared map.
        db_oid: u32,
        /// Its tablespace.
        ts_oid: u32,
        /// The new map (`RelMapFile`).
        #[serde(serialize_with = "crate::ser::hex")]
        data: &'a [u8],
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// Decodes a record of resource manager Storage.
pub fn decode_smgr<R: Record + ?Sized>(rec: &R) -> Result<SmgrRecord, WalError> {
    let mut r = Reader::new("xl_smgr_create", rec.main_data());
    let record = match rec.rmgr_info() {
        XLOG_SMGR_CREATE => {
            let (locator, fork) = (r.locator()?, r.u32()?);
            let invalid = WalError::Invalid {
                what: "forkNum",
                value: fork.into(),
            };
            SmgrRecord::Create {
                locator,
                fork: ForkNumber(u8::try_from(fork).or(Err(invalid))?),
            }
        }
        XLOG_SMGR_TRUNCATE => {
            r = Reader::new("xl_smgr_truncate", rec.main_data());
            let (blkno, locator, flags) = (r.u32()?, r.locator()?, r.u32()?);
            SmgrRecord::Truncate {
                locator,
                blkno,
                flags,
            }
        }
        op => return Ok(SmgrRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}

/// Decodes a record of resource manager Database.
pub fn decode_dbase<R: Record + ?Sized>(rec: &R) -> Result<DbaseRecord<'_>, WalError> {
    let data = rec.main_data();
    let (record, r) = match rec.rmgr_info() {
        XLOG_DBASE_CREATE_FILE_COPY => {
            let mut r = Reader::new("xl_dbase_create_file_copy_rec", data);
            let (db_oid, ts_oid, src_db_oid, src_ts_oid) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
            (
                DbaseRecord::CreateFileCopy {
                    db_oid,
                    ts_oid,
                    src_db_oid,
                    src_ts_oid,
                },
                r,
            )
        }
        XLOG_DBASE_CREATE_WAL_LOG => {
            let mut r = Reader::new("xl_dbase_create_wal_log_rec", data);
            let (db_oid, ts_oid) = (r.u32()?, r.u32()?);
            (DbaseRecord::CreateWalLog { db_oid, ts_oid }, r)
        }
        XLOG_DBASE_DROP => {
            let mut r = Reader::new("xl_dbase_drop_rec", data);
            let (db_oid, n) = (r.u32()?, r.count()?);
            let ts_oids = r.list(n)?;
            (DbaseRecord::Drop { db_oid, ts_oids }, r)
        }
        op => return Ok(DbaseRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}

/// Decodes a record of resource manager Tablespace.
pub fn decode_tblspc<R: Record + ?Sized>(rec: &R) -> Result<TblspcRecord<'_>, WalError> {
    let data = rec.main_data();
    let (record, r) = match rec.rmgr_info() {
        XLOG_TBLSPC_CREATE => {
            let mut r = Reader::new("xl_tblspc_create_rec", data);
            let (ts_oid, path) = (r.u32()?, Text(r.c_string()?));
            (TblspcRecord::Create { ts_oid, path }, r)
        }
        XLOG_TBLSPC_DROP => {
            let mut r = Reader::new("xl_tblspc_drop_rec", data);
            (TblspcRecord::Drop { ts_oid: r.u32()? }, r)
        }
        op => return Ok(TblspcRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}

/// Decodes a record of resource manager RelMap.
pub fn decode_relmap<R: Record + ?Sized>(rec: &R) -> Result<RelmapRecord<'_>, WalError> {
    match rec.rmgr_info() {
        XLOG_RELMAP_UPDATE => {
            let mut r = Reader::new("xl_relmap_update", rec.main_data());
            let (db_oid, ts_oid, nbytes) = (r.u32()?, r.u32()?, r.count()?);
            let data = r.bytes(nbytes)?;
            r.finish()?;
            Ok(RelmapRecord::Update {
                db_oid,
                ts_oid,
                data,
            })
        }
        op => Ok(RelmapRecord::Other { op }),
    }
}
