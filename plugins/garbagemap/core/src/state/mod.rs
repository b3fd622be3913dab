//! The ledger in a file: all that is needed to go on at an LSN.
//!
//! The state is a sequence of frames, a length and that many bytes each, which
//! hold [`Item`]s in postcard's encoding; an empty frame ends it. So neither
//! side needs more memory than a frame, and a reader borrows all it reads.
//! Header, checksum, LSN and history of the file are the caller's. What is
//! read is believed to be nothing but bytes: every count, number and position
//! is checked, and memory is asked for, not taken.
//!
//! What comes later counts: a range may come again and takes the place of what
//! came before, so does a relation. Only relations that are named once more at
//! the end are taken over.
//!
//! Open base scans are not kept: their blocks come back as unknown.

mod codec;
mod load;
mod save;

pub(crate) use save::Saving;

use serde::{Deserialize, Serialize};
use walker_wal::{BlockNumber, RelFileLocator, TransactionId};

use crate::Counters;
use crate::mem::NoMemory;

const MAGIC: u32 = 0x6762_6c67;
const VERSION: u8 = 4;

/// Bytes of a frame at most. The largest item, a range of 128 blocks full of
/// garbage, needs a third of it.
const FRAME_BYTES: usize = 32 << 10;

#[derive(Serialize, Deserialize)]
enum Item<'a> {
    /// The first one.
    Header {
        magic: u32,
        version: u8,
        range_blocks: u8,
    },
    /// A relation without ranges; what came of it before does not count.
    Relation {
        locator: RelFileLocator,
        /// Who is to go first if memory is short while this is read.
        last_touch: u64,
    },
    /// A relation of before: more of its ranges follow.
    Again {
        locator: RelFileLocator,
    },
    /// A range of the relation before.
    Range {
        rangeno: u32,
        known: [u64; 2],
        #[serde(borrow)]
        dead: &'a [u8],
        items: &'a [u8],
        normal: &'a [u8],
    },
    /// What a transaction has undecided in the range before.
    Group {
        xid: TransactionId,
        ins: &'a [u8],
        del: &'a [u8],
        updated: u16,
    },
    Ended {
        xid: TransactionId,
        committed: bool,
    },
    Multixact {
        mxid: TransactionId,
        updater: TransactionId,
    },
    /// A relation of before, complete.
    Kept {
        locator: RelFileLocator,
        known_from: Option<BlockNumber>,
        last_touch: u64,
        counters: Counters,
    },
    /// The last one: how many there were before.
    End {
        items: u64,
        wal_minimal: bool,
    },
}

/// A state cannot be taken over. The ledger is empty then.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read, or ends too soon.
    #[error("could not read the ledger's state: {0}")]
    Io(#[from] std::io::Error),
    /// It is no state, or of another version.
    #[error("this is no ledger state of this version")]
    Foreign,
    /// It was written with another number of blocks per range.
    #[error("the state is for ranges of {0} blocks")]
    RangeBlocks(u8),
    /// It is damaged.
    #[error("invalid {0} in the ledger's state")]
    Corrupt(&'static str),
    /// There is no memory for it.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

impl LoadError {
    /// Whether the state may be sound, and only memory was short.
    pub fn is_shortage(&self) -> bool {
        match self {
            LoadError::NoMemory(_) => true,
            LoadError::Io(error) => error.kind() == std::io::ErrorKind::OutOfMemory,
            _ => false,
        }
    }
}
