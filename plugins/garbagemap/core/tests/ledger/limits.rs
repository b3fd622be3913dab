//! Memory: much garbage fits in little, and no limit is overrun.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

use garbagemap_core::map::{MIN_WORDS, MapReader, MapWriter};
use garbagemap_core::{Config, Ledger, Oracle, RangeCounts, Sink, XidStatus};
use walker_wal::{Block, BlockNumber, ForkNumber, Lsn, Major, Record, RelFileLocator, RmgrId};

use crate::sim::sink::TestSink;

/// A record that costs nothing to make.
#[derive(Clone, Default)]
pub struct Fake {
    pub rmid: u8,
    pub info: u8,
    pub xid: u32,
    pub main: Vec<u8>,
    pub locator: RelFileLocator,
    pub blkno: Option<BlockNumber>,
    pub data: Vec<u8>,
    pub lsn: u64,
}

impl Record for Fake {
    fn lsn(&self) -> Lsn {
        Lsn(self.lsn)
    }
    fn end_lsn(&self) -> Lsn {
        Lsn(self.lsn + 8)
    }
    fn prev_lsn(&self) -> Lsn {
        Lsn(0)
    }
    fn xid(&self) -> u32 {
        self.xid
    }
    fn rmid(&self) -> RmgrId {
        RmgrId(self.rmid)
    }
    fn info(&self) -> u8 {
        self.info
    }
    fn origin(&self) -> u16 {
        0
    }
    fn total_len(&self) -> u32 {
        0
    }
    fn main_data(&self) -> &[u8] {
        &self.main
    }
    fn max_block_id(&self) -> Option<u8> {
        self.blkno.map(|_| 0)
    }
    fn block(&self, id: u8) -> Option<Block<'_>> {
        let blkno = self.blkno.filter(|_| id == 0)?;
        Some(Block {
            id,
            locator: self.locator,
            fork: ForkNumber::MAIN,
            blkno,
            will_init: false,
            data: (!self.data.is_empty()).then_some(&self.data),
            image: None,
        })
    }
}

/// Nobody to ask.
pub struct Nobody;

impl Oracle for Nobody {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        panic!("asked for {xid}");
    }
}

pub fn rel(number: u32) -> RelFileLocator {
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 5,
        rel_number: number,
    }
}

pub fn apply<S: Sink>(ledger: &mut Ledger<S>, rec: &Fake) {
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    let result = ledger.apply(Major::V17, rec, &mut Nobody, &mut restore);
    ledger.publish(None);
    assert_eq!(result, Ok(()));
}

/// A page full of frozen tuples.
pub fn fill(locator: RelFileLocator, blkno: u32, tuples: u16, lsn: u64) -> Fake {
    let tuple = [1, 0, 1, 0, 0x00, 0x0B, 24, 0x55];
    Fake {
        rmid: 9,
        info: 0x50 | 0x80,
        xid: 700,
        main: [[0, 0], tuples.to_le_bytes()].concat(),
        locator,
        blkno: Some(blkno),
        data: tuple.repeat(tuples.into()),
        lsn,
    }
}

pub fn delete(locator: RelFileLocator, blkno: u32, off: u16, xid: u32, lsn: u64) -> Fake {
    let [a, b] = off.to_le_bytes();
    let main = [&xid.to_le_bytes()[..], &[a, b, 0, 0]].concat();
    let (rmid, info, blkno) = (10, 0x10, Some(blkno));
    Fake {
        rmid,
        info,
        xid,
        main,
        locator,
        blkno,
        lsn,
        ..Fake::default()
    }
}

pub fn end(xid: u32, committed: bool, lsn: u64) -> Fake {
    let info = if committed { 0 } else { 0x20 };
    Fake {
        rmid: 1,
        info,
        xid,
        main: vec![0; 8],
        lsn,
        ..Fake::default()
    }
}

/// Delete `blocks` pages of 185 tuples each in one transaction.
fn mass_delete(ledger: &mut Ledger<TestSink>, blocks: u32, committed: bool) -> u64 {
    let mut peak = 0;
    for blkno in 0..blocks {
        apply(ledger, &fill(rel(1), blkno, 185, 100 + u64::from(blkno)));
        let mut rec = delete(rel(1), blkno, 1, 800, 200 + u64::from(blkno));
        for off in 1..=185u16 {
            rec.main[4..6].copy_from_slice(&off.to_le_bytes());
            apply(ledger, &rec);
        }
        peak = peak.max(ledger.stats().memory_used);
    }
    apply(ledger, &end(800, committed, 1 << 40));
    peak.max(ledger.stats().memory_used)
}

#[test]
fn a_mass_delete_is_small() {
    let config = Config {
        max_memory: 16 << 20,
        ..Config::default()
    };
    for committed in [true, false] {
        let mut ledger = Ledger::new(config, TestSink::default());
        apply(&mut ledger, &create(1, 90));
        // Half a million here; ten million and more in the long run below.
        let peak = mass_delete(&mut ledger, 3_000, committed);
        let stats = ledger.stats();
        let dead = if committed { 555_000 } else { 0 };
        assert_eq!((stats.dead_tuples, stats.degradations), (dead, 0));
        assert!(peak / 3_000 <= 64, "{} bytes per block", peak / 3_000);
    }
}

#[test]
#[ignore = "takes long without optimisation"]
fn ten_million_rows_and_more() {
    let config = Config {
        max_memory: 16 << 20,
        ..Config::default()
    };
    let mut ledger = Ledger::new(config, TestSink::default());
    apply(&mut ledger, &create(1, 90));
    let peak = mass_delete(&mut ledger, 60_000, true);
    assert_eq!(ledger.stats().dead_tuples, 11_100_000);
    assert_eq!(ledger.stats().degradations, 0);
    assert!(peak < 4 << 20, "{peak}");
}

pub fn create(number: u32, lsn: u64) -> Fake {
    let rel = rel(number);
    let oids = [rel.spc_oid, rel.db_oid, rel.rel_number, 0];
    let main = oids.into_iter().flat_map(u32::to_le_bytes).collect();
    Fake {
        rmid: 2,
        info: 0x10,
        xid: 700,
        main,
        lsn,
        ..Fake::default()
    }
}

#[test]
fn the_coldest_goes_first() {
    let max_memory = 200_000;
    let config = Config {
        max_memory,
        ..Config::default()
    };
    let mut ledger = Ledger::new(config, TestSink::default());
    let mut lsn = 100;
    let mut first_loss = None;
    for number in 1..=400 {
        apply(&mut ledger, &create(number, lsn));
        for blkno in 0..8 {
            lsn += 8;
            apply(&mut ledger, &fill(rel(number), blkno * 32, 100, lsn));
            for off in (1..=20).map(|i| i * 5) {
                apply(&mut ledger, &delete(rel(number), blkno * 32, off, 800, lsn));
            }
            assert!(ledger.stats().memory_used <= max_memory as u64);
        }
        // One relation stays hot.
        apply(
            &mut ledger,
            &delete(rel(1), 0, 1 + (number % 100) as u16, 801, lsn),
        );
        if ledger.stats().degradations > 0 {
            first_loss.get_or_insert(number);
        }
    }
    assert!(first_loss.is_some_and(|n| n > 40), "{first_loss:?}");
    assert!(ledger.block(rel(1), 0).is_some(), "the hot one stays");
    assert!(ledger.block(rel(2), 0).is_none(), "the cold one goes");
    assert!(ledger.block(rel(400), 0).is_some(), "the newest one stays");
    let shown = ledger.sink().get(rel(2));
    assert!(shown.is_none_or(|s| s.ranges.is_empty() && s.known_from.is_none()));
    // Counts go before relations do.
    let shown = ledger.sink().get(rel(1)).unwrap().ranges[&0];
    assert_eq!(shown.tuples, None);
    // What is gone takes no part in the end of its transaction, and what is
    // there does.
    apply(&mut ledger, &end(800, true, lsn));
    apply(&mut ledger, &end(801, true, lsn));
    assert_eq!(ledger.stats().pending_transactions, 0);
    assert!(ledger.stats().dead_tuples > 0);
    // It recovers by new pages.
    apply(&mut ledger, &fill(rel(2), 0, 10, lsn));
    assert_eq!(ledger.block(rel(2), 0).unwrap().normal, Some(10));
    ledger.mark_all_unknown();
    assert_eq!(ledger.stats().memory_used, 0);
}

/// Many transactions that all stay undecided.
#[test]
fn many_subtransactions_are_bounded() {
    let max_memory = 1 << 20;
    let config = Config {
        max_memory,
        ..Config::default()
    };
    let mut ledger = Ledger::new(config, TestSink::default());
    apply(&mut ledger, &create(1, 90));
    for xid in 1000..60_000 {
        let blkno = xid % 2000;
        if xid < 3000 {
            apply(&mut ledger, &fill(rel(1), blkno, 200, xid.into()));
        }
        apply(
            &mut ledger,
            &delete(rel(1), blkno, 1 + (xid / 2000) as u16, xid, xid.into()),
        );
        assert!(ledger.stats().memory_used <= max_memory as u64);
    }
    assert!(ledger.stats().degradations > 0);
}

/// No transaction is running; this one will be the next.
pub fn running(next: u32) -> Fake {
    let xids = [0, 0, 0, next, next, next - 1];
    Fake {
        rmid: 8,
        info: 0x10,
        main: xids.into_iter().flat_map(u32::to_le_bytes).collect(),
        ..Fake::default()
    }
}

/// A sink with little room.
#[derive(Default)]
pub struct Full {
    pub inner: TestSink,
    pub rels: usize,
    pub room: usize,
    pub overflowed: HashSet<u32>,
}

impl Sink for Full {
    type Rel = u32;
    fn open(&mut self, locator: RelFileLocator) -> Option<u32> {
        let known = self.inner.by_locator.contains_key(&locator);
        (known || self.inner.rels.len() < self.rels).then(|| self.inner.open(locator))?
    }
    /// What did not fit once is refused until it is opened again.
    fn publish(&mut self, rel: u32, rangeno: u32, counts: RangeCounts) -> bool {
        let used: usize = self.inner.rels.values().map(|r| r.ranges.len()).sum();
        let known = self.inner.rels[&rel].ranges.contains_key(&rangeno);
        let fits = known || used < self.room;
        if !fits {
            self.overflowed.insert(rel);
        }
        !self.overflowed.contains(&rel) && self.inner.publish(rel, rangeno, counts)
    }
    fn set_known_from(&mut self, rel: u32, known_from: Option<BlockNumber>) {
        self.inner.set_known_from(rel, known_from);
    }
    fn truncate(&mut self, rel: u32, first_rangeno: u32) {
        self.inner.truncate(rel, first_rangeno);
    }
    fn close(&mut self, rel: u32) {
        self.overflowed.remove(&rel);
        self.inner.close(rel);
    }
}

/// An online checkpoint, with wal_level = replica.
fn checkpoint() -> Fake {
    let mut main = vec![0; 88];
    main[20] = 1;
    Fake {
        rmid: 0,
        info: 0x10,
        main,
        ..Fake::default()
    }
}

#[test]
fn a_full_sink_gets_another_chance() {
    // The second is all there is with wal_level = minimal.
    for again in [running(800), checkpoint()] {
        a_full_sink(&again);
    }
}

fn a_full_sink(again: &Fake) {
    let sink = Full {
        rels: 2,
        room: 3,
        ..Full::default()
    };
    let mut ledger = Ledger::new(Config::default(), sink);
    for number in 1..=3 {
        apply(&mut ledger, &create(number, 1));
        for blkno in [0, 32] {
            apply(&mut ledger, &fill(rel(number), blkno, 10, 2));
            apply(&mut ledger, &delete(rel(number), blkno, 1, 800, 3));
        }
    }
    apply(&mut ledger, again);
    assert_eq!(ledger.stats().unpublished_relations, 2);
    (ledger.sink_mut().rels, ledger.sink_mut().room) = (3, 100);
    apply(&mut ledger, &end(800, true, 4));
    apply(&mut ledger, again);
    assert_eq!(ledger.stats().unpublished_relations, 0);
    for number in 1..=3 {
        let shown = ledger.sink().inner.get(rel(number)).unwrap();
        assert_eq!(shown.known_from, Some(0));
        let dead: Vec<_> = shown.ranges.values().map(|c| (c.dead, c.tuples)).collect();
        assert_eq!(dead, [(1, Some(9)), (1, Some(9))]);
    }
}

/// The real map, from one end to the other.
#[test]
fn the_shared_map_shows_the_ledger() {
    let area: Vec<AtomicU64> = (0..MIN_WORDS + 20_000).map(|_| AtomicU64::new(0)).collect();
    let mut ledger = Ledger::new(Config::default(), MapWriter::init(&area, 32).unwrap());
    apply(&mut ledger, &create(1, 1));
    for blkno in 0..100 {
        apply(&mut ledger, &fill(rel(1), blkno, 10, 2));
        apply(&mut ledger, &delete(rel(1), blkno, 3, 800, 3));
    }
    let totals = |blocks| {
        let reader = MapReader::open(&area).unwrap();
        reader.find(rel(1)).map(|map| map.totals(blocks))
    };
    let shown = totals(100).unwrap();
    assert_eq!(
        (shown.dead, shown.tuples, shown.exact()),
        (0, Some(1000), true)
    );
    apply(&mut ledger, &end(800, true, 4));
    let shown = totals(300).unwrap();
    assert_eq!(
        (shown.dead, shown.tuples, shown.exact()),
        (100, Some(900), true)
    );
    ledger.mark_all_unknown();
    assert!(totals(100).is_none());
}

/// A ledger near its limit is written in slices while it changes.
#[test]
#[ignore = "takes long without optimisation; prints figures"]
fn a_large_state_in_slices() {
    let config = Config {
        max_memory: 256 << 20,
        ..Config::default()
    };
    let mut ledger = Ledger::new(config, TestSink::default());
    apply(&mut ledger, &create(1, 90));
    let (mut lsn, mut blocks) = (100, 0);
    while ledger.stats().memory_used < 240 << 20 {
        apply(&mut ledger, &fill(rel(1), blocks, 20, lsn));
        // Scattered: no two blocks alike.
        for n in 0..6 {
            let off = (blocks * (n + 3) + n * 7) % 20 + 1;
            apply(
                &mut ledger,
                &delete(rel(1), blocks, off as u16, 800, lsn + 8),
            );
        }
        (lsn, blocks) = (lsn + 16, blocks + 1);
    }
    apply(&mut ledger, &end(800, true, lsn));
    let (mut state, mut slices, mut longest) = (Vec::new(), 0, 0.0f64);
    let begin = std::time::Instant::now();
    ledger.begin_save().unwrap();
    loop {
        let slice = std::time::Instant::now();
        let ready = ledger.save_slice(&mut state, 256 << 10).unwrap();
        if ready {
            ledger.finish_save(&mut state).unwrap();
        }
        longest = longest.max(slice.elapsed().as_secs_f64());
        slices += 1;
        if ready {
            break;
        }
        // Meanwhile the server goes on.
        for n in 0..300u32 {
            let blkno = n.wrapping_mul(2_654_435_761).wrapping_add(slices) % blocks;
            apply(&mut ledger, &delete(rel(1), blkno, 1, 900 + slices, lsn));
            lsn += 8;
        }
        apply(&mut ledger, &end(900 + slices, true, lsn));
    }
    eprintln!(
        "{} MB of ledger, {blocks} blocks: {} MB of state in {slices} slices, {:.0} ms, longest {:.1} ms",
        ledger.stats().memory_used >> 20,
        state.len() >> 20,
        begin.elapsed().as_secs_f64() * 1e3,
        longest * 1e3
    );
    let mut loaded = Ledger::new(config, TestSink::default());
    let begin = std::time::Instant::now();
    loaded.load(&mut state.as_slice()).unwrap();
    eprintln!("loaded in {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    assert_eq!(loaded.stats().dead_tuples, ledger.stats().dead_tuples);
    assert_eq!(loaded.stats().blocks_known, ledger.stats().blocks_known);
    assert!(slices > 50);
}
