//! The shared map: what the worker knows about dead tuples, readable by every
//! process of the server without a lock.
//!
//! One process writes ([`MapWriter`], in the worker), any number read
//! ([`MapReader`], in backends). The area is a slice of atomic words in the
//! server's main shared memory; the file `layout.rs` says what is where.
//!
//! The rules that make it safe without locks:
//!
//! * A range's counters are one word, so they are read and written whole.
//! * What several words say together (which relation an entry belongs to,
//!   which pages are its own) changes only while the entry's sequence number
//!   is odd. A reader takes the number before and after and believes only
//!   what it read under one even number.
//! * A chain of pages grows by one store, so growing disturbs nobody.
//! * The writer believes nothing it reads here; it keeps its own copy of the
//!   structure. A reader checks every index it finds. So a writer that died in
//!   the middle, or a stray write by any backend, can make a relation
//!   *unknown* but never hang a reader or lead it out of the area.
//!
//! An answer is not a snapshot of one moment: each range is as it was at some
//! moment between the beginning and the end of the read.

mod changes;
mod counted;
mod layout;
mod published;
mod reader;
mod relation;
mod status;
pub(crate) mod word;
mod writer;

#[cfg(test)]
mod tests;

pub use layout::MIN_WORDS;
pub use reader::{MapFacts, MapReader, Relations};
pub use relation::{RangeState, Ranges, RelationMap, Totals};
pub use status::MapStatus;
pub use writer::{MapWriter, RelHandle};
