//! PostgreSQL WAL records in memory: addresses, typed payloads, page images.
//!
//! Pure Rust, no server and no `unsafe`: everything here runs under plain
//! `cargo test`, Miri and fuzzers. WAL bytes are treated as untrusted: every
//! offset, count and length is checked, a malformed record is an error and
//! never a panic. The server's major version is a run-time parameter
//! ([`Major`]), so that one build decodes the WAL of 15 to 18.
#![forbid(unsafe_code)]

mod addr;
mod bytes;
pub mod desc;
mod error;
pub mod heap;
pub mod heap2;
pub mod inval;
pub mod lsn;
pub mod misc;
pub mod multixact;
pub mod page;
pub mod payload;
pub mod raw;
mod record;
mod ser;
pub mod standby;
pub mod storage;
pub mod xact;
pub mod xlog;

pub use addr::{
    BLCKSZ, BlockNumber, ForkNumber, Lsn, Major, OffsetNumber, ParseLsnError, RelFileLocator,
    RmgrId, TimeLineId, TransactionId,
};
pub use bytes::{Fixed, List, ListIter, OffsetList, U32List};
pub use desc::{Description, describe, identify};
pub use error::WalError;
pub use page::{HeapPage, LinePointer};
pub use payload::{Described, Payload, decode};
pub use record::{Block, Compression, Image, Record};
