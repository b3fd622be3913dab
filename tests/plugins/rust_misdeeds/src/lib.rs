//! A plugin that does what a logical message with the prefix "rust" tells it:
//! every way a Rust plugin can go wrong without ending the process at once.
//! A message begins with how often it is to be obeyed, as for `misdeeds.c`.
//! Besides, it says when a record with page images comes as it stands.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use walker_plugin::wal::misc::{LogicalmsgRecord, decode_logicalmsg};
use walker_plugin::wal::raw::RawRecord;
use walker_plugin::wal::{Lsn, Record, RmgrId};
use walker_plugin::{Error, Plugin, RmgrSet, SharedArea, WalRecord, services};

pgrx::pg_module_magic!();
walker_plugin::export_plugin!(Misdeeds);

struct Misdeeds {
    done: SharedArea,
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("panic in drop");
    }
}

impl Plugin for Misdeeds {
    type Error = Error;

    const RMGRS: RmgrSet = RmgrSet::of(&[RmgrId::LOGICALMSG, RmgrId::XLOG]);

    // Never registered by anybody: a warning and no more.
    const CUSTOM_RMGRS: &'static [&'static CStr] = &[c"no such resource manager"];

    fn startup() -> Result<Self, Error> {
        let walker = services().ok_or("no walker")?;
        let done = walker
            .reserve_area(c"rust misdeeds", 16)
            .ok_or("no room for misdeeds")?;
        Ok(Misdeeds { done })
    }

    const IN_PLACE: bool = true;

    fn raw_in_place(&mut self, record: &RawRecord<'_>) -> Result<bool, Error> {
        if record.fpi_len() > 0 {
            let walker = services().ok_or("no walker")?;
            walker.log(c"rust_misdeeds", c"page images as they stand");
        }
        Ok(false)
    }

    fn record(&mut self, record: &WalRecord<'_>) -> Result<(), Error> {
        if record.rmid() != RmgrId::LOGICALMSG {
            return Ok(());
        }
        match decode_logicalmsg(record)? {
            LogicalmsgRecord::Message {
                prefix, message, ..
            } if prefix.0 == b"rust" => {
                let text = std::str::from_utf8(message)?;
                let (times, what) = text.split_once(' ').ok_or("no number")?;
                if self.obey(record.lsn(), times.parse()?) {
                    misdeed(what)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Misdeeds {
    /// Whether the record at hand is still to be obeyed.
    fn obey(&self, lsn: Lsn, times: u64) -> bool {
        let [at, done] = self.done.words().first_chunk().expect("two words");
        let count = |n: &AtomicU64| n.fetch_add(1, Relaxed);
        if at.swap(lsn.0, Relaxed) != lsn.0 {
            done.store(0, Relaxed);
        }
        count(done) < times
    }
}

fn misdeed(what: &str) -> Result<(), Error> {
    match what {
        "error" => Err("misdeed: a Rust error".into()),
        "panic" => panic!("misdeed: a Rust panic"),
        "index" => {
            let empty: &[u8] = std::hint::black_box(&[]);
            let _ = empty[what.len()];
            Ok(())
        }
        "drop" => {
            drop(PanicsInDrop);
            Ok(())
        }
        "server" => {
            // SAFETY: palloc (utils/mmgr/mcxt.c) raises an ERROR for a
            // request beyond MaxAllocSize; that is what is wanted.
            unsafe { pgrx::pg_sys::palloc(usize::MAX) };
            Ok(())
        }
        other => Err(format!("unknown misdeed \"{other}\"").into()),
    }
}
