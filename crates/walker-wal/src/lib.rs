//! PostgreSQL WAL records in memory: addresses, typed payloads, page images.
//!
//! Pure Rust, no server and no `unsafe`: everything here runs under plain
//! `cargo test`, Miri and fuzzers. WAL bytes are treated as untrusted: every
//! offset, count and length is checked, a malformed record is an error and
//! never a panic. The server's major version is a run-time parameter
//! ([`Major`]), so that one build decodes the WAL of 15 to 18.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        reason = "WAL bytes must not be able to end the worker"
    )
)]

mod addr;
mod bytes;
pub mod desc;
mod error;
pub mod fuzz;
pub mod heap;
pub mod heap2;
pub mod inval;
mod list;
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
mod text;
pub mod timeline;
pub mod xact;
pub mod xlog;

pub use addr::{
    BLCKSZ, BlockNumber, ForkNumber, Lsn, Major, OffsetNumber, ParseLsnError, RelFileLocator,
    RmgrId, TimeLineId, TransactionId,
};
pub use desc::{Description, describe, identify};
pub use error::WalError;
pub use list::{Fixed, List, ListIter, OffsetList, U32List};
pub use page::{HeapPage, LinePointer};
pub use payload::{Described, Payload, decode};
pub use record::{Block, BlockTag, Compression, Image, Record};
pub use text::Text;
