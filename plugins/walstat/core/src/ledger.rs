//! The ledger: which entry counts what.

use crate::key::{Key, Owner, REST_KEY, RecordType};
use crate::open::{Open, Share};
use crate::table::{Counters, MIN_ENTRIES, Status, Table};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use walker_wal::{Lsn, Record, TransactionId};

/// Entries that relations leave to what is summed up over relations, so that
/// sums by record type stay right when the table is full. There are about 130
/// record types.
pub(crate) const RESERVED: usize = 512;

/// The entry of [`Owner::Rest`].
const REST: u32 = 0;

pub(crate) type Entries = SmallVec<[(RecordType, u32); 4]>;

/// The entry a share belongs to now: what was summed up elsewhere meanwhile
/// has lost its place.
pub(crate) fn place_of(share: &Share, generations: &[u32]) -> u32 {
    match generations.get(share.entry as usize) {
        Some(generation) if *generation == share.generation => share.entry,
        _ => REST,
    }
}

/// An entry that was looked up lately, as long as its slot has not changed
/// hands.
#[derive(Clone, Copy, Debug)]
struct Found {
    key: Key,
    index: u32,
    generation: u32,
}

/// So many of them are kept, by [`found_at`].
const FOUND: usize = 256;

#[inline]
fn found_at(key: &Key) -> usize {
    let relation = match key.owner {
        Owner::Relation(locator) => locator.rel_number ^ locator.db_oid,
        _ => 0,
    };
    let RecordType { rmid, op } = key.record_type;
    (relation.wrapping_mul(16) ^ u32::from(rmid.0) << 4 ^ u32::from(op >> 4)) as usize % FOUND
}

/// All counters, and the transactions whose end is awaited.
#[derive(Debug)]
pub struct Ledger<'a> {
    pub(crate) table: Table<'a>,
    /// By owner, the entries of each of its record types.
    pub(crate) owners: FxHashMap<Owner, Entries>,
    /// Counts how often a slot changed hands.
    pub(crate) generations: Vec<u32>,
    found: [Option<Found>; FOUND],
    free: Vec<u32>,
    max_entries: usize,
    pub(crate) open: Open,
    pub(crate) status: Status,
}

impl<'a> Ledger<'a> {
    /// An empty ledger with room for `max_entries` entries (at least
    /// [`MIN_ENTRIES`], at most what the table holds).
    pub fn new(table: Table<'a>, max_entries: usize) -> Ledger<'a> {
        let max_entries = max_entries.max(MIN_ENTRIES).min(table.capacity());
        let mut ledger = Ledger {
            table,
            owners: FxHashMap::default(),
            generations: Vec::new(),
            found: [None; FOUND],
            free: Vec::new(),
            max_entries,
            open: Open::default(),
            status: Status {
                max_entries: max_entries as u64,
                ..Status::default()
            },
        };
        ledger.allocate(REST_KEY);
        ledger
    }

    /// Entries in use.
    fn in_use(&self) -> usize {
        self.generations.len() - self.free.len()
    }

    /// The entry of a key, made if need be and if there is room; else the
    /// entry it overflows into.
    #[inline]
    pub(crate) fn entry(&mut self, key: Key) -> u32 {
        if let Some(Some(found)) = self.found.get(found_at(&key))
            && found.key == key
            && found.generation == self.generation(found.index)
        {
            return found.index;
        }
        self.far_entry(key)
    }

    /// The same for one that was not looked up lately.
    #[inline(never)]
    fn far_entry(&mut self, key: Key) -> u32 {
        if let Some(entries) = self.owners.get(&key.owner)
            && let Some(&(_, index)) = entries.iter().find(|(t, _)| *t == key.record_type)
        {
            let generation = self.generation(index);
            if let Some(place) = self.found.get_mut(found_at(&key)) {
                *place = Some(Found {
                    key,
                    index,
                    generation,
                });
            }
            return index;
        }
        self.new_entry(key)
    }

    #[cold]
    fn new_entry(&mut self, key: Key) -> u32 {
        let reserved = match key.owner {
            Owner::Relation(_) => RESERVED,
            Owner::Dropped(_) => RESERVED / 2,
            _ => 0,
        };
        if self.in_use() + reserved < self.max_entries {
            return self.allocate(key);
        }
        match key.owner {
            Owner::Other | Owner::Rest => REST,
            _ => self.entry(Key {
                owner: Owner::Other,
                ..key
            }),
        }
    }

    fn allocate(&mut self, key: Key) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            (self.generations.len() - 1) as u32
        });
        self.table.occupy(index, key);
        let entries = self.owners.entry(key.owner).or_default();
        entries.push((key.record_type, index));
        index
    }

    /// Give a slot back whose owner is no longer in `owners`.
    pub(crate) fn release(&mut self, index: u32) {
        self.table.vacate(index);
        if let Some(generation) = self.generations.get_mut(index as usize) {
            *generation = generation.wrapping_add(1);
            self.free.push(index);
        }
    }

    fn generation(&self, index: u32) -> u32 {
        self.generations.get(index as usize).copied().unwrap_or(0)
    }

    /// Count in an entry; if a transaction wrote it, it is to be told when
    /// that ends.
    #[inline]
    pub(crate) fn count(&mut self, index: u32, more: Counters, xid: TransactionId) {
        self.table.add(index, more);
        if xid != 0 {
            self.await_end(xid, index, more.bytes);
        }
    }

    /// `bytes` in an entry were written by a transaction that may abort.
    pub(crate) fn await_end(&mut self, xid: TransactionId, entry: u32, bytes: u64) {
        let generation = self.generation(entry);
        let share = Share {
            entry,
            generation,
            bytes,
        };
        self.open.add(xid, share);
    }

    /// Count a record: its images for the relations they are of, everything
    /// else for the first relation it names.
    #[inline]
    pub(crate) fn attribute<R: Record + ?Sized>(&mut self, rec: &R) {
        let record_type = RecordType::new(rec.rmid(), rec.info());
        let (xid, total) = (rec.xid(), u64::from(rec.total_len()));
        let key = |owner| Key { owner, record_type };
        let mut first = None;
        let (mut own_images, mut other_images) = (0u64, 0u64);
        let ids = rec
            .max_block_id()
            .map_or(0..0, |max| 0..max.saturating_add(1));
        for block in ids.filter_map(|id| rec.block(id)) {
            let (locator, _) = *first.get_or_insert_with(|| {
                let owner = Owner::Relation(block.locator);
                (block.locator, self.entry(key(owner)))
            });
            let Some(image) = block.image else { continue };
            let bytes = image.bytes.len() as u64;
            if block.locator == locator {
                own_images += bytes;
                continue;
            }
            other_images += bytes;
            let entry = self.entry(key(Owner::Relation(block.locator)));
            let more = Counters {
                bytes,
                fpi_bytes: bytes,
                ..Counters::default()
            };
            self.count(entry, more, xid);
        }
        let entry = match first {
            Some((_, entry)) => entry,
            None => self.entry(key(Owner::Nobody)),
        };
        let more = Counters {
            records: 1,
            bytes: total.saturating_sub(other_images),
            fpi_bytes: own_images,
            aborted_bytes: 0,
        };
        self.count(entry, more, xid);
    }

    /// A transaction or subtransaction has ended.
    pub(crate) fn settle(&mut self, xid: TransactionId, committed: bool) {
        let Some(writer) = self.open.take(xid) else {
            return;
        };
        if committed {
            return;
        }
        for share in writer.shares {
            let entry = place_of(&share, &self.generations);
            let more = Counters {
                aborted_bytes: share.bytes,
                ..Counters::default()
            };
            self.table.add(entry, more);
        }
    }

    /// WAL was lost: which transactions ended in it, nobody knows.
    pub fn gap(&mut self) {
        self.open.forget_all();
        self.status.gaps += 1;
    }

    /// Set everything to zero; WAL is counted from `lsn` on.
    pub fn reset(&mut self, lsn: Lsn) {
        self.table.begin_change();
        self.owners.clear();
        self.free.clear();
        for index in (0..self.generations.len() as u32).rev() {
            self.release(index);
        }
        self.open = Open::default();
        self.status = Status {
            counted_from: lsn.0,
            max_entries: self.max_entries as u64,
            state_lsn: self.status.state_lsn,
            ..Status::default()
        };
        // The lowest free slot is given out first, so this takes slot 0 again.
        self.allocate(REST_KEY);
        self.table.end_change();
        self.table.reset_served();
        self.publish();
    }

    /// Whether somebody asked for a reset.
    pub fn reset_pending(&self) -> bool {
        self.table.reset_pending()
    }

    /// Show the status to readers.
    pub fn publish(&mut self) {
        self.table.set_status(&self.status());
    }

    /// The status.
    pub fn status(&self) -> Status {
        Status {
            entries: self.in_use() as u64,
            open_transactions: self.open.len() as u64,
            untracked_bytes: self.open.untracked,
            ..self.status
        }
    }

    /// The state was saved, or loaded.
    pub fn saved(&mut self, lsn: Lsn) {
        self.status.state_lsn = lsn.0;
    }
}
