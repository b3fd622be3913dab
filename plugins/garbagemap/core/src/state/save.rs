//! Writing the state, in one piece or in slices between records.
//!
//! A large ledger takes longer to write than reading may stand still. So it is
//! written while it changes: what changes after it was written is written
//! again, until so little is left that the rest goes in one piece. The state
//! is that of this last moment. Nothing is copied and nothing waits.
//!
//! Ranges bear the number of the save they were written in, relations that of
//! the save that has taken them up. A relation that loses ranges, or that is
//! new in its slot, bears another number and is taken up again from scratch.

use std::io::{self, Write};

use super::codec::{encode_counts, encode_set};
use super::{FRAME_BYTES, Item, MAGIC, VERSION};
use crate::Sink;
use crate::ledger::Ledger;
use crate::mem::{NoMemory, try_push};
use crate::range::{DEAD, DELETED, INSERTED, ITEM, Range};
use crate::relation::Relation;

/// No save is under way; nothing bears this number.
const NONE: u32 = u32::MAX;

/// Ranges that may be left for the last piece.
const REST: usize = 1000;

/// The least a step counts for: looking costs, too.
const STEP_BYTES: usize = 32;

/// A save under way.
pub(crate) struct Saving {
    id: u32,
    last_id: u32,
    frame: Vec<u8>,
    filled: usize,
    items: u64,
    written: usize,
    /// The relation of the last item that named one.
    named: Option<u32>,
    /// There may be relations to take up, the next of them from this slot on.
    more: bool,
    next_rel: u32,
    /// The relation taken up last, and its ranges that are not written yet.
    taken: u32,
    ranges: Vec<u32>,
    /// Ranges that changed after they were written.
    changed: Vec<(u32, u32)>,
    no_memory: bool,
    parts: Parts,
}

impl Default for Saving {
    fn default() -> Self {
        Saving {
            id: NONE,
            last_id: 0,
            frame: Vec::new(),
            filled: 0,
            items: 0,
            written: 0,
            named: None,
            more: true,
            next_rel: 0,
            taken: 0,
            ranges: Vec::new(),
            changed: Vec::new(),
            no_memory: false,
            parts: Parts::default(),
        }
    }
}

/// Room for the encoded parts of an item.
#[derive(Default)]
struct Parts([Vec<u8>; 3]);

impl Saving {
    /// The range has changed.
    #[inline]
    pub(crate) fn changed(&mut self, range: &mut Range, idx: u32, rangeno: u32) {
        if range.saved == self.id {
            range.saved = 0;
            self.no_memory |= try_push(&mut self.changed, (idx, rangeno)).is_err();
        }
    }

    /// A relation is new, or has lost ranges: it is to be taken up (again).
    pub(crate) fn renew<R>(&mut self, rel: &mut Relation<R>) {
        rel.saved = 0;
        self.more = true;
    }

    fn put(&mut self, to: &mut impl Write, item: &Item<'_>) -> io::Result<()> {
        let used = match self.try_put(item) {
            Some(used) => used,
            None => {
                self.flush(to)?;
                // Cannot be: the largest item fits an empty frame.
                self.try_put(item).ok_or(io::ErrorKind::InvalidData)?
            }
        };
        self.filled += used;
        self.written += used;
        self.items += 1;
        Ok(())
    }

    fn try_put(&mut self, item: &Item<'_>) -> Option<usize> {
        let room = self.frame.get_mut(self.filled..)?;
        postcard::to_slice(item, room).ok().map(|used| used.len())
    }

    fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        if let Some(filled) = self.frame.get(..self.filled)
            && !filled.is_empty()
        {
            to.write_all(&(self.filled as u32).to_le_bytes())?;
            to.write_all(filled)?;
            self.filled = 0;
        }
        Ok(())
    }

    fn put_range(&mut self, to: &mut impl Write, rangeno: u32, range: &Range) -> io::Result<()> {
        let Parts([mut dead, mut items, mut normal]) = std::mem::take(&mut self.parts);
        no_memory(encode_set(&range.garbage, DEAD, &mut dead))?;
        no_memory(encode_set(&range.garbage, ITEM, &mut items))?;
        no_memory(encode_counts(range.normal.raw(), &mut normal))?;
        let item = Item::Range {
            rangeno,
            known: range.known.words(),
            dead: &dead,
            items: &items,
            normal: &normal,
        };
        self.put(to, &item)?;
        let (mut ins, mut del) = (dead, items);
        for xid in no_memory(range.pending.xids())? {
            let encoded = range.pending.with_group(xid, |group| {
                encode_set(&group.sets, INSERTED, &mut ins)?;
                encode_set(&group.sets, DELETED, &mut del)?;
                Ok::<u16, NoMemory>(group.updated)
            });
            let updated = no_memory(no_memory(encoded)?)?;
            let (ins, del) = (&ins[..], &del[..]);
            let item = Item::Group {
                xid,
                ins,
                del,
                updated,
            };
            self.put(to, &item)?;
        }
        self.parts = Parts([ins, del, normal]);
        Ok(())
    }
}

fn no_memory<T>(result: Result<T, impl Into<NoMemory>>) -> io::Result<T> {
    result.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

fn lost() -> io::Error {
    io::Error::other("the save was given up")
}

impl<S: Sink> Ledger<S> {
    /// Write everything that is needed to go on behind the last record that
    /// was applied. Writes in pieces of up to 32 kB.
    pub fn save(&mut self, to: &mut impl Write) -> io::Result<()> {
        self.begin_save()?;
        self.finish_save(to)
    }

    /// Begin a state that is written in slices, between which records may be
    /// applied. One that is under way is given up.
    pub fn begin_save(&mut self) -> io::Result<()> {
        self.note_recent();
        let id = match self.saving.last_id.wrapping_add(1) {
            0 | NONE => 1,
            id => id,
        };
        self.saving = Saving {
            last_id: id,
            ..Saving::default()
        };
        let saving = &mut self.saving;
        no_memory(saving.frame.try_reserve_exact(FRAME_BYTES))?;
        saving.frame.resize(FRAME_BYTES, 0);
        saving.id = id;
        let header = Item::Header {
            magic: MAGIC,
            version: VERSION,
            range_blocks: self.geo.range_blocks(),
        };
        saving.put(&mut io::sink(), &header)
    }

    /// Give up the state that is being written.
    pub fn abandon_save(&mut self) {
        self.saving = Saving {
            last_id: self.saving.last_id,
            ..Saving::default()
        };
    }

    /// Write about `bytes` more. Whether so little is left that it can be
    /// finished. After an error the save is to be begun again.
    pub fn save_slice(&mut self, to: &mut impl Write, bytes: usize) -> io::Result<bool> {
        if self.saving.id == NONE {
            return Err(lost());
        }
        self.note_recent();
        self.saving.written = 0;
        while self.saving.written < bytes {
            if self.saving.ranges.is_empty()
                && !self.find_relation()
                && self.saving.changed.len() <= REST
            {
                return Ok(true);
            }
            self.save_step(to)?;
        }
        Ok(false)
    }

    /// Write all that is left. The state is that of now.
    pub fn finish_save(&mut self, to: &mut impl Write) -> io::Result<()> {
        if self.saving.id == NONE {
            return Err(lost());
        }
        self.note_recent();
        while self.save_step(to)? {}
        let saving = &mut self.saving;
        for (xid, committed) in self.ended.recent() {
            saving.put(to, &Item::Ended { xid, committed })?;
        }
        for (mxid, updater) in self.multixacts.with_updater() {
            saving.put(to, &Item::Multixact { mxid, updater })?;
        }
        for (_, rel) in self.rels.iter() {
            let kept = Item::Kept {
                locator: rel.locator,
                known_from: rel.known_from,
                last_touch: rel.last_touch,
                counters: rel.counted.counters,
            };
            saving.put(to, &kept)?;
        }
        let end = Item::End {
            items: saving.items,
            wal_minimal: self.wal_minimal,
        };
        saving.put(to, &end)?;
        saving.flush(to)?;
        to.write_all(&[0; 4])?;
        self.abandon_save();
        Ok(())
    }

    /// Find a relation that is not taken up. False if there is none.
    fn find_relation(&mut self) -> bool {
        let saving = &mut self.saving;
        if !saving.more {
            return false;
        }
        let (rels, id) = (&self.rels, saving.id);
        let to_take = |idx: &u32| rels.get(*idx).is_some_and(|rel| rel.saved != id);
        let slots = rels.indexes().end;
        let behind = (saving.next_rel..slots).find(to_take);
        match behind.or_else(|| (0..slots).find(to_take)) {
            Some(idx) => saving.next_rel = idx,
            None => saving.more = false,
        }
        saving.more
    }

    /// Write a range, or take up a relation. False if nothing is left.
    fn save_step(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let saving = &mut self.saving;
        if saving.no_memory {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        saving.written += STEP_BYTES;
        if let Some(rangeno) = saving.ranges.pop() {
            let idx = saving.taken;
            if !self.save_range(to, idx, rangeno)? {
                self.saving.ranges.clear();
            }
            return Ok(true);
        }
        if self.find_relation() {
            self.take_up(to)?;
            return Ok(true);
        }
        let Some((idx, rangeno)) = self.saving.changed.pop() else {
            return Ok(false);
        };
        self.save_range(to, idx, rangeno)?;
        Ok(true)
    }

    fn take_up(&mut self, to: &mut impl Write) -> io::Result<()> {
        let saving = &mut self.saving;
        let idx = saving.next_rel;
        let Some(rel) = self.rels.get_mut(idx) else {
            return Ok(());
        };
        no_memory(saving.ranges.try_reserve(rel.ranges.len()))?;
        // Taken from the end: whoever loads them finds the lowest first, and has
        // them in a table from the beginning.
        saving.ranges.extend(rel.ranges.numbers());
        saving.ranges.reverse();
        rel.saved = saving.id;
        (saving.taken, saving.named) = (idx, Some(idx));
        let item = Item::Relation {
            locator: rel.locator,
            last_touch: rel.last_touch,
        };
        saving.put(to, &item)
    }

    /// Write a range. False if its relation is to be taken up again.
    fn save_range(&mut self, to: &mut impl Write, idx: u32, rangeno: u32) -> io::Result<bool> {
        let saving = &mut self.saving;
        let Some(rel) = self.rels.get_mut(idx).filter(|rel| rel.saved == saving.id) else {
            return Ok(false);
        };
        if let Some(range) = rel.ranges.get(rangeno) {
            if saving.named != Some(idx) {
                saving.named = Some(idx);
                let locator = rel.locator;
                saving.put(to, &Item::Again { locator })?;
            }
            saving.put_range(to, rangeno, range)?;
        }
        if let Some(range) = rel.ranges.get_mut(rangeno) {
            range.saved = saving.id;
        }
        Ok(true)
    }
}
