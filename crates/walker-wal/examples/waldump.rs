//! Prints the records of the WAL segments of a directory as `pg_waldump`
//! does, with times in UTC. Comparing the two on real WAL is the test of
//! `describe`; index methods are not described.
//!
//! `waldump MAJOR DIR FIRST_SEGMENT_FILE`

mod common;

use std::error::Error;
use std::io::Write;
use walker_wal::raw::WalReader;
use walker_wal::{ForkNumber, Record, describe, identify, lsn::DEFAULT_SEGMENT_SIZE};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (major, bytes, start) = common::load(&args)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut reader = WalReader::new(major, &bytes, start, DEFAULT_SEGMENT_SIZE);
    while let Some(record) = reader.next_record()? {
        let rmgr = record.rmid().builtin_name().unwrap_or("custom");
        let (total, fpi) = (record.total_len(), record.fpi_len());
        let (lsn, prev) = (record.lsn().0, record.prev_lsn().0);
        write!(
            out,
            "rmgr: {rmgr:<11} len (rec/tot): {:6}/{total:6}, ",
            total - fpi
        )?;
        write!(
            out,
            "tx: {:10}, lsn: {:X}/{:08X}, ",
            record.xid(),
            lsn >> 32,
            lsn as u32
        )?;
        write!(out, "prev {:X}/{:08X}, desc: ", prev >> 32, prev as u32)?;
        match identify(major, record.rmid(), record.info()) {
            Some(name) => write!(out, "{name} ")?,
            None => write!(out, "UNKNOWN ({:x}) ", record.rmgr_info())?,
        }
        write!(out, "{}", describe(major, &record)?)?;
        for id in 0..record.max_block_id().map_or(0, |max| max + 1) {
            let Some(block) = record.block(id) else {
                continue;
            };
            write!(out, ", blkref #{id}: rel {}", block.locator)?;
            match block.fork {
                ForkNumber::MAIN => {}
                ForkNumber::FSM => write!(out, " fork fsm")?,
                ForkNumber::VISIBILITYMAP => write!(out, " fork vm")?,
                ForkNumber::INIT => write!(out, " fork init")?,
                ForkNumber(n) => write!(out, " fork {n}")?,
            }
            write!(out, " blk {}", block.blkno)?;
            match block.image {
                Some(image) if image.apply => write!(out, " FPW")?,
                Some(_) => write!(out, " FPW for WAL verification")?,
                None => {}
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
