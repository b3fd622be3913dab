//! The map against a model, against a writer at work, and against areas no
//! writer wrote.

mod concurrent;
mod faults;

use super::layout::*;
use super::*;
use crate::{RangeCounts, Sink};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::*};
use walker_wal::RelFileLocator;

const WIDTH: u32 = 32;

fn area(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

fn loc(n: u32) -> RelFileLocator {
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 5,
        rel_number: n,
    }
}

fn counts(dead: u16) -> RangeCounts {
    RangeCounts {
        dead,
        items: dead / 2,
        tuples: Some(dead),
        first_unknown: WIDTH as u8,
    }
}

const EMPTY: RangeCounts = RangeCounts {
    dead: 0,
    items: 0,
    tuples: Some(0),
    first_unknown: WIDTH as u8,
};

#[derive(Clone, Debug)]
enum Op {
    Open(u32),
    Publish(u32, u32, u16),
    KnownFrom(u32, Option<u32>),
    Truncate(u32, u32),
    Close(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let rel = 0..12u32;
    let range = prop_oneof![0..12u32, 0..700u32, any::<u32>()];
    prop_oneof![
        2 => rel.clone().prop_map(Op::Open),
        8 => (rel.clone(), range.clone(), 0..500u16).prop_map(|(r, n, d)| Op::Publish(r, n, d)),
        1 => (rel.clone(), any::<Option<u16>>()).prop_map(|(r, k)| Op::KnownFrom(r, k.map(u32::from))),
        1 => (rel.clone(), range).prop_map(|(r, n)| Op::Truncate(r, n)),
        1 => rel.prop_map(Op::Close),
    ]
}

#[derive(Default)]
struct Model {
    handle: Option<RelHandle>,
    known_from: Option<u32>,
    overflowed: bool,
    ranges: BTreeMap<u32, RangeCounts>,
}

impl Model {
    fn state(&self, rangeno: u32) -> RangeState {
        let known = |k: u32| u64::from(k) <= u64::from(rangeno) * u64::from(WIDTH);
        match self.ranges.get(&rangeno) {
            _ if self.overflowed => RangeState::Unknown,
            Some(c) => RangeState::Counts(*c),
            None if self.known_from.is_some_and(known) => RangeState::Counts(EMPTY),
            None => RangeState::Unknown,
        }
    }
}

fn check(reader: &MapReader<'_>, models: &[Model], range_limit: u32) {
    for (i, model) in models.iter().enumerate() {
        let Some(rel) = reader.find(loc(i as u32)) else {
            assert!(model.handle.is_none(), "relation {i} is not found");
            continue;
        };
        assert!(model.handle.is_some(), "relation {i} is found");
        assert_eq!(rel.overflowed(), model.overflowed);
        let mut sum = Totals {
            tuples: Some(0),
            ..Totals::default()
        };
        for (rangeno, got) in (0..range_limit).zip(rel.ranges()) {
            assert_eq!(rel.range(rangeno), got, "alone");
            assert_eq!(got, model.state(rangeno), "relation {i} range {rangeno}");
            match got {
                RangeState::Unknown => {
                    sum.unknown_blocks += u64::from(WIDTH);
                    sum.inexact_blocks += u64::from(WIDTH);
                    sum.tuples = None;
                }
                RangeState::Counts(c) => {
                    sum.dead += u64::from(c.dead);
                    sum.items += u64::from(c.items);
                    if (c.dead, c.items, c.first_unknown) == (0, 0, 0) {
                        sum.unknown_blocks += u64::from(WIDTH);
                    }
                    sum.tuples = sum.tuples.zip(c.tuples).map(|(s, n)| s + u64::from(n));
                }
            }
        }
        assert_eq!(rel.totals(range_limit * WIDTH), sum);
    }
    let found = reader.relations().count();
    assert_eq!(found, models.iter().filter(|m| m.handle.is_some()).count());
    assert_eq!(reader.facts().relations, found as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 100 }, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_model(ops in prop::collection::vec(op(), 1..120), pages in 1usize..40) {
        let area = area(MIN_WORDS + 600 + pages * PAGE_WORDS);
        let mut writer = MapWriter::init(&area, WIDTH).unwrap();
        let room = Layout::of(area.len()).unwrap().entries as usize;
        let mut models: Vec<Model> = (0..12).map(|_| Model::default()).collect();
        for op in ops {
            match op {
                Op::Open(r) => {
                    let used = models.iter().filter(|m| m.handle.is_some()).count();
                    let model = &mut models[r as usize];
                    let got = writer.open(loc(r));
                    match model.handle {
                        Some(_) => prop_assert_eq!(got, model.handle),
                        None => {
                            prop_assert_eq!(got.is_some(), used < room);
                            *model = Model { handle: got, ..Model::default() };
                        }
                    }
                }
                Op::Publish(r, n, d) => {
                    let model = &mut models[r as usize];
                    let Some(handle) = model.handle else { continue };
                    if writer.publish(handle, n, counts(d)) {
                        prop_assert!(!model.overflowed);
                        model.ranges.insert(n, counts(d));
                    } else {
                        model.overflowed = true;
                    }
                }
                Op::KnownFrom(r, k) => {
                    let model = &mut models[r as usize];
                    let Some(handle) = model.handle else { continue };
                    writer.set_known_from(handle, k);
                    model.known_from = k;
                }
                Op::Truncate(r, n) => {
                    let model = &mut models[r as usize];
                    let Some(handle) = model.handle else { continue };
                    writer.truncate(handle, n);
                    model.ranges.split_off(&n);
                }
                Op::Close(r) => {
                    let Some(handle) = models[r as usize].handle.take() else { continue };
                    writer.close(handle);
                    // A handle left over does no harm to whoever comes next.
                    prop_assert!(!writer.publish(handle, 0, counts(1)));
                    writer.truncate(handle, 0);
                    writer.close(handle);
                }
            }
        }
        check(&MapReader::open(&area).unwrap(), &models, 750);
        for model in &mut models {
            if let Some(handle) = model.handle.take() {
                writer.close(handle);
            }
        }
        let reader = MapReader::open(&area).unwrap();
        check(&reader, &models, 0);
        prop_assert_eq!(reader.facts().pages_used, 0);
        prop_assert_eq!(reader.facts().overflowed, 0);
    }

    #[test]
    fn hostile_areas_are_survived(
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0..40u64, (0..40u64).prop_map(|n| n << 32 | n)], MIN_WORDS + 400),
        formatted in any::<bool>(),
    ) {
        let area: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
        area[H_MAGIC].store(MAGIC, Relaxed);
        area[H_EPOCH].store(2, Relaxed);
        area[H_RANGE_BLOCKS].store(u64::from(WIDTH), Relaxed);
        if formatted {
            let layout = Layout::of(area.len()).unwrap();
            for entry in 0..layout.entries {
                area[layout.entry_word(entry, E_SEQ)].store(4, Relaxed);
            }
        }
        if let Some(reader) = MapReader::open(&area) {
            for rel in reader.relations() {
                let _ = rel.ranges().take(5000).count();
                let _ = rel.totals(u32::MAX);
                let _ = reader.find(rel.locator());
            }
            let _ = (reader.find(loc(7)), reader.status(), reader.facts());
        }
        // The writer takes over whatever it finds.
        let mut writer = MapWriter::init(&area, WIDTH).unwrap();
        let handle = writer.open(loc(1)).unwrap();
        prop_assert!(writer.publish(handle, 20, counts(9)));
        let reader = MapReader::open(&area).unwrap();
        let got = reader.find(loc(1)).unwrap().ranges().nth(20).unwrap();
        prop_assert_eq!(got, RangeState::Counts(counts(9)));
    }
}

#[test]
fn areas_without_a_map_are_refused() {
    assert!(MapReader::open(&area(0)).is_none());
    assert!(MapReader::open(&area(MIN_WORDS)).is_none());
    assert!(MapWriter::init(&area(MIN_WORDS - 1), WIDTH).is_none());
    assert!(MapWriter::init(&area(MIN_WORDS), 0).is_none());
    assert!(MapWriter::init(&area(MIN_WORDS), 129).is_none());
    assert!(MapWriter::init(&area(MIN_WORDS), 128).is_some());
}

#[test]
fn layout_stays_in_the_area() {
    for words in (MIN_WORDS..20_000).step_by(7).chain([6 << 20, 1 << 30]) {
        let layout = Layout::of(words).unwrap();
        assert!(layout.entries as usize * 2 == layout.dir_slots);
        let end = match layout.pages {
            0 => layout.entry_word(layout.entries - 1, ENTRY_WORDS - 1),
            pages => layout.page_word(pages - 1, PAGE_WORDS - 1),
        };
        assert!(end < words, "{words} words: {layout:?}");
    }
}
