//! The ledger as bytes and back.
//!
//! The bytes may be anybody's: everything is bounded by their number, and what
//! makes no sense is refused as a whole.

use crate::key::Key;
use crate::ledger::{Ledger, place_of};
use crate::table::{Counters, Status};
use serde::{Deserialize, Serialize};
use walker_wal::TransactionId;

/// Changes whenever older bytes could be misread.
const FORMAT: u32 = 1;

/// Why bytes are not a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// Not what [`Ledger::save`] writes.
    #[error("it cannot be decoded")]
    Malformed,
    /// Written by another version.
    #[error("it has another format version")]
    Version,
    /// It contradicts itself.
    #[error("it contains an invalid {0}")]
    Invalid(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    counted_from: u64,
    gaps: u64,
    malformed_records: u64,
    untracked_bytes: u64,
    entries: Vec<SavedEntry>,
    open: Vec<SavedWriter>,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry {
    key: [u64; 2],
    counters: [u64; 4],
}

#[derive(Serialize, Deserialize)]
struct SavedWriter {
    xid: TransactionId,
    prepared: bool,
    /// Position in `entries`, bytes.
    shares: Vec<(u32, u64)>,
}

impl Ledger<'_> {
    /// The state as bytes.
    pub fn save(&mut self) -> Vec<u8> {
        let mut order = Vec::new();
        let mut entries = Vec::new();
        for (owner, types) in &self.owners {
            for &(record_type, index) in types {
                let key = Key {
                    owner: *owner,
                    record_type,
                };
                order.push((index, entries.len() as u32));
                entries.push(SavedEntry {
                    key: key.to_words(),
                    counters: self.table.counters(index).words(),
                });
            }
        }
        order.sort_unstable();
        let position = |index: u32| {
            let found = order.binary_search_by_key(&index, |(i, _)| *i).ok()?;
            order.get(found).map(|(_, position)| *position)
        };
        let generations = &self.generations;
        let open = self.open.merged().map(|(xid, writer)| SavedWriter {
            xid,
            prepared: writer.prepared,
            shares: writer
                .shares
                .iter()
                .filter_map(|s| Some((position(place_of(s, generations))?, s.bytes)))
                .collect(),
        });
        let open = open.collect();
        let saved = Saved {
            format: FORMAT,
            counted_from: self.status.counted_from,
            gaps: self.status.gaps,
            malformed_records: self.status.malformed_records,
            untracked_bytes: self.open.untracked,
            entries,
            open,
        };
        // Serializing into a vector of plain numbers does not fail.
        postcard::to_allocvec(&saved).unwrap_or_default()
    }

    /// Take over a state that was saved. The ledger must be empty; after an
    /// error it is of no use. A state with more entries than there is room for
    /// overflows as counting would.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let (format, _) =
            postcard::take_from_bytes::<u32>(bytes).map_err(|_| LoadError::Malformed)?;
        if format != FORMAT {
            return Err(LoadError::Version);
        }
        let (saved, rest) =
            postcard::take_from_bytes::<Saved>(bytes).map_err(|_| LoadError::Malformed)?;
        if !rest.is_empty() {
            return Err(LoadError::Invalid("length"));
        }
        let mut places = Vec::with_capacity(saved.entries.len());
        for entry in &saved.entries {
            let key = Key::from_words(entry.key).ok_or(LoadError::Invalid("key"))?;
            let index = self.entry(key);
            self.table.add(index, Counters::of(entry.counters));
            places.push(index);
        }
        self.open.untracked = saved.untracked_bytes;
        for writer in saved.open {
            if writer.xid == 0 {
                return Err(LoadError::Invalid("transaction"));
            }
            for (position, bytes) in writer.shares {
                let place = places.get(position as usize);
                let entry = *place.ok_or(LoadError::Invalid("share"))?;
                self.await_end(writer.xid, entry, bytes);
            }
            if writer.prepared {
                self.open.prepare(writer.xid);
            }
        }
        self.status = Status {
            counted_from: saved.counted_from,
            gaps: saved.gaps,
            malformed_records: saved.malformed_records,
            ..self.status
        };
        Ok(())
    }
}
