//! Cache invalidation messages (`storage/sinval.h`), which ride on several
//! kinds of record.

use crate::bytes::{Fixed, List, Reader};
use crate::{RelFileLocator, WalError};
use serde::Serialize;

/// `SHAREDINVALCATALOG_ID`
pub const SHAREDINVALCATALOG_ID: i8 = -1;
/// `SHAREDINVALRELCACHE_ID`
pub const SHAREDINVALRELCACHE_ID: i8 = -2;
/// `SHAREDINVALSMGR_ID`
pub const SHAREDINVALSMGR_ID: i8 = -3;
/// `SHAREDINVALRELMAP_ID`
pub const SHAREDINVALRELMAP_ID: i8 = -4;
/// `SHAREDINVALSNAPSHOT_ID`
pub const SHAREDINVALSNAPSHOT_ID: i8 = -5;
/// `SHAREDINVALRELSYNC_ID`, from 18
pub const SHAREDINVALRELSYNC_ID: i8 = -6;

/// `SharedInvalidationMessage`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum InvalMessage {
    /// One entry of a catalog cache.
    Catcache {
        /// The cache's number.
        id: i8,
        /// The database, 0 for shared.
        db_oid: u32,
        /// Hash of the key.
        hash_value: u32,
    },
    /// Everything of one catalog.
    Catalog {
        /// The database, 0 for shared.
        db_oid: u32,
        /// The catalog.
        cat_oid: u32,
    },
    /// A relcache entry.
    Relcache {
        /// The database, 0 for shared.
        db_oid: u32,
        /// The relation, 0 for all.
        rel_oid: u32,
    },
    /// Open files of a relation.
    Smgr {
        /// The relation.
        locator: RelFileLocator,
    },
    /// The relation map.
    Relmap {
        /// The database, 0 for shared.
        db_oid: u32,
    },
    /// Snapshots taken for a catalog.
    Snapshot {
        /// The database, 0 for shared.
        db_oid: u32,
        /// The catalog.
        rel_oid: u32,
    },
    /// An entry of pgoutput's relation cache (18).
    Relsync {
        /// The database.
        db_oid: u32,
        /// The relation, 0 for all.
        rel_oid: u32,
    },
    /// An id this code does not know.
    Other {
        /// The first byte.
        id: i8,
    },
}

impl Fixed for InvalMessage {
    const SIZE: usize = 16;

    fn read(bytes: &[u8]) -> Option<InvalMessage> {
        let b: &[u8; 16] = bytes.first_chunk()?;
        let [id, ..] = *b;
        let id = i8::from_le_bytes([id]);
        let word = |at: usize| b.get(at..).and_then(u32::read);
        // The first field of type Oid is aligned behind the one-byte id.
        let (db_oid, second) = (word(4)?, word(8)?);
        Some(match id {
            0.. => InvalMessage::Catcache {
                id,
                db_oid,
                hash_value: second,
            },
            SHAREDINVALCATALOG_ID => InvalMessage::Catalog {
                db_oid,
                cat_oid: second,
            },
            SHAREDINVALRELCACHE_ID => InvalMessage::Relcache {
                db_oid,
                rel_oid: second,
            },
            SHAREDINVALSMGR_ID => InvalMessage::Smgr {
                locator: RelFileLocator::read(b.get(4..)?)?,
            },
            SHAREDINVALRELMAP_ID => InvalMessage::Relmap { db_oid },
            SHAREDINVALSNAPSHOT_ID => InvalMessage::Snapshot {
                db_oid,
                rel_oid: second,
            },
            SHAREDINVALRELSYNC_ID => InvalMessage::Relsync {
                db_oid,
                rel_oid: second,
            },
            _ => InvalMessage::Other { id },
        })
    }
}

/// An array of messages.
pub type InvalMessages<'a> = List<'a, InvalMessage>;

impl<'a> List<'a, InvalMessage> {
    /// A count (`int nmsgs`), then that many messages.
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<InvalMessages<'a>, WalError> {
        let n = r.count()?;
        r.list(n)
    }
}
