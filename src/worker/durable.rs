//! Where plugins without state of their own were, across server restarts.
//!
//! A plugin that saves no state gets every record at least once: the worker
//! itself remembers, in its own state file, up to where the plugin has seen
//! all WAL. Nobody waits for the disk: see [`Remembered::durable`].

use crate::reader::history::{self, Proof};
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::time::Duration;
use walker_plugin::RecordId;
use walker_plugin::state::{SealedState, StateError, StateFile};
use walker_plugin::wal::Lsn;

/// Positions by plugin name.
#[derive(Default, Serialize, Deserialize)]
pub struct Remembered {
    positions: Vec<(String, Lsn)>,
    /// What was remembered last, until it is durable.
    #[serde(skip)]
    sealed: Option<SealedState>,
}

/// The largest file that is believed: 16 plugins need a fraction of it.
const MAX_BYTES: u64 = 64 * 1024;

fn file() -> StateFile {
    StateFile::new("walker")
}

impl Remembered {
    /// What was remembered last; nothing if it cannot be trusted.
    pub fn load() -> Remembered {
        // Where WAL is missing a position is all the more of use: from there on
        // it was lost, and that is told.
        let believe = |last: &RecordId| history::prove(last) != Proof::Foreign;
        let loaded = file().load_if(believe).and_then(|found| {
            let Some(found) = found else {
                return Ok(Remembered::default());
            };
            let mut text = String::new();
            found.payload.take(MAX_BYTES).read_to_string(&mut text)?;
            serde_json::from_str(&text).map_err(|_| StateError::Damaged("it is not valid JSON"))
        });
        loaded.unwrap_or_else(|error| {
            if error.is_shortage() {
                // The file may be sound; it must still be there when memory
                // and descriptors are.
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                    format!("walker could not read its state file: {error}")
                );
            }
            pgrx::log!("walker ignores its state file: {error}");
            file().set_aside();
            Remembered::default()
        })
    }

    /// Where the named plugin was.
    pub fn position(&self, plugin: &str) -> Option<Lsn> {
        self.positions
            .iter()
            .find(|(name, _)| name == plugin)
            .map(|(_, lsn)| *lsn)
    }

    /// Remember where these plugins are, at `upto` or before. What was to be
    /// remembered before that must be [durable](Self::durable).
    pub fn save(&mut self, plugins: Vec<(String, Lsn)>, upto: Lsn) {
        self.positions = plugins;
        if self.positions.is_empty() {
            return;
        }
        let saved = file().save(upto, |to: &mut dyn Write| {
            serde_json::to_writer(to, self).map_err(Into::into)
        });
        match saved {
            Ok(sealed) => self.sealed = sealed,
            Err(error) => complain(&error),
        }
    }

    /// Whether something is not durable yet.
    pub fn pending(&self) -> bool {
        self.sealed.is_some()
    }

    /// The position up to which all is durable now that was not before. Waits
    /// for the disk no longer than `patience`.
    pub fn durable(&mut self, patience: Duration) -> Option<Lsn> {
        let done = self.sealed.as_mut()?.wait(patience)?;
        self.sealed = None;
        done.inspect_err(complain).ok()
    }
}

fn complain(error: &StateError) {
    pgrx::warning!("walker could not write its state file: {error}");
}
