//! A ledger, records for it, and who answers its questions.

use std::collections::HashMap;

use garbagemap_core::{Config, Ledger, Oracle, XidStatus};
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::{Lsn, Major, RelFileLocator, RmgrId};

use crate::limits::{Fake, apply, create, delete, end, fill, rel};
use crate::sim::page::{Lp, Page, Tuple};
use crate::sim::sink::TestSink;

/// Says what it was told, and that it knows nothing else.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) xids: HashMap<u32, XidStatus>,
    pub(crate) multis: HashMap<u32, u32>,
}

impl Told {
    pub(crate) fn of(list: &[(u32, XidStatus)]) -> Told {
        Told {
            xids: list.iter().copied().collect(),
            ..Told::default()
        }
    }
}

impl Oracle for Told {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        *self.xids.get(&xid).unwrap_or(&XidStatus::Unknown)
    }

    fn multixact_updater(&mut self, mxid: u32) -> Option<u32> {
        self.multis.get(&mxid).copied()
    }
}

pub(crate) fn ledger() -> Ledger<TestSink> {
    Ledger::new(Config::default(), TestSink::default())
}

/// Apply a record with the answers of `told`.
pub(crate) fn feed(
    ledger: &mut Ledger<TestSink>,
    record: RecordBuilder,
    lsn: u64,
    told: &mut Told,
) {
    read(ledger, record, lsn, told);
    ledger.publish(None);
}

/// The same in mid-batch: changes may wait for the end of their transaction.
pub(crate) fn read(
    ledger: &mut Ledger<TestSink>,
    record: RecordBuilder,
    lsn: u64,
    told: &mut Told,
) {
    let bytes = record.build();
    let mut decoder = Decoder::new();
    let rec = decoder.decode(&bytes, Lsn(lsn - 1), Lsn(lsn)).unwrap();
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    let result = ledger.apply(Major::V17, &rec, told, &mut restore);
    assert_eq!(result, Ok(()));
}

pub(crate) fn spec(number: u32, blkno: u32) -> BlockSpec {
    let RelFileLocator {
        spc_oid,
        db_oid,
        rel_number,
    } = rel(number);
    BlockSpec::new(0, (spc_oid, db_oid, rel_number), blkno)
}

pub(crate) fn tuple(xmin: u32, xmax: u32, infomask: u16) -> Lp {
    Lp::Normal(Tuple {
        xmin,
        xmax,
        infomask,
        heap_only: false,
        next: None,
    })
}

/// A hint-bit image of a page.
pub(crate) fn hint_image(number: u32, blkno: u32, lps: Vec<Lp>) -> RecordBuilder {
    let page = Page { lsn: 1, lps };
    let image = ImageSpec::of_page(&page.bytes());
    RecordBuilder::new(RmgrId::XLOG, 0xA0).block(spec(number, blkno).image(image))
}

pub(crate) fn dead(ledger: &Ledger<TestSink>, number: u32, blkno: u32) -> Option<Vec<u16>> {
    ledger.block(rel(number), blkno).map(|view| view.dead)
}

/// A relation with a page of ten tuples, the first two of them dead.
pub(crate) fn with_garbage() -> Ledger<TestSink> {
    let mut ledger = ledger();
    apply(&mut ledger, &create(1, 10));
    apply(&mut ledger, &fill(rel(1), 0, 10, 20));
    for off in [1, 2] {
        apply(&mut ledger, &delete(rel(1), 0, off, 800, 30));
    }
    apply(&mut ledger, &end(800, true, 40));
    assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2]));
    ledger
}

pub(crate) fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

pub(crate) fn main_only(rmid: RmgrId, info: u8, main: Vec<u8>, lsn: u64) -> Fake {
    Fake {
        rmid: rmid.0,
        info,
        main,
        lsn,
        ..Fake::default()
    }
}
