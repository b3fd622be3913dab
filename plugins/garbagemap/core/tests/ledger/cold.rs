//! Large tables that nobody changes need next to no memory where that is short.

use garbagemap_core::{BaseOutcome, Config, Ledger};
use walker_wal::{Lsn, Major, RelFileLocator};

use crate::base_scans::live;
use crate::limits::{Fake, Full, Nobody, apply, create, delete, end, fill, rel, running};
use crate::sim::sink::TestSink;

/// Ranges of the table, and what would not do for half of them.
const RANGES: u32 = 3_000;
const MAX_MEMORY: usize = 300_000;
/// Ranges of another table, of each of which the first block is known.
const PARTS: u32 = 100;

fn config() -> Config {
    Config {
        max_memory: MAX_MEMORY,
        ..Config::default()
    }
}

fn saved(ledger: &mut Ledger<TestSink>) -> Vec<u8> {
    let mut state = Vec::new();
    ledger.save(&mut state).expect("a state");
    state
}

fn loaded(mut state: &[u8], max_memory: usize) -> Ledger<TestSink> {
    let config = Config {
        max_memory,
        ..Config::default()
    };
    let mut ledger = Ledger::new(config, TestSink::default());
    ledger.load(&mut state).expect("the same");
    assert!(ledger.stats().memory_used <= max_memory as u64);
    ledger
}

/// A table whose every page is full, and nothing dead.
fn cold() -> Ledger<TestSink> {
    let mut ledger = Ledger::new(config(), TestSink::default());
    for n in 0..PARTS {
        apply(&mut ledger, &fill(rel(2), n * 32, 2, 10));
    }
    apply(&mut ledger, &create(1, 90));
    for blkno in 0..RANGES * 32 {
        apply(&mut ledger, &fill(rel(1), blkno, 2, 100 + u64::from(blkno)));
        assert!(ledger.stats().memory_used <= MAX_MEMORY as u64);
    }
    assert!(ledger.stats().ranges_cleaned > u64::from(RANGES) / 2);
    assert_known(&ledger, rel(1), RANGES * 32, &[]);
    ledger
}

/// So many blocks are known and shown, with so many dead tuples in these.
fn assert_known(ledger: &Ledger<TestSink>, rel: RelFileLocator, blocks: u32, dead: &[(u32, u16)]) {
    let stats = ledger.stats();
    assert_eq!(stats.degradations, 0);
    let shown = ledger.sink().get(rel).expect("the table");
    assert_eq!(shown.ranges.len() as u32, blocks.div_ceil(32));
    for blkno in 0..blocks {
        let view = ledger.block(rel, blkno).expect("a known block");
        let here = dead.iter().filter(|(at, _)| *at == blkno);
        let here: Vec<u16> = here.map(|&(_, off)| off).collect();
        assert_eq!((view.dead, view.items), (here, vec![]), "{blkno}");
        assert!(view.normal.is_none_or(|n| n == 2));
    }
    for (&rangeno, counts) in &shown.ranges {
        let here = dead.iter().filter(|(at, _)| at / 32 == rangeno);
        assert_eq!((counts.dead as usize, counts.items), (here.count(), 0));
        assert_eq!(counts.first_unknown, 32, "{rangeno}");
    }
}

/// Known blocks of the table, and all dead tuples.
fn known(ledger: &Ledger<TestSink>) -> (u64, u64) {
    let stats = ledger.stats();
    for n in 0..PARTS {
        assert!(ledger.block(rel(2), n * 32).is_some());
        assert!(ledger.block(rel(2), n * 32 + 1).is_none());
    }
    (stats.blocks_known - u64::from(PARTS), stats.dead_tuples)
}

fn truncate(blkno: u32, lsn: u64) -> Fake {
    let rel = rel(1);
    let main = [blkno, rel.spc_oid, rel.db_oid, rel.rel_number, 7];
    Fake {
        rmid: 2,
        info: 0x20,
        main: main.into_iter().flat_map(u32::to_le_bytes).collect(),
        lsn,
        ..Fake::default()
    }
}

#[test]
fn a_change_of_a_cold_table_counts() {
    let mut ledger = cold();
    let dead: Vec<(u32, u16)> = (0..RANGES / 7).map(|n| (n * 7 * 32 + n % 32, 2)).collect();
    for &(blkno, off) in &dead {
        let lsn = 1 << 20 | u64::from(blkno);
        apply(&mut ledger, &delete(rel(1), blkno, off, 800, lsn));
    }
    assert_known(&ledger, rel(1), RANGES * 32, &[]);
    apply(&mut ledger, &end(800, true, 1 << 30));
    assert_known(&ledger, rel(1), RANGES * 32, &dead);
    let blocks = u64::from(RANGES) * 32;
    assert_eq!(known(&ledger), (blocks, dead.len() as u64));

    // The same from its state, which does not fit in one piece either.
    let mut loaded = loaded(&saved(&mut ledger), MAX_MEMORY);
    assert_known(&loaded, rel(1), RANGES * 32, &dead);
    assert_eq!(known(&loaded), known(&ledger));

    // It goes as it came.
    loaded.mark_all_unknown();
    let stats = loaded.stats();
    assert_eq!((stats.memory_used, stats.blocks_known), (0, 0));
}

#[test]
fn a_state_needs_no_more_than_what_comes_of_it() {
    let loaded = loaded(&saved(&mut cold()), 100_000);
    assert_known(&loaded, rel(1), RANGES * 32, &[]);
}

#[test]
fn a_state_is_loaded_with_all_that_is_not_clean() {
    let mut ledger = cold();
    // What is not clean fits.
    ledger.set_max_memory(600_000);
    let blknos: Vec<u32> = (0..RANGES / 3).map(|n| n * 3 * 32).collect();
    for &blkno in &blknos {
        apply(&mut ledger, &delete(rel(1), blkno, 1, 800, 1 << 20));
    }
    // In ranges between: the item that an inserted tuple has left.
    let item = |blkno: u32| Fake {
        rmid: 9,
        info: 0x10,
        main: vec![0, 1 << 6],
        data: vec![1, 0, 3, 0],
        ..delete(rel(1), blkno, 1, 0, 1 << 20)
    };
    let items: Vec<u32> = (0..RANGES / 30).map(|n| (n * 30 + 1) * 32).collect();
    for &blkno in &items {
        apply(&mut ledger, &item(blkno));
    }
    let has = |ledger: &Ledger<TestSink>, items: u64, dead| {
        let stats = ledger.stats();
        assert_eq!((stats.degradations, stats.dead_items), (0, items));
        assert_eq!(known(ledger), (u64::from(RANGES) * 32, dead));
    };
    has(&ledger, items.len() as u64, 0);
    let state = saved(&mut ledger);
    // Memory becomes short at another range each time, also before it is seen that
    // something of it is undecided.
    for max_memory in (450_000..600_000).step_by(10_000) {
        let mut loaded = loaded(&state, max_memory);
        assert!(loaded.stats().ranges_cleaned > 0);
        apply(&mut loaded, &end(800, true, 1 << 30));
        has(&loaded, items.len() as u64, blknos.len() as u64);
        for blkno in 0..RANGES * 32 {
            let view = loaded.block(rel(1), blkno).expect("a known block");
            assert_eq!(view.dead.len(), usize::from(blknos.contains(&blkno)));
            assert_eq!(view.items.len(), usize::from(items.contains(&blkno)));
        }
    }
}

#[test]
fn a_cold_table_is_cut() {
    for (minimal, rest) in [(false, 0), (false, 5), (true, 0), (true, 5)] {
        let mut ledger = cold();
        ledger.set_wal_minimal(minimal);
        let left = RANGES / 2 * 32 + rest;
        apply(&mut ledger, &truncate(left, 1 << 30));
        let shown = &ledger.sink().get(rel(1)).expect("the table").ranges;
        assert_eq!(shown.len() as u32, left.div_ceil(32));
        let last = shown.last_key_value().expect("ranges").1;
        let forgotten = minimal && rest > 0;
        assert_eq!(last.first_unknown, if forgotten { 5 } else { 32 });
        // All of the last range are known, if only as what is not there.
        let blocks = if minimal {
            left
        } else {
            left.div_ceil(32) * 32
        };
        assert_eq!(known(&ledger), (blocks.into(), 0));
        for gone in [left, RANGES * 32 - 1] {
            assert_eq!(ledger.block(rel(1), gone).is_none(), minimal);
        }
        // Where there were ranges, there may be others.
        let new = RANGES * 31;
        apply(&mut ledger, &fill(rel(1), new, 2, 1 << 31));
        assert_eq!(ledger.block(rel(1), new).expect("it").normal, Some(2));
        assert_eq!(ledger.block(rel(1), new + 1).is_none(), minimal);
        // What there was of clean ranges goes with the last of them.
        apply(&mut ledger, &truncate(0, 1 << 32));
        assert_eq!(known(&ledger), (0, 0));
        ledger.mark_all_unknown();
        assert_eq!(ledger.stats().memory_used, 0);
    }
}

/// What each page of the table tells a base scan.
fn scanned(ledger: &mut Ledger<TestSink>) -> Vec<BaseOutcome> {
    let (page_lsn, applied) = (Lsn(100), Lsn(1 << 20));
    assert!(ledger.begin_base_scan(rel(1), true).is_some());
    let blocks = 0..RANGES * 32;
    let outcomes = blocks
        .map(|b| ledger.base_block(rel(1), b, page_lsn, &live(2), applied, &mut Nobody))
        .collect();
    ledger.end_base_scan(rel(1), Some((RANGES * 32, applied)), applied);
    outcomes
}

#[test]
fn a_scan_counts_as_far_as_there_is_room() {
    let mut ledger = cold();
    // Never is memory short for it.
    let cleaned = ledger.stats().ranges_cleaned;
    let outcomes = scanned(&mut ledger);
    assert!(ledger.stats().memory_used <= MAX_MEMORY as u64 / 4 * 3);
    assert_eq!(ledger.stats().ranges_cleaned, cleaned);
    assert!(outcomes.contains(&BaseOutcome::Known));
    assert!(outcomes.contains(&BaseOutcome::Counted));
    assert_known(&ledger, rel(1), RANGES * 32, &[]);

    ledger.set_max_memory(1 << 30);
    let outcomes = scanned(&mut ledger);
    let counted = |outcome| matches!(outcome, BaseOutcome::Counted | BaseOutcome::Known);
    assert!(outcomes.into_iter().all(counted));
    assert_known(&ledger, rel(1), RANGES * 32, &[]);
    let shown = &ledger.sink().get(rel(1)).expect("the table").ranges;
    assert!(shown.values().all(|counts| counts.tuples == Some(64)));
    // Nothing is left to do.
    let outcomes = scanned(&mut ledger);
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == BaseOutcome::Known)
    );
    ledger.mark_all_unknown();
    assert_eq!(ledger.stats().memory_used, 0);
}

#[test]
fn a_cold_database_is_copied() {
    let mut ledger = cold();
    let copy = |to: u32| Fake {
        rmid: 4,
        main: [to, 1663, 5, 1663]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect(),
        lsn: 1 << 30,
        ..Fake::default()
    };
    apply(&mut ledger, &copy(6));
    assert!(ledger.stats().memory_used <= MAX_MEMORY as u64);
    let other = RelFileLocator {
        db_oid: 6,
        ..rel(1)
    };
    for rel in [rel(1), other] {
        assert_known(&ledger, rel, RANGES * 32, &[]);
    }
    let both = u64::from(2 * RANGES * 32 + PARTS);
    assert_eq!(known(&ledger), (both, 0));
    // The copy is the younger one.
    let mut less = loaded(&saved(&mut ledger), MAX_MEMORY);
    less.set_max_memory(less.stats().memory_used as usize * 2 / 3);
    assert!(less.stats().degradations > 0);
    assert!(less.block(other, 0).is_some() && less.block(rel(1), 0).is_none());
    // Each changes alone.
    for (rel, off) in [(other, 1), (rel(1), 2)] {
        apply(&mut ledger, &delete(rel, 77, off, 800, 1 << 31));
    }
    apply(&mut ledger, &end(800, true, 1 << 32));
    assert_known(&ledger, other, RANGES * 32, &[(77, 1)]);
    assert_known(&ledger, rel(1), RANGES * 32, &[(77, 2)]);
    assert_eq!(known(&ledger), (both, 2));
}

#[test]
fn what_waits_to_be_shown_is_cleaned_too() {
    let mut ledger = Ledger::new(config(), TestSink::default());
    apply(&mut ledger, &create(1, 90));
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    for blkno in 0..RANGES * 32 {
        let filled = fill(rel(1), blkno, 2, 100);
        let applied = ledger.apply(Major::V17, &filled, &mut Nobody, &mut restore);
        assert_eq!(applied, Ok(()));
        assert!(ledger.stats().memory_used <= MAX_MEMORY as u64);
    }
    ledger.publish(None);
    assert_known(&ledger, rel(1), RANGES * 32, &[]);
}

#[test]
fn a_save_has_what_happens_to_clean_ranges_meanwhile() {
    let mut ledger = cold();
    let (mut state, mut dead) = (Vec::new(), Vec::new());
    ledger.begin_save().expect("memory");
    while !ledger.save_slice(&mut state, 2_000).expect("memory") {
        // Everywhere, so that some are written by now.
        for n in 0..3 {
            let range = (dead.len() as u32 * 977 + n * 13) % RANGES;
            dead.push((range * 32 + n, 1));
            let lsn = 1 << 20 | u64::from(range);
            apply(&mut ledger, &delete(rel(1), range * 32 + n, 1, 800, lsn));
        }
        apply(&mut ledger, &end(800, true, 1 << 21));
    }
    ledger.finish_save(&mut state).expect("memory");
    dead.sort_unstable();
    dead.dedup();
    assert!(dead.len() > 30);
    let loaded = loaded(&state, MAX_MEMORY);
    assert_known(&loaded, rel(1), RANGES * 32, &dead);
}

#[test]
fn clean_ranges_are_shown_when_there_is_room() {
    let sink = Full {
        rels: 1,
        room: RANGES as usize / 2,
        ..Full::default()
    };
    let mut ledger = Ledger::new(config(), sink);
    apply(&mut ledger, &create(1, 90));
    for blkno in 0..RANGES * 32 {
        apply(&mut ledger, &fill(rel(1), blkno, 2, 100));
    }
    apply(&mut ledger, &running(800));
    let stats = ledger.stats();
    assert!(stats.ranges_cleaned > 0);
    assert_eq!(stats.unpublished_relations, 1);
    ledger.sink_mut().room = RANGES as usize;
    apply(&mut ledger, &running(800));
    assert_eq!(ledger.stats().unpublished_relations, 0);
    let shown = &ledger.sink().inner.get(rel(1)).expect("the table").ranges;
    assert_eq!(shown.len() as u32, RANGES);
    assert!(shown.values().all(|counts| counts.first_unknown == 32));
}
