//! The state: there and back, and bytes that are none.

mod common;

use common::*;
use proptest::prelude::*;
use walker_wal::Lsn;
use walstat_core::{Counters, LoadError, MIN_ENTRIES, Table, TableReader};

#[test]
fn there_and_back() {
    let before = area(MIN_ENTRIES);
    let mut ledger = ledger(&before, MIN_ENTRIES);
    for xid in 700..720 {
        apply(&mut ledger, &insert(xid, xid % 7));
    }
    apply(&mut ledger, &prepare(701, &[702]));
    apply(&mut ledger, &end(false, 703, &[], &[]));
    let state = ledger.save();

    let after = area(4 * MIN_ENTRIES);
    let mut again = common::ledger(&after, 4 * MIN_ENTRIES);
    again.load(&state).expect("its own state");
    assert_eq!(rows(&after), rows(&before));
    assert_eq!(
        again.status().open_transactions,
        ledger.status().open_transactions
    );
    assert_eq!(again.status().counted_from, 0x0100_0028);

    // Both go on alike, prepared transactions and all.
    for ledger in [&mut ledger, &mut again] {
        apply(ledger, &shutdown_checkpoint());
        apply(ledger, &end(false, 701, &[702], &[]));
    }
    assert_eq!(rows(&after), rows(&before));
    assert_eq!(again.status().open_transactions, 0);
}

#[test]
fn waste_in_a_dropped_relation_is_kept() {
    let before = area(MIN_ENTRIES);
    let mut ledger = ledger(&before, MIN_ENTRIES);
    let (len, _) = apply(&mut ledger, &insert(700, 1));
    // Another transaction drops it, and its slot gets a new owner.
    apply(&mut ledger, &end(true, 701, &[], &[1]));
    apply(&mut ledger, &insert(702, 2));
    let state = ledger.save();
    let after = area(MIN_ENTRIES);
    let mut again = common::ledger(&after, MIN_ENTRIES);
    again.load(&state).expect("its own state");
    let (abort, _) = apply(&mut again, &end(false, 700, &[], &[]));
    assert_eq!(sum(&after).aborted_bytes, len + abort);
    assert_eq!(of(&after, relation(5, 2)).aborted_bytes, 0);
}

#[test]
fn a_smaller_table_overflows() {
    let before = area(8 * MIN_ENTRIES);
    let mut ledger = ledger(&before, 8 * MIN_ENTRIES);
    for rel in 0..5000 {
        apply(&mut ledger, &insert(700, rel));
    }
    let state = ledger.save();
    let after = area(MIN_ENTRIES);
    let mut again = common::ledger(&after, 8 * MIN_ENTRIES);
    again.load(&state).expect("its own state");
    assert_eq!(sum(&after), sum(&before));
    apply(&mut again, &end(false, 700, &[], &[]));
    apply(&mut ledger, &end(false, 700, &[], &[]));
    assert_eq!(sum(&after), sum(&before));
}

#[test]
fn a_reset_clears_and_counts_on() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    for rel in 0..10 {
        apply(&mut ledger, &insert(700, rel));
    }
    assert!(!ledger.reset_pending());
    TableReader::open(&area).expect("a table").request_reset();
    assert!(ledger.reset_pending());
    ledger.reset(Lsn(0x0200_0000));
    assert!(!ledger.reset_pending());
    assert_eq!(sum(&area), Counters::default());
    let status = TableReader::open(&area).expect("a table").status();
    assert_eq!((status.counted_from, status.entries), (0x0200_0000, 1));
    let (len, _) = apply(&mut ledger, &insert(700, 3));
    let (abort, _) = apply(&mut ledger, &end(false, 700, &[], &[]));
    assert_eq!(sum(&area).aborted_bytes, len + abort);

    // A reset nobody served yet outlives a restart of the worker.
    TableReader::open(&area).expect("a table").request_reset();
    assert!(common::ledger(&area, MIN_ENTRIES).reset_pending());
}

#[test]
fn an_area_too_small_is_refused() {
    assert!(Table::init(&area(MIN_ENTRIES - 1)).is_none());
    assert!(TableReader::open(&area(MIN_ENTRIES)).is_none(), "garbage");
    assert!(TableReader::open(&[]).is_none());
}

#[test]
fn other_versions_are_refused() {
    let area = area(MIN_ENTRIES);
    let mut state = ledger(&area, MIN_ENTRIES).save();
    state.push(0);
    assert_eq!(
        ledger(&area, MIN_ENTRIES).load(&state),
        Err(LoadError::Invalid("length"))
    );
    state.pop();
    state[0] += 1;
    assert_eq!(
        ledger(&area, MIN_ENTRIES).load(&state),
        Err(LoadError::Version)
    );
    assert_eq!(
        ledger(&area, MIN_ENTRIES).load(&[]),
        Err(LoadError::Malformed)
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes: Vec<u8>) {
        let area = area(MIN_ENTRIES);
        let _ = ledger(&area, MIN_ENTRIES).load(&bytes);
        bytes.insert(0, 1);
        let _ = ledger(&area, MIN_ENTRIES).load(&bytes);
    }

    #[test]
    fn no_damage_panics(at in 0usize..10_000, with: u8, cut in 0usize..10_000) {
        let area = area(MIN_ENTRIES);
        let mut ledger = ledger(&area, MIN_ENTRIES);
        for xid in 700..720 {
            apply(&mut ledger, &insert(xid, xid));
        }
        let mut state = ledger.save();
        let len = state.len();
        state[at % len] = with;
        if cut % 3 == 0 {
            state.truncate(cut % len);
        }
        let mut again = common::ledger(&area, MIN_ENTRIES);
        let _ = again.load(&state);
        // Whatever was made of it, counting goes on.
        apply(&mut again, &end(false, 700, &[701], &[702]));
    }
}
