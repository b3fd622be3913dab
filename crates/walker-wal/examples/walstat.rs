//! Reads the WAL segments of a directory and counts its records by resource
//! manager, as `pg_waldump --stats` does, decoding each of them.
//!
//! `walstat MAJOR DIR FIRST_SEGMENT_FILE [PASSES]`

mod common;

use std::error::Error;
use std::time::Instant;
use walker_wal::raw::WalReader;
use walker_wal::{HeapPage, Record, decode, lsn::DEFAULT_SEGMENT_SIZE};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (major, bytes, start) = common::load(&args)?;
    let passes: u32 = args.get(3).map_or(Ok(1), |p| p.parse())?;
    for pass in 0..passes {
        let began = Instant::now();
        let mut counts = [0u64; 256];
        let (mut pages, mut tuples, mut errors, mut records) = (0u64, 0u64, 0u64, 0u64);
        let mut reader = WalReader::new(major, &bytes, start, DEFAULT_SEGMENT_SIZE)
            .check_crc(passes == 1 || pass > 0 && pass % 2 == 0);
        let mut last = start;
        while let Some(record) = reader.next_record()? {
            last = record.end_lsn();
            records += 1;
            counts[usize::from(record.rmid().0)] += 1;
            if let Err(e) = decode(major, &record) {
                errors += 1;
                eprintln!(
                    "{} {:?} {:02X}: {e}",
                    record.lsn(),
                    record.rmid(),
                    record.info()
                );
            }
            for id in 0..record.max_block_id().map_or(0, |m| m + 1) {
                let Some(image) = record.block(id).and_then(|b| b.image) else {
                    continue;
                };
                if image.compression != walker_wal::Compression::None {
                    continue;
                }
                match HeapPage::from_image(&image) {
                    Ok(page) if page.is_heap() && record.rmid().0 != 11 => {
                        pages += 1;
                        for item in page.items() {
                            match item {
                                Ok(_) => tuples += 1,
                                Err(e) => {
                                    errors += 1;
                                    eprintln!("{} block {id}: {e}", record.lsn());
                                }
                            }
                        }
                    }
                    Ok(_) => {}
                    Err(e) => {
                        errors += 1;
                        eprintln!("{} block {id}: {e}", record.lsn());
                    }
                }
            }
        }
        let took = began.elapsed();
        if pass == 0 {
            for (id, n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                let id = walker_wal::RmgrId(id as u8);
                println!("{} {n}", id.builtin_name().unwrap_or("custom"));
            }
        }
        eprintln!(
            "{records} records to {last} in {took:?} ({:.1} ns each), {pages} heap page images, {tuples} line pointers, {errors} errors",
            took.as_secs_f64() * 1e9 / records.max(1) as f64
        );
    }
    Ok(())
}
