//! Records from bytes, and from pages.

mod common;

use common::*;
use walker_wal::lsn::{DEFAULT_SEGMENT_SIZE, XLOG_BLCKSZ};
use walker_wal::raw::*;
use walker_wal::{Compression, ForkNumber, Lsn, Major, Record, RmgrId, WalError};

fn sample() -> RecordBuilder {
    RecordBuilder::new(RmgrId::HEAP, 0x22)
        .xid(700)
        .prev(Lsn(0x0100_0028))
        .origin(3)
        .toplevel_xid(699)
        .block(block(0, 7).will_init().data(b"new page"))
        .block(
            block(1, 9)
                .image(ImageSpec::stored(&[7; 50], 48, 4000, 0x01 | 0x04))
                .data(b"x"),
        )
        .block(BlockSpec::new(4, (1664, 0, 1262), 1).fork(ForkNumber::VISIBILITYMAP))
        .main_data(&[5; 300])
}

#[test]
fn all_parts_of_a_record() {
    let bytes = sample().build();
    check_crc(&bytes).unwrap();
    let mut decoder = Decoder::new();
    let r = decoder
        .decode(&bytes, Lsn(0x0100_0060), Lsn(0x0100_0200))
        .unwrap();
    assert_eq!(
        (r.lsn(), r.end_lsn(), r.prev_lsn()),
        (Lsn(0x0100_0060), Lsn(0x0100_0200), Lsn(0x0100_0028))
    );
    assert_eq!((r.xid(), r.toplevel_xid(), r.origin()), (700, 699, 3));
    assert_eq!(
        (r.rmid(), r.info(), r.rmgr_info()),
        (RmgrId::HEAP, 0x22, 0x20)
    );
    assert_eq!((r.total_len() as usize, r.fpi_len()), (bytes.len(), 50));
    assert_eq!(
        (r.main_data(), r.max_block_id()),
        ([5; 300].as_slice(), Some(4))
    );
    let (b0, b1, b4) = (
        r.block(0).unwrap(),
        r.block(1).unwrap(),
        r.block(4).unwrap(),
    );
    assert_eq!(
        (b0.data, b0.will_init, b0.image.is_none()),
        (Some(b"new page".as_slice()), true, true)
    );
    // The second block's relation is left out of the record, being the same.
    assert_eq!(
        (b1.locator, b1.blkno, b1.data),
        (b0.locator, 9, Some(b"x".as_slice()))
    );
    let image = b1.image.unwrap();
    assert_eq!(
        (image.bytes, image.hole_offset, image.hole_length),
        ([7; 50].as_slice(), 48, 4000)
    );
    assert_eq!((image.compression, image.apply), (Compression::Pglz, false));
    assert!(r.has_compressed_image());
    assert_eq!(
        (b4.fork, b4.locator.spc_oid, b4.data),
        (ForkNumber::VISIBILITYMAP, 1664, None)
    );
    assert!(r.block(2).is_none() && r.block(3).is_none() && r.block(200).is_none());
}

#[test]
fn cut_and_changed_records() {
    let bytes = sample().build();
    let mut decoder = Decoder::new();
    for cut in 0..bytes.len() {
        assert!(decoder.decode(&bytes[..cut], Lsn(8), Lsn(16)).is_err());
        // With a length that agrees, some cuts are records of their own, but
        // never ones with the same checksum.
        let mut lies = bytes[..cut].to_vec();
        if cut >= 4 {
            lies[..4].copy_from_slice(&(cut as u32).to_le_bytes());
            let _ = decoder.decode(&lies, Lsn(8), Lsn(16));
            assert!(check_crc(&lies).is_err(), "{cut}");
        }
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        assert!(matches!(
            check_crc(&changed),
            Err(WalError::Checksum { .. })
        ));
        // Any result but a panic will do.
        let _ = decoder
            .decode(&changed, Lsn(8), Lsn(16))
            .map(|r| r.block(1).is_some());
    }
}

#[test]
fn impossible_block_headers() {
    let image = |len: usize, offset, length, info| {
        RecordBuilder::new(RmgrId::XLOG, 0xB0)
            .block(block(0, 1).image(ImageSpec::stored(&vec![0; len], offset, length, info)))
            .build()
    };
    let twice = RecordBuilder::new(RmgrId::HEAP, 0)
        .block(block(1, 1))
        .block(block(1, 2))
        .build();
    for bytes in [
        image(8192, 100, 0, BKPIMAGE_HAS_HOLE),
        image(8000, 0, 0, BKPIMAGE_HAS_HOLE),
        image(8000, 0, 0, 0),
        image(8192, 0, 0, BKPIMAGE_COMPRESS_ZSTD),
        image(100, 50, 0, BKPIMAGE_COMPRESS_LZ4),
        image(9000, 0, 0, 0),
        twice,
    ] {
        let mut decoder = Decoder::new();
        assert!(decoder.decode(&bytes, Lsn(8), Lsn(16)).is_err());
    }
}

/// Writes records into pages as the server does, padding each to 8 bytes.
struct Writer {
    major: Major,
    start: u64,
    bytes: Vec<u8>,
    prev: Lsn,
}

impl Writer {
    fn new(major: Major) -> Writer {
        let start = u64::from(DEFAULT_SEGMENT_SIZE);
        Writer {
            major,
            start,
            bytes: Vec::new(),
            prev: Lsn::INVALID,
        }
    }

    fn page_header(&mut self, info: u16, rem_len: u32) {
        let at = self.start + self.bytes.len() as u64;
        let long = at.is_multiple_of(u64::from(DEFAULT_SEGMENT_SIZE));
        let info = info | if long { 2 } else { 0 };
        let head = Bytes::new()
            .u16(self.major.page_magic())
            .u16(info)
            .u32(1)
            .u64(at);
        let head = head.u32(rem_len).u32(0);
        let head = if long {
            head.u64(77).u32(DEFAULT_SEGMENT_SIZE).u32(8192)
        } else {
            head
        };
        self.bytes.extend(head.0);
    }

    fn write(&mut self, builder: RecordBuilder) -> Lsn {
        if self.bytes.len().is_multiple_of(XLOG_BLCKSZ) {
            self.page_header(0, 0);
        }
        let lsn = Lsn(self.start + self.bytes.len() as u64);
        let record = builder.prev(self.prev).build();
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            let room = XLOG_BLCKSZ - self.bytes.len() % XLOG_BLCKSZ;
            if room == XLOG_BLCKSZ {
                self.page_header(1, rest.len() as u32);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.bytes.extend(now);
            rest = later;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.prev = lsn;
        lsn
    }

    /// Fills the last page with zeroes.
    fn finish(mut self) -> Vec<u8> {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(XLOG_BLCKSZ), 0);
        self.bytes
    }
}

fn noop(len: usize) -> RecordBuilder {
    RecordBuilder::new(RmgrId::XLOG, 0x20).main_data(&vec![9; len])
}

fn read_all(major: Major, bytes: &[u8], start: u64) -> Vec<(Lsn, Lsn, u32)> {
    let mut reader = WalReader::new(major, bytes, Lsn(start), DEFAULT_SEGMENT_SIZE);
    let mut found = Vec::new();
    while let Some(r) = reader.next_record().expect("valid WAL") {
        found.push((r.lsn(), r.end_lsn(), r.total_len()));
    }
    found
}

#[test]
fn records_across_pages() {
    for major in MAJORS {
        let mut writer = Writer::new(major);
        let lsns: Vec<Lsn> = (0..200)
            .map(|i| writer.write(noop(1 + i * 37 % 300 + i / 50 * 9000)))
            .collect();
        let (start, bytes) = (writer.start, writer.finish());
        let found = read_all(major, &bytes, start);
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), lsns);
        // From a page amid them, reading begins with the first whole record.
        let from_second = read_all(major, &bytes[XLOG_BLCKSZ..], start + XLOG_BLCKSZ as u64);
        let expected: Vec<Lsn> = lsns
            .iter()
            .copied()
            .filter(|l| l.0 > start + XLOG_BLCKSZ as u64)
            .collect();
        assert_eq!(
            from_second.iter().map(|f| f.0).collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn a_record_that_fills_its_page() {
    let mut writer = Writer::new(Major::V17);
    // Page: long header 40, record header 24, data header 5, data.
    writer.write(noop(XLOG_BLCKSZ - 40 - 24 - 5));
    let next = writer.write(noop(10));
    let start = writer.start;
    assert_eq!(next, Lsn(start + XLOG_BLCKSZ as u64 + 24));
    let found = read_all(Major::V17, &writer.finish(), start);
    assert_eq!(
        (found[0].1, found[1].0),
        (Lsn(start + XLOG_BLCKSZ as u64), next)
    );
    assert!(found[0].1.reaches(next, DEFAULT_SEGMENT_SIZE));
}

#[test]
fn segment_switch() {
    let mut writer = Writer::new(Major::V15);
    writer.write(noop(100));
    let switch = writer.write(RecordBuilder::new(RmgrId::XLOG, 0x40));
    writer.bytes.resize(DEFAULT_SEGMENT_SIZE as usize, 0);
    let next = writer.write(noop(100));
    let start = writer.start;
    let found = read_all(Major::V15, &writer.finish(), start);
    assert_eq!(
        found.iter().map(|f| f.0).collect::<Vec<_>>()[1..],
        [switch, next]
    );
    assert_eq!(found[1].1, Lsn(start + u64::from(DEFAULT_SEGMENT_SIZE)));
}

#[test]
fn overwritten_record() {
    let mut writer = Writer::new(Major::V18);
    let first = writer.write(noop(100));
    writer.write(noop(9000));
    // The server crashed before the rest was written: the next page says so.
    writer.bytes.truncate(XLOG_BLCKSZ);
    writer.page_header(8, 0);
    let overwrite = Bytes::new().u64(first.0).u64(0).0;
    let next = writer.write(RecordBuilder::new(RmgrId::XLOG, 0xD0).main_data(&overwrite));
    let start = writer.start;
    let found = read_all(Major::V18, &writer.finish(), start);
    assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [first, next]);
}

#[test]
fn the_end_of_wal_and_damage() {
    let mut writer = Writer::new(Major::V16);
    for _ in 0..60 {
        writer.write(noop(700));
    }
    let (start, bytes) = (writer.start, writer.finish());
    let whole = read_all(Major::V16, &bytes, start).len();
    assert_eq!(whole, 60);
    // Cut at a page, the WAL ends before the record that crosses it.
    let fewer = read_all(Major::V16, &bytes[..2 * XLOG_BLCKSZ], start).len();
    assert!(fewer > 10 && fewer < whole);
    // Another version's pages, and a flipped bit.
    let mut reader = WalReader::new(Major::V17, &bytes, Lsn(start), DEFAULT_SEGMENT_SIZE);
    assert!(reader.next_record().is_err());
    let mut damaged = bytes.clone();
    damaged[5000] ^= 1;
    let mut reader = WalReader::new(Major::V16, &damaged, Lsn(start), DEFAULT_SEGMENT_SIZE);
    let error = loop {
        match reader.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("damage not noticed"),
            Err(e) => break e,
        }
    };
    assert!(matches!(error.error, WalError::Checksum { .. }), "{error}");
}

/// The CRC-32C of these bytes, bit by bit.
#[cfg(target_arch = "x86_64")]
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ ((crc & 1) * 0x82F6_3B78)
        })
    })
}

#[cfg(target_arch = "x86_64")]
#[test]
fn checksums_of_every_length() {
    if !std::arch::is_x86_feature_detected!("sse4.2") {
        return;
    }
    // SAFETY: the processor has the instruction.
    let crc_at = |bytes: &[u8], at| unsafe { walker_wal::raw::crc_of_record(bytes, at) };
    let crc_of = |record: &[u8]| {
        let crc = crc_at(record, 0);
        for front in [1, 8, 24, 40, 63, 64, 100] {
            let bytes = [&vec![0xA5; front], record].concat();
            assert_eq!(
                crc_at(&bytes, front),
                crc,
                "{} behind {front}",
                record.len()
            );
        }
        crc
    };
    let bytes: Vec<u8> = (0..9000u32)
        .map(|i| (i.wrapping_mul(0x9E37_79B1) >> 21) as u8)
        .collect();
    let lengths = (24..700).chain([1023, 1024, 4099, 8192, 9000]);
    for len in lengths {
        let mut record = bytes[..len].to_vec();
        let sum = crc32c(record[24..].iter().chain(&record[..20]).copied());
        assert_eq!(crc_of(&record), Some(sum), "{len}");
        record[20..24].copy_from_slice(&sum.to_le_bytes());
        check_crc(&record).unwrap();
        let last = if len == 24 { 0 } else { len - 1 };
        record[last] ^= 1;
        assert_ne!(crc_of(&record), Some(sum), "{len}");
    }
    (0..24).for_each(|len| assert_eq!(crc_of(&bytes[..len]), None));
    assert_eq!(crc_at(&bytes, bytes.len() + 1), None);
}
