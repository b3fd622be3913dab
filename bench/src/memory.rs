//! What the ledger needs of its own memory, and the map of the shared one.

use crate::cases::{Nowhere, apply, ledger, rel};
use crate::report::{Report, Row};
use crate::stats::summary;
use crate::stream::{DEAD_ITEMS, ROWS, Stream};
use garbagemap_core::map::{MapReader, MapWriter};
use garbagemap_core::{Ledger, RangeCounts, Sink};
use std::sync::atomic::AtomicU64;

const BLOCKS: u32 = 16_000;
const RANGE: u32 = 32;
/// Of a page with as many rows as one can have (MaxHeapTuplesPerPage is 291; rows of
/// one byte are 226).
const FULL: u16 = 226;

/// A table, and which of its rows are garbage.
struct Table {
    subject: &'static str,
    rows: u16,
    dead: fn(u32, u16) -> bool,
    /// Whether only their line pointers are left.
    pruned: bool,
}

const TABLES: [Table; 6] = [
    Table {
        subject: "clustered: all rows of every tenth range",
        rows: ROWS,
        dead: |b, _| (b / RANGE).is_multiple_of(10),
        pruned: false,
    },
    Table {
        subject: "scattered: one row of every block",
        rows: ROWS,
        dead: |b, off| off == (b % 60) as u16 + 1,
        pruned: false,
    },
    Table {
        subject: "scattered: one block of every range",
        rows: ROWS,
        dead: |b, off| b % RANGE == 7 && off < 3,
        pruned: false,
    },
    Table {
        subject: "every second row of every block",
        rows: ROWS,
        dead: |_, off| off % 2 == 0,
        pruned: false,
    },
    Table {
        subject: "every second of 226 rows of every block",
        rows: FULL,
        dead: |_, off| off % 2 == 0,
        pruned: false,
    },
    Table {
        subject: "the same, pruned: dead line pointers",
        rows: FULL,
        dead: |_, off| off % 2 == 0,
        pruned: true,
    },
];

/// A ledger that knows such a table.
fn filled(rows: u16) -> Ledger<Nowhere> {
    let mut ledger = ledger();
    apply(&mut ledger, &Stream::filled(0..1, BLOCKS, rows));
    ledger
}

impl Table {
    /// Its ledger, and how many of its blocks have garbage.
    fn with_garbage(&self) -> (Ledger<Nowhere>, u64) {
        let (mut ledger, mut stream) = (filled(self.rows), Stream::default());
        let dead = |blkno| -> Vec<u16> {
            let all = 1..=self.rows;
            all.filter(|off| (self.dead)(blkno, *off)).collect()
        };
        let mut blocks = 0;
        for blkno in 0..BLOCKS {
            let dead = dead(blkno);
            blocks += u64::from(!dead.is_empty());
            dead.iter()
                .for_each(|off| stream.delete(901, 0, blkno, *off));
        }
        stream.commit(901, &[]);
        if self.pruned {
            for blkno in 0..BLOCKS {
                stream.prune(0, blkno, DEAD_ITEMS, &dead(blkno));
            }
        }
        apply(&mut ledger, &stream);
        (ledger, blocks)
    }
}

/// All of it, by the ledger's own count, which `garbage_status` shows as well.
pub fn measure(to: &mut Report) {
    let section = "private memory of the ledger";
    let mut add = |subject: &str, what: &str, bytes: u64, by: u64, goal: &str| {
        let value = summary(&[bytes as f64 / by.max(1) as f64]);
        let row = Row::new(section, subject, what, "B", value);
        to.rows.push(row.goal(goal));
    };
    let (each, range) = ("all, per block of the table", "all, per range of 32 blocks");
    let ranges = u64::from(BLOCKS / RANGE);
    let empty = filled(ROWS).stats().memory_used;
    add("no garbage", each, empty, BLOCKS.into(), "");
    add("no garbage", range, empty, ranges, "");
    let mut short = filled(ROWS);
    short.set_max_memory(empty as usize - 1);
    let left = short.stats().memory_used;
    add("no garbage, memory is short", each, left, BLOCKS.into(), "");
    for table in &TABLES {
        let empty = filled(table.rows).stats().memory_used;
        let (ledger, garbage) = table.with_garbage();
        let (subject, stats) = (table.subject, ledger.stats());
        add(subject, each, stats.memory_used, BLOCKS.into(), "");
        add(subject, range, stats.memory_used, ranges, "");
        let all = "all, per block with garbage";
        add(subject, all, stats.memory_used, garbage, "");
        let more = stats.memory_used.saturating_sub(empty);
        let what = "more than without, per block with garbage";
        add(subject, what, more, garbage, "≤ 64 B");
    }
    shared(to);
}

/// A map that is filled until nothing more goes in.
fn shared(to: &mut Report) {
    const WORDS: usize = 4 << 20;
    /// A page has 63 ranges and a link.
    const PAGE_BYTES: u64 = 64 * 8;
    let counts = RangeCounts {
        dead: 1,
        items: 0,
        tuples: Some(1),
        first_unknown: RANGE as u8,
    };
    let mut add = |subject: &str, what: &str, bytes: u64, room: u64, goal: &str| {
        let value = summary(&[bytes as f64 / room as f64]);
        let row = Row::new("shared memory of the map", subject, what, "B", value);
        to.rows.push(row.goal(goal));
    };
    let area = || -> Vec<AtomicU64> { (0..WORDS).map(|_| AtomicU64::new(0)).collect() };
    let (all, each) = (WORDS as u64 * 8, "all of 32 MB that are full, for each");

    let (words, mut room) = (area(), u32::MAX);
    // The first time it is one too many, for which all of the table goes.
    for _ in 0..2 {
        let mut map = MapWriter::init(&words, RANGE).expect("room");
        let place = map.open(rel(1)).expect("room");
        let fits = (0..room).take_while(|rangeno| map.publish(place, *rangeno, counts));
        room = fits.count() as u32;
    }
    let room = u64::from(room);
    let used = MapReader::open(&words).expect("a map").facts().pages_used;
    let subject = "ranges of one large table";
    let pages = "pages in use, for each";
    add(subject, pages, used * PAGE_BYTES, room, "≤ 8 B");
    // What is kept for other tables, too.
    add(subject, each, all, room, "");

    let words = area();
    let mut map = MapWriter::init(&words, RANGE).expect("room");
    let full = |n: &u32| {
        let place = map.open(rel(*n));
        !place.is_some_and(|place| map.publish(place, 0, counts))
    };
    let first = (1..).find(full).expect("an end");
    add("tables of one range", each, all, u64::from(first) - 1, "");
}
