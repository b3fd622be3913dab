//! No room, a writer that died, a chain nobody wrote.

use super::super::word::pack_link;
use super::super::writer::begin;
use super::*;

#[test]
fn no_room_reads_as_unknown() {
    let area = area(MIN_WORDS + 3 * PAGE_WORDS);
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let (a, b) = (writer.open(loc(1)).unwrap(), writer.open(loc(2)).unwrap());
    writer.set_known_from(b, Some(0));
    assert!(writer.publish(a, 100, counts(1)));
    let mut rangeno = 0;
    while writer.publish(b, rangeno, counts(2)) {
        rangeno += 1;
        assert!(rangeno < 1000);
    }
    assert!(!writer.publish(b, 0, counts(3)));
    let reader = MapReader::open(&area).unwrap();
    let rel = reader.find(loc(2)).unwrap();
    assert!(rel.overflowed());
    assert!(rel.ranges().take(500).all(|r| r == RangeState::Unknown));
    assert_eq!(rel.totals(10).unknown_blocks, 10);
    assert_eq!(reader.facts().overflowed, 1);
    // The other relation keeps its page and may have the freed ones.
    assert!(writer.publish(a, 200, counts(4)));
    let got: Vec<_> = reader.find(loc(1)).unwrap().ranges().take(201).collect();
    assert_eq!(got[100], RangeState::Counts(counts(1)));
    assert_eq!(got[200], RangeState::Counts(counts(4)));
    // After a truncation to nothing it is still unknown; a new one is not.
    writer.truncate(b, 0);
    assert!(!writer.publish(b, 0, counts(3)));
    writer.close(b);
    let b = writer.open(loc(2)).unwrap();
    assert!(writer.publish(b, 0, counts(3)));
}

#[test]
fn a_writer_that_died_makes_unknown() {
    let area = area(MIN_WORDS + 40 * PAGE_WORDS);
    let layout = Layout::of(area.len()).unwrap();
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let rel = writer.open(loc(1)).unwrap();
    for rangeno in 0..200 {
        assert!(writer.publish(rel, rangeno, counts(5)));
    }
    let other = writer.open(loc(2)).unwrap();
    assert!(writer.publish(other, 0, counts(6)));

    // In the middle of a read.
    let reader = MapReader::open(&area).unwrap();
    let map = reader.find(loc(1)).unwrap();
    let mut ranges = map.ranges();
    assert_eq!(ranges.next(), Some(RangeState::Counts(counts(5))));
    begin(&area[layout.entry_word(0, E_SEQ)]);
    assert_eq!(ranges.nth(150), Some(RangeState::Unknown));
    assert_eq!(ranges.next(), Some(RangeState::Unknown));
    // Before a read.
    assert!(reader.find(loc(1)).is_none());
    let others = reader.find(loc(2)).unwrap().ranges().next();
    assert_eq!(others, Some(RangeState::Counts(counts(6))));
    // In the directory: what is found is right, what is not is unknown.
    begin(&area[H_DIR_SEQ]);
    let reader = MapReader::open(&area).unwrap();
    assert!(reader.find(loc(2)).is_some());
    assert!(reader.find(loc(3)).is_none());
    // While formatting.
    begin(&area[H_EPOCH]);
    assert!(reader.find(loc(2)).is_none());
    assert!(MapReader::open(&area).is_none());
    // The next writer sets all of it right.
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let rel = writer.open(loc(1)).unwrap();
    assert!(writer.publish(rel, 3, counts(8)));
    assert!(
        reader.find(loc(1)).is_none(),
        "a reader of the old map sees the new one"
    );
    let reader = MapReader::open(&area).unwrap();
    let got: Vec<_> = reader.find(loc(1)).unwrap().ranges().take(5).collect();
    assert_eq!(got[3], RangeState::Counts(counts(8)));
    assert_eq!(got[0], RangeState::Unknown);
}

#[test]
fn a_broken_chain_ends() {
    let area = area(MIN_WORDS + 40 * PAGE_WORDS);
    let layout = Layout::of(area.len()).unwrap();
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let rel = writer.open(loc(1)).unwrap();
    writer.set_known_from(rel, Some(0));
    for rangeno in 0..300 {
        assert!(writer.publish(rel, rangeno, counts(5)));
    }
    for link in [
        pack_link(Some(0), 2),
        pack_link(Some(u32::MAX - 1), 2),
        u64::MAX,
        0,
    ] {
        area[layout.page_word(2, 0)].store(link, Relaxed);
        let reader = MapReader::open(&area).unwrap();
        let map = reader.find(loc(1)).unwrap();
        let unknown = map
            .ranges()
            .take(300)
            .filter(|r| *r == RangeState::Unknown)
            .count();
        assert!(unknown > 0 || link == u64::MAX, "link {link:x}");
        assert!(!map.totals(300 * WIDTH).exact() || link == u64::MAX);
    }
}

#[test]
fn status_is_whole_or_nothing() {
    let area = area(MIN_WORDS);
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let status = MapStatus {
        dead_tuples: 3,
        unknown_records: 9,
        ..MapStatus::default()
    };
    writer.set_status(&status);
    let reader = MapReader::open(&area).unwrap();
    assert_eq!(reader.status(), Some(status));
    begin(&area[STATUS_AT]);
    assert_eq!(reader.status(), None);
}
