//! The garbage map without a server: the ledger of dead line pointers and the
//! shared map its counters are shown in.
//!
//! The way of the data: a WAL record → [`feed`](crate) → ledger operations →
//! [`Sink`] → range words in shared memory → SQL. Nothing here knows pgrx; the
//! plugin lends a slice of atomics for the map and an oracle for transaction
//! status.
#![forbid(unsafe_code)]

pub mod map;
mod sink;

pub use sink::{MAX_RANGE_BLOCKS, RangeCounts, Sink};
