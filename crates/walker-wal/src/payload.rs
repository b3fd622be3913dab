//! Every record, typed: the one door to all resource managers.

use crate::heap::{self, HeapRecord};
use crate::heap2::{self, Heap2Record};
use crate::misc::{self, GenericRecord, LogicalmsgRecord, ReploriginRecord, SeqRecord};
use crate::multixact::{self, MultixactRecord, SlruRecord};
use crate::standby::{self, StandbyRecord};
use crate::storage::{self, DbaseRecord, RelmapRecord, SmgrRecord, TblspcRecord};
use crate::xact::{self, XactRecord};
use crate::xlog::{self, XlogRecord};
use crate::{Block, Lsn, Major, Record, RmgrId, TransactionId, WalError};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What a record says, by resource manager. Index methods, and resource
/// managers of extensions, keep their payload to themselves: their records
/// are blocks and bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "boxing would allocate for every update record"
)]
pub enum Payload<'a> {
    /// XLOG
    Xlog(XlogRecord<'a>),
    /// Transaction
    Xact(XactRecord<'a>),
    /// Storage
    Smgr(SmgrRecord),
    /// CLOG
    Clog(SlruRecord),
    /// Database
    Dbase(DbaseRecord<'a>),
    /// Tablespace
    Tblspc(TblspcRecord<'a>),
    /// MultiXact
    Multixact(MultixactRecord<'a>),
    /// RelMap
    Relmap(RelmapRecord<'a>),
    /// Standby
    Standby(StandbyRecord<'a>),
    /// Heap2
    Heap2(Heap2Record<'a>),
    /// Heap
    Heap(HeapRecord<'a>),
    /// Sequence
    Seq(SeqRecord<'a>),
    /// CommitTs
    CommitTs(SlruRecord),
    /// ReplicationOrigin
    Replorigin(ReploriginRecord),
    /// Generic
    Generic(GenericRecord),
    /// LogicalMessage
    Logicalmsg(LogicalmsgRecord<'a>),
    /// Any other resource manager: its main data.
    Opaque(#[serde(serialize_with = "crate::ser::hex")] &'a [u8]),
}

/// Decodes a record of any resource manager.
#[inline]
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<Payload<'_>, WalError> {
    Ok(match rec.rmid() {
        RmgrId::XLOG => Payload::Xlog(xlog::decode(major, rec)?),
        RmgrId::XACT => Payload::Xact(xact::decode(major, rec)?),
        RmgrId::SMGR => Payload::Smgr(storage::decode_smgr(rec)?),
        RmgrId::CLOG => Payload::Clog(multixact::decode_clog(major, rec)?),
        RmgrId::DBASE => Payload::Dbase(storage::decode_dbase(rec)?),
        RmgrId::TBLSPC => Payload::Tblspc(storage::decode_tblspc(rec)?),
        RmgrId::MULTIXACT => Payload::Multixact(multixact::decode(major, rec)?),
        RmgrId::RELMAP => Payload::Relmap(storage::decode_relmap(rec)?),
        RmgrId::STANDBY => Payload::Standby(standby::decode(rec)?),
        RmgrId::HEAP2 => Payload::Heap2(heap2::decode(major, rec)?),
        RmgrId::HEAP => Payload::Heap(heap::decode(major, rec)?),
        RmgrId::SEQ => Payload::Seq(misc::decode_seq(rec)?),
        RmgrId::COMMIT_TS => Payload::CommitTs(multixact::decode_commit_ts(major, rec)?),
        RmgrId::REPLORIGIN => Payload::Replorigin(misc::decode_replorigin(rec)?),
        RmgrId::GENERIC => Payload::Generic(misc::decode_generic(rec)?),
        RmgrId::LOGICALMSG => Payload::Logicalmsg(misc::decode_logicalmsg(rec)?),
        _ => Payload::Opaque(rec.main_data()),
    })
}

/// A record with all that is known of it, to be serialised. Raw bytes become
/// hexadecimal text, page images only their description. A payload that
/// cannot be decoded becomes the error's text.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a, R: ?Sized>(pub Major, pub &'a R);

impl<R: Record + ?Sized> Serialize for Described<'_, R> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Described(major, rec) = *self;
        let ids = 0..rec.max_block_id().map_or(0, |max| max.saturating_add(1));
        let blocks: Vec<Block<'_>> = ids.filter_map(|id| rec.block(id)).collect();
        let mut out = s.serialize_struct("WalRecord", 11)?;
        let field = &mut out;
        field.serialize_field::<Lsn>("lsn", &rec.lsn())?;
        field.serialize_field::<Lsn>("end_lsn", &rec.end_lsn())?;
        field.serialize_field::<Lsn>("prev_lsn", &rec.prev_lsn())?;
        field.serialize_field::<TransactionId>("xid", &rec.xid())?;
        field.serialize_field("rmid", &rec.rmid())?;
        field.serialize_field("rmgr", &rec.rmid().builtin_name())?;
        field.serialize_field("info", &rec.info())?;
        field.serialize_field("origin", &rec.origin())?;
        field.serialize_field("total_len", &rec.total_len())?;
        field.serialize_field("blocks", &blocks)?;
        match decode(major, rec) {
            Ok(payload) => field.serialize_field("payload", &payload)?,
            Err(e) => field.serialize_field("error", &e.to_string())?,
        }
        out.end()
    }
}
