//! Writing the ledger's state a slice at a time.
//!
//! Nobody reads WAL while a slice is written, so a slice is short; the ledger
//! writes again what changes meanwhile. For the disk another thread waits. A
//! save that fails is begun anew at the next occasion, and the old file stays.

use super::oracle;
use super::status::Saved;
use garbagemap_core::Ledger;
use garbagemap_core::map::MapWriter;
use std::time::{Duration, Instant};
use walker_plugin::Services;
use walker_plugin::state::{
    NewState, PATIENCE, SealedState, StateError, StateFile, overtaken, redo_pointer,
};
use walker_plugin::wal::Lsn;

/// How long reading may stand still for a slice.
const SLICE_TIME: Duration = Duration::from_millis(10);
/// Bytes between two looks at the clock.
const SLICE_BYTES: usize = 256 << 10;
/// A save that takes longer is finished in one piece: where WAL changes the
/// ledger faster than slices write it, there would be no end, and neither to
/// the file.
const MOST_TIME: Duration = Duration::from_secs(15);
/// How long the WAL writer has to flush an asynchronous commit: it does so
/// within three times `wal_writer_delay`, which is 200 ms as a rule.
const COMMIT_TIME: Duration = Duration::from_secs(2);

/// What came of a [`Saver::flush`].
pub enum Progress {
    /// Nothing that others need to know.
    None,
    /// All that the ledger knows is in a state, which waits for the disk.
    Sealed,
    /// A state is durable and in its place.
    Published,
}

/// The state file and what is being written of it.
pub struct Saver {
    file: StateFile,
    new: Option<NewState>,
    /// Complete, but not yet durable in its place, and its length.
    sealed: Option<(SealedState, u64)>,
    begun: Instant,
    /// The ledger has learned what is in no WAL and not in the file, nor in what
    /// is sealed.
    outdated: bool,
    /// What is known of the file.
    pub saved: Saved,
}

/// The ledger that is saved.
type Map = Ledger<MapWriter<'static>>;

impl Saver {
    /// Nothing is being written.
    pub fn new(file: StateFile, saved: Saved) -> Saver {
        Saver {
            file,
            new: None,
            sealed: None,
            begun: Instant::now(),
            outdated: false,
            saved,
        }
    }

    /// What is saved lacks something, however little WAL there was since.
    pub fn outdated(&mut self) {
        self.outdated = true;
    }

    /// Go on with a state, or begin one if the file is not recent enough.
    /// `leaving`: nothing will be read any more, so there is no reason to stop in
    /// between.
    pub fn flush(
        &mut self,
        ledger: &mut Map,
        services: &Services,
        upto: Lsn,
        leaving: bool,
    ) -> Result<Progress, StateError> {
        if self.new.is_none() && self.sealed.is_none() {
            let redo = redo_pointer();
            let enough = !self.outdated
                && (self.saved.lsn() == Some(upto) || self.saved.is_recent(upto, redo));
            if !self.file.can_save(upto) || !leaving && enough {
                return Ok(Progress::None);
            }
        }
        let started = Instant::now();
        let result = self.go_on(ledger, services, upto, leaving);
        self.saved.stood_still(started.elapsed());
        if result.is_err() {
            ledger.abandon_save();
            (self.new, self.sealed) = (None, None);
            self.outdated = true;
        }
        result
    }

    fn go_on(
        &mut self,
        ledger: &mut Map,
        services: &Services,
        upto: Lsn,
        leaving: bool,
    ) -> Result<Progress, StateError> {
        let started = Instant::now();
        if let Some((sealed, bytes)) = &self.sealed {
            let patience = if leaving { PATIENCE } else { Duration::ZERO };
            let Some(published) = sealed.wait(patience) else {
                services.flush_again();
                return Ok(Progress::None);
            };
            let lsn = published?;
            self.saved.saved(lsn, *bytes);
            self.sealed = None;
            if !leaving && (self.outdated || overtaken(lsn, upto)) {
                services.flush_again();
            }
            if !leaving || lsn == upto && !self.outdated {
                return Ok(Progress::Published);
            }
        }
        let mut new = match self.new.take() {
            Some(new) => new,
            None => {
                self.begun = started;
                ledger.begin_save()?;
                self.file.begin()?
            }
        };
        let whole = leaving
            || self.begun.elapsed() >= MOST_TIME
            || new.written() > 2 * ledger.stats().memory_used.max(SLICE_BYTES as u64);
        while !ledger.save_slice(&mut new, SLICE_BYTES)? {
            if !whole && started.elapsed() >= SLICE_TIME {
                services.flush_again();
                self.new = Some(new);
                return Ok(Progress::None);
            }
        }
        // What was taken for committed must not be lost in a crash that the state
        // outlives.
        if !oracle::commits_are_durable(whole || self.begun.elapsed() >= COMMIT_TIME) {
            services.flush_again();
            self.new = Some(new);
            return Ok(Progress::None);
        }
        ledger.finish_save(&mut new)?;
        let bytes = new.written();
        if let Some(sealed) = new.seal(upto)? {
            // The state is that of now.
            self.outdated = false;
            self.sealed = Some((sealed, bytes));
            services.flush_again();
            return Ok(Progress::Sealed);
        }
        Ok(Progress::None)
    }
}
