//! A cluster's WAL, read from its files by walker-wal's own reader: no server
//! and no walker is between the bytes and the test.

use crate::cluster::Cluster;
use std::fs;
use walker_wal::lsn::{DEFAULT_SEGMENT_SIZE, segment_file_name};
use walker_wal::raw::{RawRecord, WalReader};
use walker_wal::{BLCKSZ, Compression, Image, Lsn, Major, Record};

impl Cluster {
    /// The server's major version, as walker-wal names it.
    pub fn major(&self) -> Major {
        match self.server.major {
            15 => Major::V15,
            16 => Major::V16,
            17 => Major::V17,
            18 => Major::V18,
            other => panic!("walker-wal does not know major version {other}"),
        }
    }

    /// Reads the records that begin between two positions of timeline 1.
    pub fn read_wal(&self, from: &str, to: &str, mut see: impl FnMut(&RawRecord<'_>)) {
        let position = |text: &str| text.parse::<Lsn>().expect("a position");
        let (from, to) = (position(from), position(to));
        let first = from.segment_number(DEFAULT_SEGMENT_SIZE);
        let mut bytes = Vec::new();
        for segment in first..=to.segment_number(DEFAULT_SEGMENT_SIZE) {
            let name = segment_file_name(1, segment, DEFAULT_SEGMENT_SIZE);
            let path = self.data_dir().join("pg_wal").join(name);
            bytes.extend(fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        }
        let start = Lsn(first * u64::from(DEFAULT_SEGMENT_SIZE));
        let mut reader = WalReader::new(self.major(), &bytes, start, DEFAULT_SEGMENT_SIZE);
        while let Some(record) = reader.next_record().expect("valid WAL") {
            if record.lsn() >= to {
                break;
            }
            if record.lsn() >= from {
                see(&record);
            }
        }
    }
}

/// A whole page from an image that is not compressed.
pub fn restore(image: &Image<'_>) -> Vec<u8> {
    assert_eq!(image.compression, Compression::None);
    let hole = usize::from(image.hole_length);
    let at = if hole == 0 {
        BLCKSZ
    } else {
        usize::from(image.hole_offset)
    };
    let mut page = image.bytes[..at].to_vec();
    page.resize(at + hole, 0);
    page.extend_from_slice(&image.bytes[at..]);
    assert_eq!(page.len(), BLCKSZ);
    page
}
