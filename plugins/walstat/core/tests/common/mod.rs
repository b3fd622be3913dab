//! Records to count, and where to count them.
#![allow(dead_code, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use walker_wal::raw::{BlockSpec, Decoder, FlatRecord, ImageSpec, RecordBuilder};
use walker_wal::{Lsn, Major, Record, RmgrId};
use walstat_core::{Counters, Key, Ledger, Owner, Table, TableReader, area_bytes};

pub const V: Major = Major::V17;

/// An area for so many entries.
pub fn area(entries: usize) -> Vec<AtomicU64> {
    (0..area_bytes(entries) / 8)
        .map(|_| AtomicU64::new(0xDEAD_BEEF_0BAD_CAFE))
        .collect()
}

pub fn ledger(area: &[AtomicU64], max_entries: usize) -> Ledger<'_> {
    Ledger::new(Table::init(area).expect("room"), max_entries)
}

pub fn rows(area: &[AtomicU64]) -> BTreeMap<Key, Counters> {
    let rows = TableReader::open(area).expect("a table").rows();
    let counted = rows
        .into_iter()
        .filter(|r| r.counters != Counters::default());
    counted.map(|r| (r.key, r.counters)).collect()
}

pub fn sum(area: &[AtomicU64]) -> Counters {
    rows(area)
        .values()
        .fold(Counters::default(), |a, b| Counters {
            records: a.records + b.records,
            bytes: a.bytes + b.bytes,
            fpi_bytes: a.fpi_bytes + b.fpi_bytes,
            aborted_bytes: a.aborted_bytes + b.aborted_bytes,
        })
}

/// Of an owner, over all its record types.
pub fn of(area: &[AtomicU64], owner: Owner) -> Counters {
    let mine = rows(area).into_iter().filter(|(k, _)| k.owner == owner);
    mine.fold(Counters::default(), |a, (_, b)| Counters {
        records: a.records + b.records,
        bytes: a.bytes + b.bytes,
        fpi_bytes: a.fpi_bytes + b.fpi_bytes,
        aborted_bytes: a.aborted_bytes + b.aborted_bytes,
    })
}

/// Counts a record, as it stands if it can be taken so; its length and that of
/// its images.
pub fn apply(ledger: &mut Ledger<'_>, record: &RecordBuilder) -> (u64, u64) {
    let bytes = record.build();
    let (lsn, end_lsn) = (Lsn(0x0100_0028), Lsn(0x0100_0100));
    let mut decoder = Decoder::new();
    let record = decoder.decode(&bytes, lsn, end_lsn).expect("a record");
    let _ = match FlatRecord::new(&bytes, lsn, end_lsn) {
        Some(flat) => ledger.apply(V, &flat),
        None => ledger.apply(V, &record),
    };
    (u64::from(record.total_len()), u64::from(record.fpi_len()))
}

pub fn relation(db: u32, rel: u32) -> Owner {
    Owner::Relation(walker_wal::RelFileLocator {
        spc_oid: 1663,
        db_oid: db,
        rel_number: rel,
    })
}

pub fn block(id: u8, rel: u32) -> BlockSpec {
    BlockSpec::new(id, (1663, 5, rel), 0).data(&[id; 20])
}

/// An image of so many bytes.
pub fn image(len: u16) -> ImageSpec {
    ImageSpec::stored(&vec![1; len.into()], 100, 8192 - len, 0x01 | 0x02)
}

/// A heap insertion, more or less.
pub fn insert(xid: u32, rel: u32) -> RecordBuilder {
    let record = RecordBuilder::new(RmgrId::HEAP, 0x00).xid(xid);
    record.block(block(0, rel)).main_data(&[1, 0, 0])
}

fn le(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A commit or abort record with subtransactions and dropped relations of
/// database 5.
pub fn end(commit: bool, xid: u32, subxacts: &[u32], rels: &[u32]) -> RecordBuilder {
    let op = if commit { 0x00 } else { 0x20 };
    let mut data = vec![0; 8];
    let mut xinfo = 0;
    let mut chunks = Vec::new();
    if !subxacts.is_empty() {
        xinfo |= 1 << 1;
        chunks.extend(le(&[subxacts.len() as u32]));
        chunks.extend(le(subxacts));
    }
    if !rels.is_empty() {
        xinfo |= 1 << 2;
        chunks.extend(le(&[rels.len() as u32]));
        rels.iter().for_each(|r| chunks.extend(le(&[1663, 5, *r])));
    }
    data.extend(le(&[xinfo]));
    data.extend(chunks);
    RecordBuilder::new(RmgrId::XACT, op | 0x80)
        .xid(xid)
        .main_data(&data)
}

/// `XLOG_RUNNING_XACTS`, of which only the oldest matters here.
pub fn running(oldest: u32) -> RecordBuilder {
    let mut data = le(&[0, 0, 0]);
    data.extend(le(&[oldest + 1, oldest, oldest - 1]));
    RecordBuilder::new(RmgrId::STANDBY, 0x10).main_data(&data)
}

/// `XLOG_DBASE_DROP` of database 5 in the default tablespace.
pub fn drop_database() -> RecordBuilder {
    RecordBuilder::new(RmgrId::DBASE, 0x20).main_data(&le(&[5, 1, 1663]))
}

/// `XLOG_XACT_PREPARE`.
pub fn prepare(xid: u32, subxacts: &[u32]) -> RecordBuilder {
    let mut data = le(&[0, 0, xid, 5, 0, 0, 10]);
    data.extend(le(&[subxacts.len() as u32, 0, 0, 0, 0, 0]));
    data.extend([0, 0]);
    data.extend(2u16.to_le_bytes());
    data.extend([0; 16]);
    // Each chunk is padded to eight bytes, the header too.
    let pad = |data: &mut Vec<u8>| data.resize(data.len().next_multiple_of(8), 0);
    data.extend(b"p\0");
    pad(&mut data);
    data.extend(le(subxacts));
    pad(&mut data);
    RecordBuilder::new(RmgrId::XACT, 0x10)
        .xid(xid)
        .main_data(&data)
}

/// `XLOG_CHECKPOINT_SHUTDOWN`.
pub fn shutdown_checkpoint() -> RecordBuilder {
    RecordBuilder::new(RmgrId::XLOG, 0x00).main_data(&[0; 88])
}
