//! The plugin in walker's worker: records in, counters out.
//!
//! Runs in the worker process only. The ledger is private to it; nothing but
//! counters goes to shared memory.

mod basescan;
mod oracle;
mod saver;
mod status;
mod undecided;

use crate::area::AREA_NAME;
use crate::guc;
use crate::mailbox::{MAILBOX_BYTES, MAILBOX_NAME, Mailbox};
use basescan::BaseScans;
use core::ffi::CStr;
use garbagemap_core::map::MapWriter;
use garbagemap_core::{Config, Ledger, Page};
use oracle::ServerOracle;
use pgrx::prelude::*;
use saver::{Progress, Saver};
use std::ffi::CString;
use undecided::Undecided;
use walker_plugin::state::{StateFile, leaving, redo_pointer};
use walker_plugin::wal::raw::{FlatRecord, RawRecord};
use walker_plugin::wal::{Lsn, Record, RmgrId};
use walker_plugin::{ErrorReport, MAJOR, Plugin, RmgrSet, Services, WalRecord, services};

/// The plugin's name in `walker.plugins`, and of its state file.
const NAME: &CStr = c"garbagemap";

walker_plugin::export_plugin!(GarbageMap);

/// The plugin.
pub struct GarbageMap {
    services: Services,
    ledger: Ledger<MapWriter<'static>>,
    scans: BaseScans,
    saver: Saver,
    undecided: Undecided,
    /// The position of the state the ledger was built from.
    start: Option<Lsn>,
    /// From here on the WAL has the server's own `wal_level`; only from 17 on do
    /// checkpoints tell it.
    level_from: Option<Lsn>,
    /// What is read since is of now, and so are the rates.
    caught_up: bool,
    /// Malformed records logged so far.
    complaints: u32,
}

/// The plugin cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Loaded without walker, which cannot be.
    #[error("walker's services are not available")]
    NoServices,
    /// `walker.shared_memory` is too small.
    #[error("walker's shared memory has no room for the garbage map")]
    NoRoom,
    /// Memory or file descriptors are short, which passes.
    #[error("could not read the state file: {0}")]
    Shortage(String),
}

impl From<PluginError> for ErrorReport {
    fn from(error: PluginError) -> ErrorReport {
        let code = match error {
            PluginError::NoServices => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            // Not "out of memory", which may pass.
            PluginError::NoRoom => PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            PluginError::Shortage(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        };
        let report = ErrorReport::new(code, error.to_string(), "garbagemap");
        match error {
            PluginError::Shortage(_) => report,
            _ => report.set_hint("Increase walker.shared_memory and restart the server."),
        }
    }
}

impl Plugin for GarbageMap {
    type Error = PluginError;

    const RMGRS: RmgrSet = RmgrSet::of(&[
        RmgrId::XLOG,
        RmgrId::XACT,
        RmgrId::SMGR,
        RmgrId::DBASE,
        RmgrId::TBLSPC,
        RmgrId::MULTIXACT,
        RmgrId::STANDBY,
        RmgrId::HEAP,
        RmgrId::HEAP2,
        RmgrId::SEQ,
        RmgrId::BRIN,
    ]);

    fn startup() -> Result<Self, PluginError> {
        let services = services().ok_or(PluginError::NoServices)?;
        let mailbox = services
            .reserve_area(MAILBOX_NAME, MAILBOX_BYTES)
            .and_then(|area| Mailbox::new(area.words()));
        // Most of the room, but not all: other plugins may come.
        let room = services.shared_free() / 4 * 3;
        let area = services
            .reserve_area(AREA_NAME, room)
            .ok_or(PluginError::NoRoom)?;
        let config = Config {
            range_blocks: guc::range_blocks(),
            max_memory: guc::max_memory(),
            ..Config::default()
        };
        let writer =
            MapWriter::init(area.words(), config.range_blocks).ok_or(PluginError::NoRoom)?;
        let mut ledger = Ledger::new(config, writer);
        // SAFETY: reads shared memory under its lock (access/transam/varsup.c).
        ledger.set_next_xid(unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32);
        let file = StateFile::new("garbagemap");
        let mut saved = status::Saved::default();
        let mut start = None;
        let loaded = match file.load() {
            Ok(None) => Ok(()),
            Ok(Some(mut state)) => ledger
                .load(&mut state.payload)
                .map(|()| start = Some(state.lsn))
                .map_err(|error| (error.is_shortage(), error.to_string())),
            Err(error) => Err((error.is_shortage(), error.to_string())),
        };
        match loaded {
            Ok(()) => {}
            // The next start may find what is short now; a state that was set
            // aside would be gone.
            Err((true, why)) => return Err(PluginError::Shortage(why)),
            Err((false, why)) => refuse(&services, &file, &why),
        }
        match start {
            Some(lsn) => saved.loaded(lsn),
            None => ledger.set_wal_minimal(wal_is_minimal()),
        }
        Ok(GarbageMap {
            services,
            ledger,
            scans: BaseScans::new(mailbox),
            saver: Saver::new(file, saved),
            undecided: Undecided::new(),
            start,
            level_from: start.map(|_| redo_pointer()),
            caught_up: false,
            complaints: 0,
        })
    }

    fn start_lsn(&mut self) -> Result<Option<Lsn>, PluginError> {
        Ok(self.start)
    }

    #[inline]
    fn record(&mut self, record: &WalRecord<'_>) -> Result<(), PluginError> {
        self.apply(record, |id, page| record.restore_image(id, page));
        Ok(())
    }

    const IN_PLACE: bool = true;

    #[inline]
    fn record_in_place(&mut self, record: &FlatRecord<'_>) -> Result<bool, PluginError> {
        let applied = self.ledger.apply_flat(MAJOR, *record, &mut ServerOracle);
        if let Err(error) = applied {
            self.complain(record, &error);
        }
        Ok(true)
    }

    fn raw_in_place(&mut self, record: &RawRecord<'_>) -> Result<bool, PluginError> {
        // The server restores compressed images, of records it has decoded.
        if record.has_compressed_image() {
            return Ok(false);
        }
        self.apply(record, |_, _| false);
        Ok(true)
    }

    fn poll(&mut self, lsn: Lsn) -> Result<(), PluginError> {
        self.ledger.set_max_memory(guc::max_memory());
        self.ledger.advance(lsn);
        self.caught_up = self.caught_up || is_recent(lsn);
        if self.level_from.is_some_and(|from| lsn >= from) {
            self.level_from = None;
            self.ledger.set_wal_minimal(wal_is_minimal());
        }
        self.undecided.settle(&mut self.ledger, lsn);
        // SAFETY: reads the clock.
        let now = self
            .caught_up
            .then(|| unsafe { pg_sys::GetCurrentTimestamp() });
        self.ledger.publish(now);
        self.scans.serve(&mut self.ledger, lsn);
        if self.scans.should_be_saved(&self.ledger) {
            self.saver.outdated();
            self.services.flush_again();
        }
        for mismatch in self.ledger.take_mismatches() {
            self.warn(&format!(
                "page image of block {} of relation {} at {} shows {:?} at line pointer {}, \
                 the map had {:?}",
                mismatch.blkno,
                mismatch.locator,
                mismatch.end_lsn,
                mismatch.found,
                mismatch.offnum,
                mismatch.expected
            ));
        }
        status::publish(&mut self.ledger, &self.saver.saved, lsn);
        Ok(())
    }

    fn flush(&mut self, upto: Lsn) -> Result<Option<Lsn>, PluginError> {
        let leaving = leaving();
        // The last state has what scans told, however little that is.
        if leaving && self.scans.has_unsaved() {
            self.saver.outdated();
        }
        let (ledger, services) = (&mut self.ledger, &self.services);
        match self.saver.flush(ledger, services, upto, leaving) {
            Ok(Progress::Published) => {
                status::publish(&mut self.ledger, &self.saver.saved, upto);
            }
            // What is held back is not known in it.
            Ok(Progress::Sealed) if leaving || !self.ledger.is_scanning() => {
                self.scans.saved();
            }
            Ok(Progress::Sealed | Progress::None) => {}
            Err(error) => self.warn(&format!("could not write the state file: {error}")),
        }
        Ok(self.saver.saved.lsn())
    }

    fn gap(&mut self, _from: Lsn, to: Lsn) -> Result<(), PluginError> {
        self.ledger.mark_all_unknown();
        // A change of it may be what was lost. From the redo pointer on it is the
        // server's, as whoever starts one with another level makes a checkpoint
        // first; of before nobody knows.
        let redo = redo_pointer();
        self.ledger.set_wal_minimal(wal_is_minimal() || to < redo);
        self.level_from = Some(redo);
        Ok(())
    }
}

impl GarbageMap {
    #[inline]
    fn apply(&mut self, record: &impl Record, mut restore: impl FnMut(u8, &mut Page) -> bool) {
        let applied = self
            .ledger
            .apply(MAJOR, record, &mut ServerOracle, &mut restore);
        if let Err(error) = applied {
            self.complain(record, &error);
        }
    }

    /// A record could not be decoded. Its blocks are unknown from here on, so
    /// nothing is wrong; say so, but not a million times.
    #[cold]
    fn complain(&mut self, record: &impl Record, error: &dyn std::error::Error) {
        self.complaints = self.complaints.saturating_add(1);
        if self.complaints <= 10 {
            self.warn(&format!(
                "could not decode the record at {} (resource manager {}, info {:#04x}): {error}",
                record.lsn(),
                record.rmid().0,
                record.info()
            ));
        }
    }

    fn warn(&self, message: &str) {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        self.services.warn(NAME, &message);
    }
}

/// Whether the server writes WAL with `wal_level = minimal`. What a standby
/// replays was never written so, whatever its own setting is; when it is
/// promoted, a record tells.
fn wal_is_minimal() -> bool {
    // SAFETY: shared memory (access/transam/xlog.c), and a setting, read on the
    // main thread.
    let (standby, level) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::wal_level) };
    !standby && level == pg_sys::WalLevel::WAL_LEVEL_MINIMAL as i32
}

/// Whether not much WAL lies behind this position.
fn is_recent(lsn: Lsn) -> bool {
    const NEAR: u64 = 16 << 20;
    // SAFETY: read shared memory under its locks (access/transam/xlog.c,
    // xlogrecovery.c); the timeline is not asked for.
    let end = unsafe {
        match pg_sys::RecoveryInProgress() {
            true => pg_sys::GetXLogReplayRecPtr(core::ptr::null_mut()),
            false => pg_sys::GetFlushRecPtr(core::ptr::null_mut()),
        }
    };
    end.saturating_sub(lsn.0) < NEAR
}

/// A state file that cannot be used: say why, keep it aside, learn anew.
fn refuse(services: &Services, file: &StateFile, why: &str) {
    let message = format!("ignoring the state file: {why}; the map is built anew from WAL");
    services.log(NAME, &CString::new(message).unwrap_or_default());
    file.set_aside();
}
