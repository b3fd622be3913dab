//! Who writes the WAL: bytes by relation, resource manager and record type.
//!
//! The way of the data: a WAL record → [`Ledger::apply`] → counters in shared
//! memory ([`Table`]) → SQL ([`TableReader`]). Nothing here knows pgrx; the
//! plugin lends a slice of atomics.
//!
//! What counts where: a record, and all of its bytes but those of its page
//! images, belong to the relation of its first block reference; a page image
//! belongs to the relation whose page it is. So the rows add up to the WAL:
//! their `records` to the number of records, their `bytes` to the sum of
//! `xl_tot_len`. When a transaction or subtransaction aborts, all bytes of
//! records that carry its xid, the abort record included, count as aborted
//! where they were counted.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "neither WAL nor a state file must be able to end the worker"
    )
)]

mod feed;
mod fold;
mod key;
mod ledger;
mod open;
mod reader;
mod state;
mod table;

pub use key::{Key, Owner, RecordType};
pub use ledger::Ledger;
pub use reader::{Row, TableReader};
pub use state::LoadError;
pub use table::{Counters, MIN_ENTRIES, Status, Table, area_bytes};
