//! Writing the state.

use std::io::{self, Write};

use super::codec::{encode_counts, encode_set};
use super::{FRAME_BYTES, Item, MAGIC, VERSION};
use crate::Sink;
use crate::ledger::Ledger;
use crate::mem::NoMemory;
use crate::range::Range;

/// Fills frames and writes them.
struct Frames<'a, W> {
    to: &'a mut W,
    frame: Vec<u8>,
    filled: usize,
    items: u64,
}

impl<W: Write> Frames<'_, W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        let used = match self.try_put(item) {
            Some(used) => used,
            None => {
                self.flush()?;
                // Cannot be: the largest item fits an empty frame.
                self.try_put(item).ok_or(io::ErrorKind::InvalidData)?
            }
        };
        self.filled += used;
        self.items += 1;
        Ok(())
    }

    fn try_put(&mut self, item: &Item<'_>) -> Option<usize> {
        let room = self.frame.get_mut(self.filled..)?;
        postcard::to_slice(item, room).ok().map(|used| used.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filled > 0 {
            self.to.write_all(&(self.filled as u32).to_le_bytes())?;
            self.to.write_all(&self.frame[..self.filled])?;
            self.filled = 0;
        }
        Ok(())
    }
}

fn no_memory<T>(result: Result<T, impl Into<NoMemory>>) -> io::Result<T> {
    result.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Room for the encoded parts of an item.
#[derive(Default)]
struct Parts([Vec<u8>; 3]);

impl<S: Sink> Ledger<S> {
    /// Write everything that is needed to go on behind the last record that
    /// was applied. Writes in pieces of up to 32 kB.
    pub fn save(&self, to: &mut impl Write) -> io::Result<()> {
        let mut frame = Vec::new();
        no_memory(frame.try_reserve_exact(FRAME_BYTES))?;
        frame.resize(FRAME_BYTES, 0);
        let mut out = Frames {
            to,
            frame,
            filled: 0,
            items: 0,
        };
        let mut parts = Parts::default();
        out.put(&Item::Header {
            magic: MAGIC,
            version: VERSION,
            range_blocks: self.geo.range_blocks(),
            wal_minimal: self.wal_minimal,
        })?;
        // Statuses first: whoever reads a range can ask for them.
        for (xid, committed) in self.ended.recent() {
            out.put(&Item::Ended { xid, committed })?;
        }
        for (mxid, updater) in self.multixacts.with_updater() {
            out.put(&Item::Multixact { mxid, updater })?;
        }
        for (_, rel) in self.rels.iter() {
            out.put(&Item::Relation {
                locator: rel.locator,
                known_from: rel.known_from,
                last_touch: rel.last_touch,
            })?;
            for (&rangeno, range) in &rel.ranges {
                put_range(&mut out, rangeno, range, &mut parts)?;
            }
        }
        let items = out.items;
        out.put(&Item::End { items })?;
        out.flush()?;
        out.to.write_all(&[0; 4])
    }
}

fn put_range<W: Write>(
    out: &mut Frames<'_, W>,
    rangeno: u32,
    range: &Range,
    Parts([dead, items, normal]): &mut Parts,
) -> io::Result<()> {
    no_memory(encode_set(&range.dead, dead))?;
    no_memory(encode_set(&range.items, items))?;
    no_memory(encode_counts(range.normal.raw(), normal))?;
    let known = range.known.0;
    out.put(&Item::Range {
        rangeno,
        known,
        dead,
        items,
        normal,
    })?;
    let (ins, del) = (dead, items);
    for group in &range.pending {
        no_memory(encode_set(&group.ins, ins))?;
        no_memory(encode_set(&group.del, del))?;
        out.put(&Item::Group {
            xid: group.xid,
            ins,
            del,
        })?;
    }
    Ok(())
}
