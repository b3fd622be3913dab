//! The plugin in walker's worker: records in, counters out.
//!
//! Runs in the worker process only. Its state file holds all counters and the
//! position they belong to; walker delivers from that position on, so each
//! record counts exactly once, whatever happened in between.

use crate::area::NAME;
use crate::guc;
use pgrx::prelude::*;
use std::ffi::CString;
use std::io::Read;
use std::time::Duration;
use walker_plugin::state::{
    PATIENCE, SavedState, SealedState, StateError, StateFile, leaving, overtaken,
};
use walker_plugin::wal::raw::{FlatRecord, RawRecord};
use walker_plugin::wal::{Lsn, Record};
use walker_plugin::{
    ErrorReport, MAJOR, Plugin, RmgrSet, Services, SharedArea, WalRecord, services,
};
use walstat_core::{Ledger, Table, area_bytes};

walker_plugin::export_plugin!(WalStat);

/// A larger state is none of ours: 16 million entries, the most there can be,
/// take less.
const MAX_STATE: u64 = 1 << 30;

/// Somebody waits for counters to be reset: no longer than this for the disk.
const SHORT: Duration = Duration::from_millis(500);

/// The plugin.
pub struct WalStat {
    services: Services,
    ledger: Ledger<'static>,
    file: StateFile,
    /// The position of the newest state file.
    saved: Option<Lsn>,
    /// A state that is on its way there.
    sealed: Option<SealedState>,
    /// The counters were reset, and no file says so yet: not even one of the
    /// same position.
    reset: bool,
    /// It is to be written as soon as that is possible.
    urgent: bool,
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
    #[error("walker's shared memory has no room for the WAL statistics")]
    NoRoom,
    /// Memory or file descriptors are short, which passes.
    #[error("could not read the state file: {0}")]
    Shortage(String),
}

impl From<PluginError> for ErrorReport {
    fn from(error: PluginError) -> ErrorReport {
        let (code, hint) = match error {
            PluginError::NoServices => (
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "Add walker to shared_preload_libraries and restart the server.",
            ),
            // Not "out of memory", which may pass.
            PluginError::NoRoom => (
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "Increase walker.shared_memory, or decrease walstat.max_entries, and restart the \
                 server.",
            ),
            PluginError::Shortage(_) => (
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "The worker tries again when it comes back.",
            ),
        };
        ErrorReport::new(code, error.to_string(), "walstat").set_hint(hint)
    }
}

impl Plugin for WalStat {
    type Error = PluginError;

    const RMGRS: RmgrSet = RmgrSet::ALL;

    fn startup() -> Result<Self, PluginError> {
        let services = services().ok_or(PluginError::NoServices)?;
        let area = services
            .reserve_area(NAME, area_bytes(guc::max_entries()))
            .ok_or(PluginError::NoRoom)?;
        let file = StateFile::new("walstat");
        let mut plugin = WalStat {
            services,
            ledger: empty(area)?,
            file,
            saved: None,
            sealed: None,
            reset: false,
            urgent: false,
            complaints: 0,
        };
        match plugin.file.load() {
            Ok(None) => {}
            Ok(Some(state)) => {
                if let Err(why) = plugin.take_over(state)? {
                    plugin.refuse(&why);
                    plugin.ledger = empty(area)?;
                }
            }
            // The file may be sound; it must still be there when it can be read.
            Err(why) if why.is_shortage() => return Err(PluginError::Shortage(why.to_string())),
            Err(why) => plugin.refuse(&why.to_string()),
        }
        plugin.ledger.publish();
        Ok(plugin)
    }

    fn start_lsn(&mut self) -> Result<Option<Lsn>, PluginError> {
        Ok(self.saved)
    }

    #[inline]
    fn record(&mut self, record: &WalRecord<'_>) -> Result<(), PluginError> {
        self.apply(record);
        Ok(())
    }

    const IN_PLACE: bool = true;

    #[inline]
    fn record_in_place(&mut self, record: &FlatRecord<'_>) -> Result<bool, PluginError> {
        self.apply(record);
        Ok(true)
    }

    fn raw_in_place(&mut self, record: &RawRecord<'_>) -> Result<bool, PluginError> {
        self.apply(record);
        Ok(true)
    }

    fn poll(&mut self, lsn: Lsn) -> Result<(), PluginError> {
        if self.ledger.reset_pending() {
            self.ledger.reset(lsn);
            (self.reset, self.urgent) = (true, true);
            // At once, or a crash would bring the old counters back.
            self.published(SHORT);
            self.save(lsn);
            self.published(SHORT);
        }
        if self.urgent {
            self.save_reset(lsn);
        }
        self.ledger.publish();
        Ok(())
    }

    fn flush(&mut self, upto: Lsn) -> Result<Option<Lsn>, PluginError> {
        // One that has just arrived is recent enough, until the last.
        let leaving = leaving();
        let before = self.published(if leaving { PATIENCE } else { Duration::ZERO });
        if before == Published::Failed && !leaving {
            // So would the next one now: the next occasion will do.
            return Ok(self.saved);
        }
        let arrived = before == Published::Arrived;
        if self.reset || self.saved != Some(upto) && (!arrived || leaving) {
            self.save(upto);
        }
        let again = arrived && self.saved.is_some_and(|lsn| overtaken(lsn, upto));
        if self.sealed.is_some() || again {
            self.services.flush_again();
        }
        self.ledger.publish();
        Ok(self.saved)
    }

    fn gap(&mut self, _from: Lsn, _to: Lsn) -> Result<(), PluginError> {
        self.ledger.gap();
        Ok(())
    }
}

/// What became of a state that was on its way to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Published {
    /// There is none, or it still is.
    Nothing,
    /// It is there.
    Arrived,
    /// It did not get there, and the one before it stays.
    Failed,
}

/// An empty ledger in the plugin's part of shared memory.
fn empty(area: SharedArea) -> Result<Ledger<'static>, PluginError> {
    let table = Table::init(area.words()).ok_or(PluginError::NoRoom)?;
    Ok(Ledger::new(table, guc::max_entries()))
}

impl WalStat {
    /// Why the state was not taken over, if it was not.
    fn take_over(&mut self, state: SavedState) -> Result<Result<(), String>, PluginError> {
        let mut bytes = Vec::new();
        let mut payload = state.payload.take(MAX_STATE);
        if let Err(error) = payload.read_to_end(&mut bytes).map_err(StateError::from) {
            return match error.is_shortage() {
                true => Err(PluginError::Shortage(error.to_string())),
                false => Ok(Err(error.to_string())),
            };
        }
        if let Err(error) = self.ledger.load(&bytes) {
            return Ok(Err(error.to_string()));
        }
        self.saved = Some(state.lsn);
        self.ledger.saved(state.lsn);
        Ok(Ok(()))
    }

    /// Write the state file; nobody waits for the disk. If that fails, the one
    /// before it stays, and with it the WAL since then is read again after a
    /// restart: no reason to stop counting.
    fn save(&mut self, upto: Lsn) {
        if self.sealed.is_some() || !self.file.can_save(upto) {
            return;
        }
        let bytes = self.ledger.save();
        match self.file.save(upto, |to| to.write_all(&bytes)) {
            Ok(sealed) => {
                self.reset &= sealed.is_none();
                self.sealed = sealed;
            }
            Err(why) => self.could_not_write(&why),
        }
    }

    /// Save a reset as soon as that is possible, and once; if it fails, the next
    /// occasion will do.
    fn save_reset(&mut self, lsn: Lsn) {
        self.published(Duration::ZERO);
        if self.reset {
            self.save(lsn);
        }
        if self.sealed.is_some() {
            // Which looks after it.
            self.services.flush_again();
        }
        let must_wait = self.sealed.is_some() || !self.file.can_save(lsn);
        self.urgent = self.reset && must_wait;
    }

    /// Look whether the state that is on its way has arrived; wait for it no
    /// longer than `patience`.
    fn published(&mut self, patience: Duration) -> Published {
        let Some(result) = self.sealed.as_mut().and_then(|s| s.wait(patience)) else {
            return Published::Nothing;
        };
        self.sealed = None;
        match result {
            Ok(lsn) => {
                self.saved = Some(lsn);
                self.ledger.saved(lsn);
                Published::Arrived
            }
            Err(why) => {
                // Whether it was the one with the reset is all one.
                self.reset = true;
                self.could_not_write(&why);
                Published::Failed
            }
        }
    }

    fn could_not_write(&self, why: &StateError) {
        self.warn(&format!("could not write the state file: {why}"));
    }

    /// A state file that cannot be used: say why, keep it aside, begin anew.
    fn refuse(&mut self, why: &str) {
        let message = format!("ignoring the state file: {why}; WAL is counted anew");
        let message = CString::new(message).unwrap_or_default();
        self.services.log(NAME, &message);
        self.file.set_aside();
    }

    #[inline]
    fn apply(&mut self, record: &impl Record) {
        if let Err(error) = self.ledger.apply(MAJOR, record) {
            self.complain(record, &error);
        }
    }

    /// A record could not be decoded. It is counted, but what it says about
    /// transactions and relations is lost; say so, but not a million times.
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
