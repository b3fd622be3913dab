//! What the tests build records with.
#![allow(dead_code, reason = "each test uses some of it")]

use walker_wal::raw::{BlockSpec, Decoder, RecordBuilder};
use walker_wal::{Lsn, Major, Payload, RmgrId, WalError, decode};

pub const MAJORS: [Major; 4] = [Major::V15, Major::V16, Major::V17, Major::V18];
pub const REL: (u32, u32, u32) = (1663, 5, 16384);

/// Little-endian bytes, written like the struct they are.
#[derive(Clone, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn new() -> Bytes {
        Bytes::default()
    }
    pub fn u8(mut self, n: u8) -> Bytes {
        self.0.push(n);
        self
    }
    pub fn u16(mut self, n: u16) -> Bytes {
        self.0.extend(n.to_le_bytes());
        self
    }
    pub fn u32(mut self, n: u32) -> Bytes {
        self.0.extend(n.to_le_bytes());
        self
    }
    pub fn u64(mut self, n: u64) -> Bytes {
        self.0.extend(n.to_le_bytes());
        self
    }
    pub fn u16s(self, list: &[u16]) -> Bytes {
        list.iter().fold(self, |b, n| b.u16(*n))
    }
    pub fn u32s(self, list: &[u32]) -> Bytes {
        list.iter().fold(self, |b, n| b.u32(*n))
    }
    pub fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend(bytes);
        self
    }
    /// Padding that is not zero, as the server may leave it.
    pub fn pad(mut self, n: usize) -> Bytes {
        self.0.resize(self.0.len() + n, 0xEE);
        self
    }
}

pub fn block(id: u8, blkno: u32) -> BlockSpec {
    BlockSpec::new(id, REL, blkno)
}

/// Decodes a record by way of its bytes and hands over its payload.
pub fn with_payload<T>(
    major: Major,
    builder: &RecordBuilder,
    check: impl FnOnce(Result<Payload<'_>, WalError>) -> T,
) -> T {
    let bytes = builder.build();
    let mut decoder = Decoder::new();
    let record = decoder
        .decode(&bytes, Lsn(0x0100_0028), Lsn(0x0100_0100))
        .expect("record");
    check(decode(major, &record))
}

/// The main data of a kind of record have exactly one length: every shorter
/// and every longer one is an error.
pub fn exact_main_data(major: Major, rmid: RmgrId, info: u8, blocks: &[BlockSpec], main: &[u8]) {
    let build = |main: &[u8]| {
        let start = RecordBuilder::new(rmid, info).xid(700);
        blocks
            .iter()
            .cloned()
            .fold(start, RecordBuilder::block)
            .main_data(main)
    };
    with_payload(major, &build(main), |p| p.map(drop).expect("whole record"));
    for cut in 0..main.len() {
        with_payload(major, &build(&main[..cut]), |p| {
            assert!(
                p.is_err(),
                "{major:?} {rmid:?} {info:#x} cut to {cut} bytes: {p:?}"
            );
        });
    }
    let longer = [main, &[0]].concat();
    with_payload(major, &build(&longer), |p| {
        assert!(
            matches!(p, Err(WalError::Leftover { .. } | WalError::Invalid { .. })),
            "{p:?}"
        );
    });
}

/// The same of the data of block 0.
pub fn exact_block_data(major: Major, rmid: RmgrId, info: u8, main: &[u8], data: &[u8]) {
    let build = |data: &[u8]| {
        RecordBuilder::new(rmid, info)
            .block(block(0, 7).data(data))
            .main_data(main)
    };
    with_payload(major, &build(data), |p| p.map(drop).expect("whole record"));
    for cut in 1..data.len() {
        with_payload(major, &build(&data[..cut]), |p| {
            assert!(
                p.is_err(),
                "{major:?} {rmid:?} {info:#x} cut to {cut} bytes: {p:?}"
            );
        });
    }
    let longer = [data, &[0]].concat();
    with_payload(major, &build(&longer), |p| assert!(p.is_err(), "{p:?}"));
}
