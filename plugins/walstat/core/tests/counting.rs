//! What counts where, record by record.

mod common;

use common::*;
use walker_wal::RmgrId;
use walker_wal::raw::RecordBuilder;
use walstat_core::{Counters, MIN_ENTRIES, Owner, RecordType};

#[test]
fn images_belong_to_their_relation_and_the_rest_to_the_first() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let record = RecordBuilder::new(RmgrId::BTREE, 0x30)
        .xid(700)
        .block(block(0, 1).image(image(300)))
        .block(block(1, 2).image(image(500)))
        .block(block(2, 2))
        .main_data(&[0; 9]);
    let (len, fpi) = apply(&mut ledger, &record);
    assert_eq!(fpi, 800);
    let first = of(&area, relation(5, 1));
    let expected = Counters {
        records: 1,
        bytes: len - 500,
        fpi_bytes: 300,
        aborted_bytes: 0,
    };
    assert_eq!(first, expected);
    let second = of(&area, relation(5, 2));
    assert_eq!(
        (second.records, second.bytes, second.fpi_bytes),
        (0, 500, 500)
    );

    // Its abort makes both shares waste, and the abort record as well.
    let (abort, _) = apply(&mut ledger, &end(false, 700, &[], &[]));
    assert_eq!(of(&area, relation(5, 1)).aborted_bytes, len - 500);
    assert_eq!(of(&area, relation(5, 2)).aborted_bytes, 500);
    assert_eq!(of(&area, Owner::Nobody).aborted_bytes, abort);
    assert_eq!(sum(&area).bytes, len + abort);
}

#[test]
fn only_what_aborted_is_wasted() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    // 700 commits with 701; 702, a subtransaction of it, was rolled back.
    let mut wasted = 0;
    for xid in [700, 701, 702, 700] {
        let (len, _) = apply(&mut ledger, &insert(xid, 1));
        wasted += if xid == 702 { len } else { 0 };
    }
    wasted += apply(&mut ledger, &end(false, 702, &[], &[])).0;
    apply(&mut ledger, &end(true, 700, &[701], &[]));
    assert_eq!(sum(&area).aborted_bytes, wasted);
    assert_eq!(ledger.status().open_transactions, 0);

    // A parent takes its children along.
    wasted += apply(&mut ledger, &insert(710, 1)).0;
    wasted += apply(&mut ledger, &insert(711, 2)).0;
    wasted += apply(&mut ledger, &end(false, 710, &[711], &[])).0;
    assert_eq!(sum(&area).aborted_bytes, wasted);
}

#[test]
fn a_crash_aborts_what_is_not_prepared() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let (lost, _) = apply(&mut ledger, &insert(700, 1));
    apply(&mut ledger, &insert(701, 1));
    apply(&mut ledger, &insert(702, 1));
    apply(&mut ledger, &prepare(701, &[702]));
    assert_eq!(ledger.status().open_transactions, 3);
    // The checkpoint at the end of recovery is a shutdown checkpoint.
    apply(&mut ledger, &shutdown_checkpoint());
    assert_eq!(sum(&area).aborted_bytes, lost);
    assert_eq!(ledger.status().open_transactions, 2);
}

#[test]
fn running_transactions_tell_of_lost_ones() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let (lost, _) = apply(&mut ledger, &insert(700, 1));
    apply(&mut ledger, &insert(705, 1));
    apply(&mut ledger, &running(705));
    assert_eq!(sum(&area).aborted_bytes, lost);
    assert_eq!(ledger.status().open_transactions, 1);
}

#[test]
fn the_dropped_are_summed_up() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    for rel in [1, 2, 3] {
        apply(&mut ledger, &insert(700, rel));
    }
    let (len, _) = apply(&mut ledger, &insert(701, 3));
    apply(&mut ledger, &end(true, 700, &[], &[1, 2]));
    let dropped = of(&area, Owner::Dropped(5));
    assert_eq!((dropped.records, dropped.bytes), (2, 2 * len));
    assert_eq!(of(&area, relation(5, 1)), Counters::default());
    assert_eq!(of(&area, relation(5, 3)).records, 2);

    // What an open transaction wrote in a relation that goes away is still
    // waste when it aborts, wherever it is counted.
    let before = sum(&area);
    apply(&mut ledger, &drop_database());
    assert_eq!(of(&area, Owner::Dropped(5)), Counters::default());
    assert_eq!(of(&area, Owner::Dropped(0)).records, 4);
    let (drop, _) = apply(&mut ledger, &drop_database());
    let (abort, _) = apply(&mut ledger, &end(false, 701, &[], &[]));
    let after = sum(&area);
    assert_eq!(after.bytes, before.bytes + 2 * drop + abort);
    assert_eq!(after.aborted_bytes, len + abort);
}

#[test]
fn a_full_table_overflows_by_type() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let mut total = 0;
    for rel in 0..10_000 {
        total += apply(&mut ledger, &insert(700, rel)).0;
    }
    let other = of(&area, Owner::Other);
    assert!(other.records > 9_000, "{other:?}");
    let insert = RecordType::new(RmgrId::HEAP, 0);
    assert!(rows(&area).keys().all(|k| k.record_type == insert));
    assert_eq!((sum(&area).records, sum(&area).bytes), (10_000, total));
    assert!(ledger.status().entries <= MIN_ENTRIES as u64);

    // Dropping makes room again.
    let rels: Vec<u32> = (0..10_000).collect();
    apply(&mut ledger, &end(true, 700, &[], &rels));
    assert_eq!(of(&area, Owner::Dropped(5)).records + other.records, 10_000);
    apply(&mut ledger, &common::insert(701, 77));
    assert_eq!(of(&area, relation(5, 77)).records, 1);

    // A record of every type of every resource manager: nothing is lost.
    let before = sum(&area).records;
    for rmid in 0..=255 {
        for op in 0..16 {
            apply(
                &mut ledger,
                &RecordBuilder::new(RmgrId(rmid), op << 4).main_data(&[0]),
            );
        }
    }
    assert_eq!(sum(&area).records, before + 4096);
}

#[test]
fn after_a_gap_nobody_knows() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let (len, _) = apply(&mut ledger, &insert(700, 1));
    ledger.gap();
    let (abort, _) = apply(&mut ledger, &end(false, 700, &[], &[]));
    assert_eq!(sum(&area).aborted_bytes, abort);
    let status = ledger.status();
    assert_eq!((status.gaps, status.untracked_bytes), (1, len));
}

#[test]
fn malformed_records_are_counted() {
    let area = area(MIN_ENTRIES);
    let mut ledger = ledger(&area, MIN_ENTRIES);
    let (one, _) = apply(&mut ledger, &insert(700, 1));
    let short = RecordBuilder::new(RmgrId::XACT, 0x00)
        .xid(700)
        .main_data(&[1]);
    let (two, _) = apply(&mut ledger, &short);
    let status = ledger.status();
    assert_eq!((status.malformed_records, status.open_transactions), (1, 0));
    assert_eq!((sum(&area).records, sum(&area).bytes), (2, one + two));
}
