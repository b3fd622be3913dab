//! Where plugins without state of their own were, across server restarts.
//!
//! A plugin that saves no state gets every record at least once: the worker
//! itself remembers, in its own state file, up to where the plugin has seen
//! all WAL.

use pgrx::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use walker_plugin::state::{StateError, StateFile};
use walker_plugin::wal::Lsn;

/// Positions by plugin name.
#[derive(Default, Serialize, Deserialize)]
pub struct Remembered {
    positions: Vec<(String, Lsn)>,
}

/// The largest file that is believed: 16 plugins need a fraction of it.
const MAX_BYTES: u64 = 64 * 1024;

fn file() -> StateFile {
    StateFile::new("walker")
}

impl Remembered {
    /// What was remembered last; nothing if it cannot be trusted.
    pub fn load() -> Remembered {
        let loaded = file().load().and_then(|found| {
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

    /// Remember where these plugins are, at `upto` or before; whether that is
    /// durable now.
    pub fn save(&mut self, plugins: Vec<(String, Lsn)>, upto: Lsn) -> bool {
        self.positions = plugins;
        if self.positions.is_empty() {
            return false;
        }
        let saved = file().save(upto, |to: &mut dyn Write| {
            serde_json::to_writer(to, self).map_err(Into::into)
        });
        match saved {
            Ok(lsn) => lsn.is_some(),
            Err(error) => {
                pgrx::warning!("walker could not write its state file: {error}");
                false
            }
        }
    }
}
