//! Any records, one after another, into one ledger: it never grows beyond its
//! limit, and accounts for all it holds.
#![no_main]

use garbagemap_core::map::{MIN_WORDS, MapWriter};
use garbagemap_core::{Config, Ledger, Oracle, XidStatus};
use std::sync::atomic::AtomicU64;
use walker_wal::raw::{BlockSpec, Decoder, RecordBuilder};
use walker_wal::{Lsn, Major, RmgrId};

/// Answers anything, but always the same.
struct Noise(u8);

impl Oracle for Noise {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        match (xid as u8 ^ self.0) & 3 {
            0 => XidStatus::Committed,
            1 => XidStatus::Aborted,
            2 => XidStatus::InProgress,
            _ => XidStatus::Unknown,
        }
    }
}

/// The bytes that are left; zeroes behind the last.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn some(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(n);
        self.0 = rest;
        some
    }
}

const RMGRS: [RmgrId; 9] = [
    RmgrId::HEAP,
    RmgrId::HEAP2,
    RmgrId::XACT,
    RmgrId::XLOG,
    RmgrId::SMGR,
    RmgrId::DBASE,
    RmgrId::TBLSPC,
    RmgrId::STANDBY,
    RmgrId::MULTIXACT,
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut data = Bytes(data);
    let major = [Major::V15, Major::V16, Major::V17, Major::V18][usize::from(data.byte() % 4)];
    let mut oracle = Noise(data.byte());
    let max_memory = 1usize << (12 + data.byte() % 10);
    let config = Config {
        range_blocks: 4,
        max_memory,
        ..Config::default()
    };
    let area: &'static [AtomicU64] = {
        // One for all runs: formatted anew by each.
        static AREA: std::sync::OnceLock<Vec<AtomicU64>> = std::sync::OnceLock::new();
        AREA.get_or_init(|| (0..MIN_WORDS * 2).map(|_| AtomicU64::new(0)).collect())
    };
    let Some(writer) = MapWriter::init(area, config.range_blocks) else {
        return;
    };
    let mut ledger = Ledger::new(config, writer);
    let mut decoder = Decoder::new();
    let mut lsn = Lsn(1 << 20);
    while !data.0.is_empty() {
        let what = data.byte();
        let rmid = RMGRS[usize::from(what) % RMGRS.len()];
        let (info, xid) = (data.byte(), 700 + u32::from(data.byte() % 32));
        let mut record = RecordBuilder::new(rmid, info)
            .xid(xid)
            .main_data(data.some());
        for id in 0..data.byte() % 3 {
            let place = data.byte();
            let locator = (1663, 5, 16384 + u32::from(place >> 6));
            let mut block = BlockSpec::new(id, locator, u32::from(place & 15)).data(data.some());
            if place & 16 != 0 {
                block = block.will_init();
            }
            record = record.block(block);
        }
        let bytes = record.build();
        let end = Lsn(lsn.0 + bytes.len() as u64);
        if let Ok(record) = decoder.decode(&bytes, lsn, end) {
            let mut restore = |_: u8, _: &mut garbagemap_core::Page| false;
            let _ = ledger.apply(major, &record, &mut oracle, &mut restore);
            assert!(ledger.stats().memory_used <= max_memory as u64);
        }
        lsn = end;
    }
    ledger.mark_all_unknown();
    assert_eq!(ledger.stats().memory_used, 0);
});
