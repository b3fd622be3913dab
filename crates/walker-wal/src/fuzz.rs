//! One entry for fuzzers: whatever the bytes, nothing may panic, and what is
//! read must be told the same way twice.

use crate::heap2::Heap2Record;
use crate::misc::generic_regions;
use crate::raw::{
    BlockSpec, Decoder, FlatRecord, ImageSpec, RecordBuilder, WalReader, check_crc, image_bytes,
};
use crate::{
    BLCKSZ, ForkNumber, HeapPage, Lsn, Major, Payload, Record, RmgrId, decode, describe, identify,
};
use std::fmt::Write;

/// Takes text and keeps none of it.
struct Void;

impl Write for Void {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        Ok(())
    }
}

/// Feeds arbitrary bytes to everything in this crate that reads WAL. The
/// first byte chooses what they are taken for, the second the version.
pub fn fuzz_one(data: &[u8]) {
    let Some(([mode, version], data)) = data.split_first_chunk() else {
        return;
    };
    let major = match version % 4 {
        0 => Major::V15,
        1 => Major::V16,
        2 => Major::V17,
        _ => Major::V18,
    };
    match mode % 4 {
        0 => raw_record(major, data),
        1 => payload(major, data),
        2 => page(data),
        _ => segment(major, data),
    }
}

/// The bytes are a record, with or without the right length in front.
fn raw_record(major: Major, data: &[u8]) {
    let mut decoder = Decoder::new();
    let _ = check_crc(data);
    if let Ok(record) = decoder.decode(data, Lsn(8), Lsn(16)) {
        read_record(major, &record);
    }
    flat_record(major, data);
    let mut fixed = (data.len() as u32).to_le_bytes().to_vec();
    fixed.extend_from_slice(data.get(4..).unwrap_or_default());
    if let Ok(record) = decoder.decode(&fixed, Lsn(8), Lsn(16)) {
        read_record(major, &record);
    }
    flat_record(major, &fixed);
}

/// The bytes are a record as it stands in WAL: if it is taken for one, the
/// decoder must agree.
fn flat_record(major: Major, data: &[u8]) {
    let images = image_bytes(data);
    let mut decoder = Decoder::new();
    let decoded = decoder.decode(data, Lsn(8), Lsn(16));
    if let Some(flat) = FlatRecord::new(data, Lsn(8), Lsn(16)) {
        read_record(major, &flat);
        debug_assert!(decoded.is_ok_and(|r| r.main_data() == flat.main_data()));
    } else if let Ok(record) = decoded {
        debug_assert_eq!(images, record.fpi_len().into());
    }
}

/// The bytes are what a resource manager put into a record: main data and the
/// data of up to four blocks.
fn payload(major: Major, data: &[u8]) {
    let Some(([rmid, info, blocks, split], data)) = data.split_first_chunk() else {
        return;
    };
    let mut builder = RecordBuilder::new(RmgrId(rmid % 24), *info).xid(700);
    let (main_data, mut rest) = data
        .split_at_checked(usize::from(*split))
        .unwrap_or((data, &[]));
    for id in 0..blocks % 5 {
        let at = rest.len() / 2;
        let (mine, others) = rest.split_at_checked(at).unwrap_or_default();
        let fork = if blocks >> 4 & 1 << id != 0 {
            ForkNumber::VISIBILITYMAP
        } else {
            ForkNumber::MAIN
        };
        let spec = BlockSpec::new(id, (1663, 5, 16384), id.into()).fork(fork);
        builder = builder.block(spec.data(mine.get(..60_000).unwrap_or(mine)));
        rest = others;
    }
    let bytes = builder.main_data(main_data).build();
    if let Ok(record) = Decoder::new().decode(&bytes, Lsn(8), Lsn(16)) {
        read_record(major, &record);
    }
    flat_record(major, &bytes);
}

/// The bytes are the two ends of a page.
fn page(data: &[u8]) {
    let mut whole = vec![0; BLCKSZ];
    let (front, back) = data.split_at_checked(data.len() / 2).unwrap_or_default();
    if let Some(start) = whole.get_mut(..front.len()) {
        start.copy_from_slice(front);
    }
    let back_at = BLCKSZ.saturating_sub(back.len());
    if let Some(end) = whole
        .get_mut(back_at..)
        .filter(|end| end.len() == back.len())
    {
        end.copy_from_slice(back);
    }
    read_page(HeapPage::from_bytes(&whole));
    let spec = BlockSpec::new(0, (1663, 5, 16384), 0).image(ImageSpec::of_page(&whole));
    let bytes = RecordBuilder::new(RmgrId::XLOG, 0xB0).block(spec).build();
    if let Ok(record) = Decoder::new().decode(&bytes, Lsn(8), Lsn(16)) {
        read_record(Major::V18, &record);
    }
}

/// The bytes are WAL pages, the first of which has a good header.
fn segment(major: Major, data: &[u8]) {
    let start = Lsn(0x0100_2000);
    let mut pages = Vec::new();
    for (i, body) in data.chunks(BLCKSZ - 24).enumerate() {
        pages.extend(major.page_magic().to_le_bytes());
        pages.extend(if i == 0 { [0, 0] } else { [1, 0] });
        pages.extend(1u32.to_le_bytes());
        pages.extend((start.0 + (i * BLCKSZ) as u64).to_le_bytes());
        pages.extend((data.len() as u32).to_le_bytes());
        pages.extend([0; 4]);
        pages.extend(body);
        pages.resize((i + 1) * BLCKSZ, 0);
    }
    for bytes in [pages.as_slice(), data] {
        let mut reader = WalReader::new(major, bytes, start, 0x0100_0000).check_crc(false);
        while let Ok(Some(record)) = reader.next_record() {
            read_record(major, &record);
        }
    }
}

/// Reads all there is to read in a record.
fn read_record(major: Major, record: &impl Record) {
    let _ = identify(major, record.rmid(), record.info());
    let _ = record.fpi_len();
    for id in 0..=record.max_block_id().unwrap_or(0) {
        let Some(block) = record.block(id) else {
            continue;
        };
        if let Some(image) = block.image {
            read_page(HeapPage::from_image(&image));
        }
        for region in generic_regions(&block) {
            let _ = write!(Void, "{region:?}");
        }
    }
    let Ok(payload) = decode(major, record) else {
        return;
    };
    let _ = write!(Void, "{payload:?}");
    if let Payload::Heap2(Heap2Record::MultiInsert(r)) = payload {
        // A record that was accepted has all its tuples.
        debug_assert_eq!(r.tuples().count(), usize::from(r.ntuples));
    }
    if let Ok(description) = describe(major, record) {
        let _ = write!(Void, "{description}");
    }
}

fn read_page(page: Result<HeapPage<'_>, crate::WalError>) {
    if let Ok(page) = page {
        let _ = (page.is_heap(), page.is_new(), page.free_space());
        debug_assert!(page.items().count() <= usize::from(page.max_offset_number()));
        for item in page.items() {
            let _ = write!(Void, "{item:?}");
        }
    }
}
