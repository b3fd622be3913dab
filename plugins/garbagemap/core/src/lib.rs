//! The garbage map without a server: the ledger of dead line pointers and the
//! shared map its counters are shown in.
//!
//! The way of the data: a WAL record → [`Ledger::apply`] → ledger operations →
//! [`Sink`] → range words in shared memory → SQL. Nothing here knows pgrx; the
//! plugin lends a slice of atomics for the map and an oracle for transaction
//! status.
#![forbid(unsafe_code)]

mod audit;
mod basescan;
mod block;
mod counters;
mod ended;
mod feed;
mod few;
mod horizon;
mod image;
mod ledger;
pub mod map;
mod mem;
mod memory;
mod normal;
mod ops;
mod range;
mod range_map;
mod recent;
mod relation;
mod resolve;
mod sets;
mod shown;
mod sink;
mod state;
mod stats;
mod storage;
mod unsaved;
mod xact;

pub use audit::{ItemKind, Mismatch};
pub use basescan::counted::has_room_for_counts;
pub use basescan::{BaseItem, BaseOutcome};
pub use block::MAX_OFFSET;
pub use counters::{Counters, RATE_PERIODS, Rates};
pub use feed::Page;
pub use horizon::{HORIZON_BUCKETS, HORIZON_UNKNOWN, HorizonBucket};
pub use ledger::Ledger;
pub use mem::NoMemory;
pub use sink::{MAX_RANGE_BLOCKS, RangeCounts, Sink};
pub use state::LoadError;
pub use stats::{BlockView, Config, Stats};
pub use unsaved::Unsaved;
pub use xact::{Oracle, Outcome, XidStatus};
