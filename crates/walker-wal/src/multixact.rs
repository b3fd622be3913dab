//! Records of resource manager MultiXact (`access/multixact.h`), and of CLOG
//! and CommitTs, which keep their pages the same way.

use crate::bytes::{Fixed, List, Reader};
use crate::{Major, Record, TransactionId, WalError};
use serde::Serialize;

/// A page of offsets was zeroed.
pub const XLOG_MULTIXACT_ZERO_OFF_PAGE: u8 = 0x00;
/// A page of members was zeroed.
pub const XLOG_MULTIXACT_ZERO_MEM_PAGE: u8 = 0x10;
/// A multixact was created.
pub const XLOG_MULTIXACT_CREATE_ID: u8 = 0x20;
/// Old multixacts were removed.
pub const XLOG_MULTIXACT_TRUNCATE_ID: u8 = 0x30;

/// A page was zeroed.
pub const CLOG_ZEROPAGE: u8 = 0x00;
/// Old pages were removed.
pub const CLOG_TRUNCATE: u8 = 0x10;
/// A page was zeroed.
pub const COMMIT_TS_ZEROPAGE: u8 = 0x00;
/// Old pages were removed.
pub const COMMIT_TS_TRUNCATE: u8 = 0x10;

/// `MultiXactStatusNoKeyUpdate`: the member updated the row.
pub const MULTIXACT_STATUS_NO_KEY_UPDATE: u32 = 4;
/// `MultiXactStatusUpdate`: the member updated a key, or deleted the row.
pub const MULTIXACT_STATUS_UPDATE: u32 = 5;

/// A record of resource manager MultiXact.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum MultixactRecord<'a> {
    /// `XLOG_MULTIXACT_ZERO_OFF_PAGE`
    ZeroOffPage(i64),
    /// `XLOG_MULTIXACT_ZERO_MEM_PAGE`
    ZeroMemPage(i64),
    /// `XLOG_MULTIXACT_CREATE_ID`
    CreateId(XlMultixactCreate<'a>),
    /// `XLOG_MULTIXACT_TRUNCATE_ID`
    TruncateId(XlMultixactTruncate),
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// `xl_multixact_create`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlMultixactCreate<'a> {
    /// The multixact.
    pub mid: u32,
    /// Where its members begin.
    pub moff: u32,
    /// Its members.
    pub members: List<'a, MultiXactMember>,
}

impl XlMultixactCreate<'_> {
    /// The member that updated or deleted the row, if there is one; there is
    /// never more than one.
    pub fn updater(&self) -> Option<TransactionId> {
        self.members
            .iter()
            .find(MultiXactMember::is_update)
            .map(|m| m.xid)
    }
}

/// `MultiXactMember`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct MultiXactMember {
    /// The transaction.
    pub xid: TransactionId,
    /// `MultiXactStatus`
    pub status: u32,
}

impl MultiXactMember {
    /// `ISUPDATE_from_mxstatus`
    pub fn is_update(&self) -> bool {
        matches!(
            self.status,
            MULTIXACT_STATUS_NO_KEY_UPDATE | MULTIXACT_STATUS_UPDATE
        )
    }
}

impl Fixed for MultiXactMember {
    const SIZE: usize = 8;
    fn read(b: &[u8]) -> Option<MultiXactMember> {
        Some(MultiXactMember {
            xid: u32::read(b)?,
            status: u32::read(b.get(4..)?)?,
        })
    }
}

/// `xl_multixact_truncate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlMultixactTruncate {
    /// The database with the oldest multixact.
    pub oldest_multi_db: u32,
    /// First multixact that goes.
    pub start_trunc_off: u32,
    /// First multixact that stays.
    pub end_trunc_off: u32,
    /// First member that goes.
    pub start_trunc_memb: u32,
    /// First member that stays.
    pub end_trunc_memb: u32,
}

/// A record of resource manager CLOG or CommitTs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum SlruRecord {
    /// A page was zeroed.
    ZeroPage(i64),
    /// Pages before this one were removed.
    Truncate {
        /// The page.
        pageno: i64,
        /// The oldest transaction that stays.
        oldest_xid: TransactionId,
        /// The database with the oldest transaction (CLOG).
        oldest_xid_db: Option<u32>,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// The number of an SLRU page: 32 bits up to 16.
fn page_number(major: Major, r: &mut Reader<'_>) -> Result<i64, WalError> {
    if major >= Major::V17 {
        r.i64()
    } else {
        r.u32().map(|n| n.cast_signed().into())
    }
}

/// Decodes a record of resource manager MultiXact.
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<MultixactRecord<'_>, WalError> {
    let data = rec.main_data();
    let (record, r) = match rec.rmgr_info() {
        op @ (XLOG_MULTIXACT_ZERO_OFF_PAGE | XLOG_MULTIXACT_ZERO_MEM_PAGE) => {
            let mut r = Reader::new("pageno", data);
            let pageno = page_number(major, &mut r)?;
            let record = if op == XLOG_MULTIXACT_ZERO_OFF_PAGE {
                MultixactRecord::ZeroOffPage(pageno)
            } else {
                MultixactRecord::ZeroMemPage(pageno)
            };
            (record, r)
        }
        XLOG_MULTIXACT_CREATE_ID => {
            let mut r = Reader::new("xl_multixact_create", data);
            let (mid, moff, nmembers) = (r.u32()?, r.u32()?, r.count()?);
            let members = r.list(nmembers)?;
            (
                MultixactRecord::CreateId(XlMultixactCreate { mid, moff, members }),
                r,
            )
        }
        XLOG_MULTIXACT_TRUNCATE_ID => {
            let mut r = Reader::new("xl_multixact_truncate", data);
            let truncate = XlMultixactTruncate {
                oldest_multi_db: r.u32()?,
                start_trunc_off: r.u32()?,
                end_trunc_off: r.u32()?,
                start_trunc_memb: r.u32()?,
                end_trunc_memb: r.u32()?,
            };
            (MultixactRecord::TruncateId(truncate), r)
        }
        op => return Ok(MultixactRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}

/// Decodes a record of resource manager CLOG (`access/clog.h`).
pub fn decode_clog<R: Record + ?Sized>(major: Major, rec: &R) -> Result<SlruRecord, WalError> {
    let mut r = Reader::new("xl_clog_truncate", rec.main_data());
    let record = match rec.rmgr_info() {
        CLOG_ZEROPAGE => SlruRecord::ZeroPage(page_number(major, &mut r)?),
        CLOG_TRUNCATE => SlruRecord::Truncate {
            pageno: page_number(major, &mut r)?,
            oldest_xid: r.u32()?,
            oldest_xid_db: Some(r.u32()?),
        },
        op => return Ok(SlruRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}

/// Decodes a record of resource manager CommitTs (`access/commit_ts.h`).
pub fn decode_commit_ts<R: Record + ?Sized>(major: Major, rec: &R) -> Result<SlruRecord, WalError> {
    let mut r = Reader::new("xl_commit_ts_truncate", rec.main_data());
    let record = match rec.rmgr_info() {
        COMMIT_TS_ZEROPAGE => SlruRecord::ZeroPage(page_number(major, &mut r)?),
        COMMIT_TS_TRUNCATE => SlruRecord::Truncate {
            pageno: page_number(major, &mut r)?,
            oldest_xid: r.u32()?,
            oldest_xid_db: None,
        },
        op => return Ok(SlruRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}
