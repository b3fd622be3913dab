//! The pure parts' work as fixed cases: the same for Criterion, which times
//! them, and for callgrind, which counts their instructions.

use crate::stream::{MAJOR, Numbers, ROWS, Stream, UNUSED};
use garbagemap_core::map::{MapReader, MapWriter};
use garbagemap_core::{Config, Ledger, Oracle, Page, RangeCounts, Sink, XidStatus};
use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use walker_wal::raw::{Decoder, FlatRecord};
use walker_wal::{BlockNumber, HeapPage, Record, RelFileLocator, decode};

/// A sink that shows nothing to nobody.
pub struct Nowhere;

impl Sink for Nowhere {
    type Rel = ();
    fn open(&mut self, _: RelFileLocator) -> Option<()> {
        Some(())
    }
    fn publish(&mut self, (): (), _: u32, counts: RangeCounts) -> bool {
        black_box(counts);
        true
    }
    fn set_known_from(&mut self, (): (), _: Option<BlockNumber>) {}
    fn truncate(&mut self, (): (), _: u32) {}
    fn close(&mut self, (): ()) {}
}

/// Who is asked of transactions whose end was not seen.
pub struct Nobody;

impl Oracle for Nobody {
    fn xid_status(&mut self, _: u32) -> XidStatus {
        XidStatus::Aborted
    }
}

/// A ledger that never lacks memory.
pub fn ledger() -> Ledger<Nowhere> {
    let config = Config {
        max_memory: 4 << 30,
        ..Config::default()
    };
    Ledger::new(config, Nowhere)
}

/// Records the worker reads before it lets plugins show what changed.
const BATCH: u32 = 512;

/// Applies a stream to a ledger, in batches, as the worker does: a record is
/// decoded if need be.
pub fn apply<S: Sink>(ledger: &mut Ledger<S>, stream: &Stream) {
    apply_and_show(ledger, stream, BATCH);
}

/// The same, and show what changed after so many records.
pub fn apply_and_show<S: Sink>(ledger: &mut Ledger<S>, stream: &Stream, batch: u32) {
    let mut restore = |_, _: &mut Page| false;
    let mut decoder = Decoder::new();
    let mut n = 0;
    for record in stream.iter() {
        let applied = match FlatRecord::new(record.bytes, record.lsn, record.end_lsn) {
            Some(flat) => ledger.apply_flat(stream.major, flat, &mut Nobody),
            None => {
                let record = decoder.decode(record.bytes, record.lsn, record.end_lsn);
                let record = record.expect("our own record");
                ledger.apply(stream.major, &record, &mut Nobody, &mut restore)
            }
        };
        applied.expect("a record that can be decoded");
        n += 1;
        if n % batch == 0 {
            ledger.publish(None);
        }
    }
    ledger.publish(None);
}

/// A relation's address, as the streams name it.
pub fn rel(rel_number: u32) -> RelFileLocator {
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 5,
        rel_number,
    }
}

/// Work to measure: prepared, and run as often as wanted.
pub struct Case {
    /// As in instructions.txt.
    pub name: &'static str,
    /// Records, ranges or whatever the work consists of.
    pub units: usize,
    /// What is not measured is done here; the result does the work once.
    prepare: Box<dyn Fn() -> Box<dyn FnOnce()>>,
}

impl Case {
    /// The work, ready to be done once.
    pub fn prepare(&self) -> Box<dyn FnOnce()> {
        (self.prepare)()
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let leak = |stream: Stream| -> &'static Stream { Box::leak(Box::new(stream)) };
    let both = |(before, stream)| (leak(before), leak(stream));
    let (before, pgbench) = both(pgbench(20_000));
    let (filled, deleted) = both(mass_delete(500));
    let images = leak(images(1_000));
    let (rows, subxacts) = both(subtransactions(5_000));
    let (tables, in_turns) = both(in_turns(50));
    vec![
        decoding("decode_pgbench", pgbench),
        decoding("decode_images", images),
        applying("ledger_pgbench", before, pgbench),
        applying("ledger_delete", filled, deleted),
        applying("ledger_images", leak(Stream::default()), images),
        applying("ledger_subxacts", rows, subxacts),
        applying("ledger_tables", tables, in_turns),
        state_file(filled, deleted),
        map_read(100_000),
    ]
}

/// Tables of a page, and transactions that come to them in turns, so seldom that
/// each finds the garbage of before in older buckets.
fn in_turns(n: u32) -> (Stream, Stream) {
    let (tables, mut stream) = (Stream::filled(0..n, 1, ROWS), Stream::default());
    let visits = (1..=ROWS).flat_map(|off| (0..n).map(move |table| (table, off)));
    for (xid, (table, off)) in (1_000..).step_by(10).zip(visits) {
        stream.delete(xid, table, 0, off);
        stream.commit(xid, &[]);
    }
    (tables, stream)
}

/// Rows, and a transaction that updates each of them in a subtransaction of its
/// own: more than can wait for its end.
fn subtransactions(n: u32) -> (Stream, Stream) {
    let (mut rows, mut stream) = (Stream::default(), Stream::default());
    rows.create(0);
    let place = |row: u32| (row / u32::from(ROWS), (row % u32::from(ROWS)) as u16 + 1);
    for row in 0..n {
        let (blkno, off) = place(row);
        rows.insert(900, 0, blkno, off);
    }
    rows.commit(900, &[]);
    let subxacts: Vec<u32> = (1_001..).take(n as usize).collect();
    for (row, xid) in (0..n).zip(&subxacts) {
        let (blkno, off) = place(row);
        stream.delete(*xid, 0, blkno, off);
        stream.insert(*xid, 0, n + blkno, off);
    }
    stream.commit(1_000, &subxacts);
    (rows, stream)
}

/// Raw and typed decoding, page images down to their tuples.
fn decoding(name: &'static str, stream: &'static Stream) -> Case {
    let work = move || {
        let mut tuples = 0;
        stream.each(|record| {
            black_box(&decode(MAJOR, record).expect("a known record"));
            let image = record.block(0).and_then(|block| block.image);
            if let Some(page) = image.and_then(|i| HeapPage::from_image(&i).ok()) {
                tuples += page.items().filter(Result::is_ok).count();
            }
        });
        black_box(tuples);
    };
    Case {
        name,
        units: stream.len(),
        prepare: Box::new(move || Box::new(work)),
    }
}

fn applying(name: &'static str, before: &'static Stream, stream: &'static Stream) -> Case {
    Case {
        name,
        units: stream.len(),
        prepare: Box::new(move || {
            let mut ledger = ledger();
            apply(&mut ledger, before);
            Box::new(move || {
                apply(&mut ledger, stream);
                // Freeing it is not the work.
                std::mem::forget(black_box(ledger));
            })
        }),
    }
}

fn state_file(filled: &'static Stream, deleted: &'static Stream) -> Case {
    Case {
        name: "state_save_load",
        units: 1,
        prepare: Box::new(move || {
            let mut from = ledger();
            apply(&mut from, filled);
            apply(&mut from, deleted);
            let mut to = ledger();
            Box::new(move || {
                let mut state = Vec::new();
                from.save(&mut state).expect("memory");
                to.load(&mut state.as_slice()).expect("our own state");
                std::mem::forget(black_box((from, to)));
            })
        }),
    }
}

/// A relation in a map, every range with counters; its address is 1.
pub fn map(ranges: u32) -> Vec<AtomicU64> {
    let words = (ranges as usize + 4096) * 2;
    let area: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let mut writer = MapWriter::init(&area, 32).expect("room");
    let place = writer.open(rel(1)).expect("room");
    for rangeno in 0..ranges {
        let counts = RangeCounts {
            dead: (rangeno % 1000) as u16 + 1,
            items: 0,
            tuples: Some(1000),
            first_unknown: 32,
        };
        assert!(writer.publish(place, rangeno, counts), "the map is full");
    }
    area
}

/// Reads all ranges of the relation, as `garbage_map` does.
pub fn read_map(area: &[AtomicU64], ranges: u32) {
    let reader = MapReader::open(area).expect("a map");
    let relation = reader.find(rel(1)).expect("the relation");
    for state in relation.ranges().take(ranges as usize) {
        black_box(state);
    }
}

fn map_read(ranges: u32) -> Case {
    Case {
        name: "map_read",
        units: ranges as usize,
        prepare: Box::new(move || {
            let area = map(ranges);
            Box::new(move || read_map(black_box(&area), ranges))
        }),
    }
}

/// pgbench's transactions: updates of three tables, an insertion into the
/// fourth, a commit; pages are pruned when they are full.
fn pgbench(transactions: u32) -> (Stream, Stream) {
    const PAGES: [u32; 3] = [8_000, 60, 10];
    let (mut before, mut stream, mut numbers) =
        (Stream::default(), Stream::default(), Numbers::new());
    (0..=3).for_each(|rel| before.create(rel));
    let mut last = PAGES.map(|n| vec![ROWS; n as usize]);
    for xid in 1000..1000 + transactions {
        for (rel, n) in (0..).zip(PAGES) {
            let blkno = numbers.below(n);
            let last = &mut last[rel as usize][blkno as usize];
            if *last == ROWS + 30 {
                let unused: Vec<u16> = (ROWS + 1..ROWS + 30).collect();
                stream.prune(rel, blkno, UNUSED, &unused);
                stream.update(xid, rel, blkno, (ROWS + 30, ROWS + 1));
                *last = ROWS + 1;
                continue;
            }
            let old = if *last == ROWS { 1 } else { *last };
            *last += 1;
            stream.update(xid, rel, blkno, (old, *last));
        }
        let row = xid - 1000;
        stream.insert(xid, 3, row / 150, (row % 150) as u16 + 1);
        stream.commit(xid, &[]);
    }
    (before, stream)
}

/// A table that is filled by one transaction, and every third row deleted.
fn mass_delete(blocks: u32) -> (Stream, Stream) {
    let (filled, mut deleted) = (Stream::filled(1..2, blocks, ROWS), Stream::default());
    for blkno in 0..blocks {
        for off in (1..=ROWS).step_by(3) {
            deleted.delete(901, 1, blkno, off);
        }
    }
    deleted.commit(901, &[]);
    (filled, deleted)
}

/// Images of pages nobody knew.
fn images(blocks: u32) -> Stream {
    let mut stream = Stream::default();
    (0..blocks).for_each(|blkno| stream.image(1, blkno, ROWS));
    stream
}
