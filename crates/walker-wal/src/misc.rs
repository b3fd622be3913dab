//! Records of the small resource managers: Sequence (`commands/sequence.h`),
//! Generic (`access/generic_xlog.c`), LogicalMessage
//! (`replication/message.h`) and ReplicationOrigin (`replication/origin.h`).

use crate::bytes::Reader;
use crate::text::Text;
use crate::{BLCKSZ, Block, Lsn, Record, RelFileLocator, WalError};
use serde::Serialize;

/// A sequence's page was written anew.
pub const XLOG_SEQ_LOG: u8 = 0x00;
/// A message for logical decoding.
pub const XLOG_LOGICAL_MESSAGE: u8 = 0x00;
/// The progress of a replication origin.
pub const XLOG_REPLORIGIN_SET: u8 = 0x00;
/// A replication origin was dropped.
pub const XLOG_REPLORIGIN_DROP: u8 = 0x10;

/// A record of resource manager Sequence.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum SeqRecord<'a> {
    /// `xl_seq_rec`
    Log {
        /// The sequence.
        locator: RelFileLocator,
        /// Its one tuple, header included.
        #[serde(serialize_with = "crate::ser::hex")]
        tuple: &'a [u8],
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// Decodes a record of resource manager Sequence.
pub fn decode_seq<R: Record + ?Sized>(rec: &R) -> Result<SeqRecord<'_>, WalError> {
    match rec.rmgr_info() {
        XLOG_SEQ_LOG => {
            let mut r = Reader::new("xl_seq_rec", rec.main_data());
            Ok(SeqRecord::Log {
                locator: r.locator()?,
                tuple: r.take_rest(),
            })
        }
        op => Ok(SeqRecord::Other { op }),
    }
}

/// A record of resource manager Generic: pages overwritten in regions.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GenericRecord {
    /// The highest block reference ID, `None` if there is no block.
    pub max_block_id: Option<u8>,
}

/// Checks a record of resource manager Generic; its regions are read block by
/// block with [`generic_regions`].
pub fn decode_generic<R: Record + ?Sized>(rec: &R) -> Result<GenericRecord, WalError> {
    let max_block_id = rec.max_block_id();
    for id in 0..=max_block_id.unwrap_or(0) {
        if let Some(block) = rec.block(id) {
            for region in generic_regions(&block) {
                region?;
            }
        }
    }
    Ok(GenericRecord { max_block_id })
}

/// A region of a page that is overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Region<'a> {
    /// Where in the page.
    pub offset: u16,
    /// The new bytes.
    #[serde(serialize_with = "crate::ser::hex")]
    pub bytes: &'a [u8],
}

/// The regions of a block of a generic record (`applyPageRedo`). A block
/// whose page image took the place of the delta has none.
pub fn generic_regions<'a>(
    block: &Block<'a>,
) -> impl Iterator<Item = Result<Region<'a>, WalError>> + use<'a> {
    let mut r = Reader::new("delta of generic record", block.data.unwrap_or_default());
    std::iter::from_fn(move || {
        if r.left() == 0 {
            return None;
        }
        let region = read_region(&mut r);
        if region.is_err() {
            r.take_rest();
        }
        Some(region)
    })
}

fn read_region<'a>(r: &mut Reader<'a>) -> Result<Region<'a>, WalError> {
    let (offset, length) = (r.u16()?, r.u16()?);
    let end = usize::from(offset) + usize::from(length);
    if end > BLCKSZ {
        return Err(WalError::Invalid {
            what: "region of generic record",
            value: end as u64,
        });
    }
    Ok(Region {
        offset,
        bytes: r.bytes(length.into())?,
    })
}

/// A record of resource manager LogicalMessage.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum LogicalmsgRecord<'a> {
    /// `xl_logical_message`
    Message {
        /// The database it was sent from.
        db_oid: u32,
        /// Whether it counts only if its transaction commits.
        transactional: bool,
        /// Its prefix.
        prefix: Text<'a>,
        /// The message.
        #[serde(serialize_with = "crate::ser::hex")]
        message: &'a [u8],
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// Decodes a record of resource manager LogicalMessage.
pub fn decode_logicalmsg<R: Record + ?Sized>(rec: &R) -> Result<LogicalmsgRecord<'_>, WalError> {
    match rec.rmgr_info() {
        XLOG_LOGICAL_MESSAGE => {
            let mut r = Reader::new("xl_logical_message", rec.main_data());
            let (db_oid, transactional) = (r.u32()?, r.bool()?);
            r.skip(3)?;
            let (prefix_size, message_size) = (r.size()?, r.size()?);
            // The prefix ends with a zero byte, which its size counts.
            let prefix = r.bytes(prefix_size)?;
            let prefix = Text(prefix.strip_suffix(&[0]).ok_or(WalError::Invalid {
                what: "prefix_size",
                value: prefix_size as u64,
            })?);
            let message = r.bytes(message_size)?;
            r.finish()?;
            Ok(LogicalmsgRecord::Message {
                db_oid,
                transactional,
                prefix,
                message,
            })
        }
        op => Ok(LogicalmsgRecord::Other { op }),
    }
}

/// A record of resource manager ReplicationOrigin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum ReploriginRecord {
    /// `xl_replorigin_set`
    Set {
        /// Position at the origin.
        remote_lsn: Lsn,
        /// The origin.
        node_id: u16,
        /// Whether it may go back.
        force: bool,
    },
    /// `xl_replorigin_drop`
    Drop {
        /// The origin.
        node_id: u16,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// Decodes a record of resource manager ReplicationOrigin.
pub fn decode_replorigin<R: Record + ?Sized>(rec: &R) -> Result<ReploriginRecord, WalError> {
    let mut r = Reader::new("xl_replorigin_set", rec.main_data());
    let record = match rec.rmgr_info() {
        XLOG_REPLORIGIN_SET => {
            let (remote_lsn, node_id, force) = (r.lsn()?, r.u16()?, r.bool()?);
            r.skip(5)?;
            ReploriginRecord::Set {
                remote_lsn,
                node_id,
                force,
            }
        }
        XLOG_REPLORIGIN_DROP => ReploriginRecord::Drop { node_id: r.u16()? },
        op => return Ok(ReploriginRecord::Other { op }),
    };
    r.finish()?;
    Ok(record)
}
