//! The ledger against a naive server: whatever happens in whatever order, a
//! block the ledger knows has exactly the dead tuples, dead items and tuples
//! that its page has.

use crate::sim::server::Server;
use crate::sim::sink::TestSink;
use garbagemap_core::{BaseItem, BaseOutcome, BlockView, Config, Ledger, RangeCounts};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use walker_wal::raw::{Decoder, FlatRecord};
use walker_wal::{Lsn, Major, Record, RelFileLocator};

const RELS: [RelFileLocator; 2] = [
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 5,
        rel_number: 16384,
    },
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 6,
        rel_number: 16384,
    },
];

/// A page a backend has read and not yet handed over.
struct ReadPage {
    rel: RelFileLocator,
    blkno: u32,
    lsn: Lsn,
    items: Vec<BaseItem>,
}

/// The server, and a ledger that lags behind it.
pub struct World {
    pub server: Server,
    pub ledger: Ledger<TestSink>,
    /// Records applied.
    applied: usize,
    scanning: [bool; 2],
    read: Vec<ReadPage>,
    sizes: Sizes,
    /// Compare in between, not only when all has ended.
    strict: bool,
    /// A saved state, and the records applied by then.
    saved: Option<(Vec<u8>, usize)>,
    /// A state that is being written in slices between the steps.
    saving: Option<Vec<u8>>,
    /// What became of pages handed over.
    outcomes: Vec<BaseOutcome>,
    /// Blocks compared, known blocks, dead tuples among them.
    compared: (usize, usize, usize),
    /// So much of the WAL there is when the other database was made.
    cloned: usize,
}

/// Blocks in a range, and what makes a transaction large.
type Sizes = (u32, u32);

fn config((range_blocks, large): Sizes) -> Config {
    Config {
        range_blocks,
        large,
        ..Config::default()
    }
}

impl World {
    pub fn new(major: Major, first_xid: u32, sizes: Sizes) -> World {
        let mut server = Server::new(major, first_xid);
        RELS.into_iter().for_each(|rel| server.create(rel));
        World {
            server,
            ledger: Ledger::new(config(sizes), TestSink::default()),
            applied: 0,
            scanning: [false; 2],
            read: Vec::new(),
            sizes,
            strict: true,
            saved: None,
            saving: None,
            outcomes: Vec::new(),
            compared: (0, 0, 0),
            cloned: 0,
        }
    }

    fn applied_lsn(&self) -> Lsn {
        self.applied
            .checked_sub(1)
            .map_or(Lsn(0), |i| self.server.wal[i].end)
    }

    fn apply(&mut self, n: usize) {
        let mut decoder = Decoder::new();
        for _ in 0..n.min(self.server.wal.len() - self.applied) {
            let written = self.server.wal[self.applied].clone();
            let rec = decoder
                .decode(&written.bytes, written.start, written.end)
                .unwrap();
            let server = &self.server;
            let mut restore = |id: u8, page: &mut garbagemap_core::Page| {
                let number = rec.block(id).unwrap().image.unwrap().bytes;
                let number = u32::from_le_bytes(number.try_into().unwrap());
                page.copy_from_slice(&server.compressed[number as usize]);
                true
            };
            // Most as the worker does, some as it does when a page ends.
            let flat = FlatRecord::new(&written.bytes, written.start, written.end);
            let result = match flat.filter(|_| !self.applied.is_multiple_of(8)) {
                Some(flat) => self
                    .ledger
                    .apply(server.major, &flat, &mut &*server, &mut restore),
                None => self
                    .ledger
                    .apply(server.major, &rec, &mut &*server, &mut restore),
            };
            assert_eq!(result, Ok(()), "{rec:?}");
            self.applied += 1;
        }
    }

    pub fn drain(&mut self) {
        self.apply(usize::MAX);
    }

    fn scan(&mut self, which: u32) {
        let i = self.server.random(2) as usize;
        let rel = RELS[i];
        // Nor does anybody scan a database while records of another that had its
        // number are yet to come.
        if i == 1 && self.applied + 1 < self.cloned {
            return;
        }
        match which {
            0 if !self.scanning[i] => {
                self.scanning[i] = self.ledger.begin_base_scan(rel, true).is_some()
            }
            0 => {
                let size = (self.server.rels[&rel].len() as u32, Lsn(self.server.lsn));
                self.ledger
                    .end_base_scan(rel, Some(size), self.applied_lsn());
                self.read.retain(|page| page.rel != rel);
                self.scanning[i] = false;
            }
            1 if self.scanning[i] => {
                for (blkno, page) in (0..).zip(&self.server.rels[&rel]) {
                    let (lsn, items) = (Lsn(page.lsn), page.items());
                    self.read.push(ReadPage {
                        rel,
                        blkno,
                        lsn,
                        items,
                    });
                }
            }
            _ => {
                for _ in 0..4.min(self.read.len()) {
                    let at = self.server.random(self.read.len() as u32);
                    let page = self.read.swap_remove(at as usize);
                    if self.hand_over(&page) == BaseOutcome::Soon {
                        self.read.push(page); // once more, as it is
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, page: &ReadPage) -> BaseOutcome {
        let applied = self.applied_lsn();
        let ReadPage {
            rel,
            blkno,
            lsn,
            items,
        } = page;
        let outcome = self
            .ledger
            .base_block(*rel, *blkno, *lsn, items, applied, &mut &self.server);
        self.outcomes.push(outcome);
        outcome
    }

    pub fn step(&mut self, op: u8, seed: u32) {
        self.server.seed(seed);
        if let Some(state) = &mut self.saving {
            let bytes = self.server.random(120) as usize;
            self.ledger.save_slice(state, bytes).unwrap();
        }
        let server = &mut self.server;
        match op {
            0..=9 => server.insert(),
            10..=13 => server.multi_insert(),
            14..=23 => server.delete(),
            24..=35 => server.update(),
            36..=41 => server.lock(),
            42..=51 => server.prune(),
            52..=55 => server.vacuum(),
            56..=58 => server.freeze(),
            59..=62 => server.visible(),
            63..=67 => server.hint(),
            68..=69 => server.log_pages(),
            70..=73 => server.savepoint(),
            74..=75 => server.release_savepoint(),
            76..=78 => server.rollback_to(),
            79..=86 => server.end_any(true),
            87..=90 => server.end_any(false),
            91 => server.prepare(),
            92 => server.end_prepared(),
            93 => server.crash(),
            94 => server.running_xacts(),
            95..=96 => server.truncate(),
            97 => server.recreate(),
            98..=99 => server.stop_lingering(),
            100..=102 => self.scan(0),
            103..=106 => self.scan(1),
            107..=114 => self.scan(2),
            // Memory is short, and all is forgotten.
            115 => {
                self.ledger.set_max_memory(1);
                self.ledger.set_max_memory(1 << 30);
                assert_eq!(self.ledger.stats().memory_used, 0);
            }
            117 => {
                let mut state = Vec::new();
                self.ledger.save(&mut state).unwrap();
                self.saved = Some((state, self.applied));
                self.saving = None;
            }
            118 => match self.saving.take() {
                None => {
                    self.ledger.begin_save().unwrap();
                    self.saving = Some(Vec::new());
                }
                Some(mut state) => {
                    self.ledger.finish_save(&mut state).unwrap();
                    let whole = self.copy_of(&state);
                    for (&rel, pages) in &self.server.rels {
                        for blkno in 0..pages.len() as u32 + 5 {
                            let (mut saved, own) =
                                (whole.block(rel, blkno), self.ledger.block(rel, blkno));
                            // Memory may have been short since it was written.
                            if let (Some(saved), Some(BlockView { normal: None, .. })) =
                                (&mut saved, &own)
                            {
                                saved.normal = None;
                            }
                            assert_eq!(saved, own);
                        }
                    }
                    self.saved = Some((state, self.applied));
                }
            },
            119 => self.restart(),
            120..=125 => {
                let n = server.random(30) as usize;
                // What has not ended is noted, and may make it large.
                if server.random(3) == 0 {
                    self.ledger.publish(None);
                }
                self.apply(n);
            }
            // Memory is short, and what can be done without goes.
            116 => {
                let used = self.ledger.stats().memory_used as u32;
                let less = used / 16 + server.random(used / 2 + 1);
                self.ledger.set_max_memory((used - less) as usize);
                self.ledger.set_max_memory(1 << 30);
            }
            129 => {
                server.copy_pages(RELS[0], RELS[1]);
                self.forget_reading(1);
            }
            130 => {
                // So soon nobody uses a number again that was in use.
                self.drain();
                self.server.clone_database(RELS[0], RELS[1]);
                self.cloned = self.server.wal.len();
                self.forget_reading(1);
            }
            _ => {
                self.drain();
                if self.strict {
                    self.check();
                }
            }
        }
    }

    /// Who scanned the relation finds another.
    fn forget_reading(&mut self, i: usize) {
        self.read.retain(|page| page.rel != RELS[i]);
        self.scanning[i] = false;
    }

    /// The ledger that a saved state stands for.
    fn copy_of(&self, mut state: &[u8]) -> Ledger<TestSink> {
        let mut ledger = Ledger::new(config(self.sizes), TestSink::default());
        ledger.load(&mut state).unwrap();
        ledger
    }

    /// The worker dies and goes on from what it saved.
    fn restart(&mut self) {
        let Some((state, applied)) = &self.saved else {
            return;
        };
        self.ledger = self.copy_of(state);
        self.applied = *applied;
        self.scanning = [false; 2];
        self.saving = None;
        self.read.clear();
    }

    /// All that is written is applied.
    fn check(&mut self) -> usize {
        self.ledger.publish(None);
        let stats = self.ledger.stats();
        assert_eq!(
            (
                stats.image_mismatches,
                stats.count_mismatches,
                stats.contradictions
            ),
            (0, 0, 0),
        );
        let (mut dead_tuples, mut dead_items, mut garbage, mut known) = (0, 0, 0, 0);
        for (&rel, pages) in &self.server.rels {
            for (blkno, page) in (0..).zip(pages) {
                let Some(view) = self.ledger.block(rel, blkno) else {
                    continue;
                };
                let (dead, items, normal) = self.server.truth(page);
                assert_eq!(view.dead, dead, "dead of {rel} {blkno}: {page:?}");
                assert_eq!(view.items, items, "items of {rel} {blkno}");
                assert!(
                    view.normal.is_none_or(|n| n == normal),
                    "{rel} {blkno}: {view:?}"
                );
                known += 1;
                dead_tuples += dead.len() as u64;
                dead_items += items.len() as u64;
                garbage += u64::from(!dead.is_empty());
            }
            self.check_shown(rel, pages.len() as u32);
        }
        self.compared.0 += self.server.rels.values().map(Vec::len).sum::<usize>();
        self.compared.1 += known;
        self.compared.2 += dead_tuples as usize;
        assert_eq!(
            (
                stats.dead_tuples,
                stats.dead_items,
                stats.blocks_with_garbage
            ),
            (dead_tuples, dead_items, garbage)
        );
        known
    }

    /// The sink shows what the ledger knows.
    fn check_shown(&self, rel: RelFileLocator, blocks: u32) {
        let shown = self.ledger.sink().get(rel);
        let (range_blocks, _) = self.sizes;
        for first in (0..blocks).step_by(range_blocks as usize) {
            let in_range = (first..first + range_blocks).map(|b| self.ledger.block(rel, b));
            let in_range: Vec<_> = in_range.collect();
            let first_unknown = in_range.iter().take_while(|b| b.is_some()).count();
            let views = || in_range.iter().flatten();
            let dead: usize = views().map(|v| v.dead.len()).sum();
            let items: usize = views().map(|v| v.items.len()).sum();
            let normal = views()
                .map(|v| v.normal.map(usize::from))
                .sum::<Option<usize>>();
            let counts = shown.and_then(|s| s.ranges.get(&(first / range_blocks)));
            match counts {
                Some(c) => {
                    assert_eq!(usize::from(c.first_unknown), first_unknown, "{rel} {first}");
                    assert_eq!((c.dead.into(), c.items.into()), (dead, items));
                    assert_eq!(c.tuples.map(usize::from), normal.map(|n| n - dead));
                }
                None => {
                    let from = shown.and_then(|s| s.known_from);
                    let known = from.is_some_and(|from| from <= first);
                    assert_eq!(known, first_unknown > 0, "{rel} {first}");
                    assert_eq!((dead, items), (0, 0));
                }
            }
        }
    }

    /// Everything ends, everything is read: everything must be known.
    fn finish(&mut self) {
        (0..4).for_each(|session| self.server.end(session, session % 2 == 0));
        while !self.server.prepared.is_empty() {
            self.server.end_prepared();
        }
        self.server.stop_lingering();
        self.server.running_xacts();
        self.read.clear();
        self.drain();
        self.check();
        assert_eq!(self.ledger.stats().pending_transactions, 0);
        let blocks: usize = RELS.iter().map(|&rel| self.scan_whole(rel)).sum();
        assert_eq!(self.check(), blocks);
        // Once more, where no scan is open that has begun before: all is counted,
        // wherever memory was short.
        for i in (0..RELS.len()).filter(|&i| self.scanning[i]) {
            self.ledger.end_base_scan(RELS[i], None, self.applied_lsn());
        }
        for rel in RELS {
            self.scan_whole(rel);
            if let Some(shown) = self.ledger.sink().get(rel) {
                let counted = |counts: &RangeCounts| counts.tuples.is_some();
                assert!(shown.ranges.values().all(counted), "{:?}", shown.ranges);
            }
        }
        assert_eq!(self.check(), blocks);
    }

    /// A base scan of a relation that nobody writes to. How many blocks it has.
    fn scan_whole(&mut self, rel: RelFileLocator) -> usize {
        assert!(self.ledger.begin_base_scan(rel, true).is_some());
        let pages = self.server.rels[&rel].clone();
        for (blkno, page) in (0..).zip(&pages) {
            let (lsn, items) = (Lsn(page.lsn), page.items());
            let outcome = self.hand_over(&ReadPage {
                rel,
                blkno,
                lsn,
                items,
            });
            let fine = matches!(
                outcome,
                BaseOutcome::Known | BaseOutcome::Counted | BaseOutcome::Applied
            );
            assert!(fine, "{outcome:?}");
        }
        let size = (pages.len() as u32, Lsn(self.server.lsn));
        self.ledger
            .end_base_scan(rel, Some(size), self.applied_lsn());
        pages.len()
    }
}

fn majors() -> impl Strategy<Value = Major> {
    prop_oneof![
        Just(Major::V15),
        Just(Major::V16),
        Just(Major::V17),
        Just(Major::V18)
    ]
}

fn steps(n: usize) -> impl Strategy<Value = Vec<(u8, u32)>> {
    prop::collection::vec((0..135u8, any::<u32>()), 0..n)
}

/// Insertions, ends, vacuum, and memory that is short: what leaves ranges that
/// there is nothing to keep of.
const CALM: [u8; 16] = [
    0, 5, 10, 12, 40, 53, 55, 60, 62, 80, 82, 116, 116, 120, 123, 134,
];

/// Mostly these, and now and then another.
fn calm_steps(n: usize) -> impl Strategy<Value = Vec<(u8, u32)>> {
    let calm = prop::sample::select(CALM.to_vec());
    let op = prop_oneof![9 => calm, 1 => 0..135u8];
    prop::collection::vec((op, any::<u32>()), 0..n)
}

/// More of them with `PROPTEST_CASES=100000`.
pub fn cases(default: u32) -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases(600))
    })]

    #[test]
    fn ledger_equals_server(
        major in majors(),
        first_xid in prop_oneof![Just(700u32), Just(u32::MAX - 20)],
        range_shift in 0..4u32,
        large in prop_oneof![Just(1u32), Just(3), Just(256)],
        strict in prop::bool::weighted(0.9),
        before in steps(120),
        steps in steps(500),
    ) {
        let mut world = World::new(major, first_xid, (1 << range_shift, large));
        // What happened before the ledger was there is not told to it.
        for (op, seed) in before {
            if op < 100 {
                world.step(op, seed);
            }
        }
        world.applied = world.server.wal.len() / 2;
        world.strict = strict;
        if strict {
            // Otherwise a transaction whose end was written before the ledger
            // began may count as running until the server no longer does.
            world.server.stop_lingering();
        }
        for (op, seed) in steps {
            world.step(op, seed);
        }
        world.finish();
    }

    #[test]
    fn clean_ranges_equal_server(
        major in majors(),
        range_shift in 0..4u32,
        steps in calm_steps(500),
    ) {
        let mut world = World::new(major, 700, (1 << range_shift, 256));
        world.strict = true;
        for (op, seed) in steps {
            world.step(op, seed);
        }
        world.finish();
    }
}

/// A test of the test: it gets everywhere.
#[test]
fn histories_are_rich() {
    let mut outcomes = Vec::new();
    let (mut compared, mut known, mut dead, mut checked) = (0, 0, 0, 0);
    for history in 0..60u64 {
        let major = [Major::V15, Major::V18][history as usize % 2];
        let mut world = World::new(major, 700, (4, 256));
        run(&mut world, history, 700);
        world.finish();
        outcomes.append(&mut world.outcomes);
        compared += world.compared.0;
        known += world.compared.1;
        dead += world.compared.2;
        checked += world.ledger.stats().images_checked;
    }
    let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
    let facts = (compared, known, dead, checked);
    assert!(known > compared / 4 && known < compared, "{facts:?}");
    assert!(dead > 3000 && checked > 300, "{facts:?}");
    use BaseOutcome::*;
    let counts = [Known, Counted, Soon, Applied, Ahead, Stale].map(count);
    assert!(counts.into_iter().all(|n| n > 0), "{counts:?} {facts:?}");
    assert_eq!(count(Undecided), 0);
}

/// Another one: there are clean ranges, and they change.
#[test]
fn calm_histories_are_clean() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut cleaned, mut known) = (0, 0);
    for shift in 0..20 {
        let steps = calm_steps(500).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(Major::V18, 700, (1 << (shift % 2), 256));
        world.strict = true;
        for (op, seed) in steps {
            world.step(op, seed);
        }
        world.finish();
        cleaned += world.ledger.stats().ranges_cleaned;
        known += world.compared.1;
    }
    assert!(cleaned > 30, "{cleaned} {known}");
}

/// A history of random steps, the first 100 of them before the ledger begins.
pub fn run(world: &mut World, seed: u64, steps: u32) {
    let mut state = seed * 2 + 1;
    let mut next = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for i in 0..steps {
        if i == 100 {
            world.applied = world.server.wal.len();
            world.server.stop_lingering();
        }
        let op = next(if i < 100 { 100 } else { 129 }) as u8;
        let seed = next(1 << 31) as u32;
        world.step(op, seed);
    }
}
