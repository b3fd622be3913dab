//! Which of the configured plugins are loaded, and which are left out.

use crate::guc;
use crate::plugin::current::{self, Callback};
use crate::plugin::{LoadError, LoadedPlugin, load};
use crate::shared::{Control, PluginState, PluginStatus};
use crate::worker::crash::{self, Crash, MAX_CRASHES};
use crate::worker::watch;
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use walker_plugin::wal::Lsn;

/// A plugin with as many failures in a row at one record is left out.
const MAX_FAILURES: u32 = 3;
/// So is one that fails as often at any record, each time soon after a start:
/// its failures hold up the others.
const MAX_STREAK: u32 = 10;
/// Memory that cannot be had is mostly taken by others, and comes back: time
/// for that, but not for ever, or a record that needs too much holds up all.
const MAX_SHORTAGES: u32 = 100;

/// Load what is configured, each with its place in the list.
pub(super) fn load_all(control: &Control) -> Vec<(u32, LoadedPlugin)> {
    let names = guc::plugins();
    adopt_names(control, &names);
    if control.forgive_crashes.swap(0, Relaxed) != 0 {
        crash::forget();
    }
    let crashes = crash::noted();
    if control.starts.load(Relaxed) == 1 {
        crash::show(control, &crashes);
    }
    let mut loaded = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if let Some(plugin) = load_one(control, index, name, &crashes) {
            loaded.push((index as u32, plugin));
        }
    }
    loaded
}

/// Make the status rows those of the configured plugins. A plugin keeps its
/// position and its counters, wherever in the list it stands now.
fn adopt_names(control: &Control, names: &[String]) {
    current::set_names(names);
    let old = control.save_status();
    if !old.iter().map(|s| &s.name).eq(names) {
        // A new list is a new try, too.
        if !old.is_empty() {
            crash::forget();
        }
        for (row, name) in control.plugins.iter().zip(names) {
            let saved = old.iter().find(|s| s.name == *name);
            control.set_status(row, name, saved);
        }
    }
    // Until one has started, what it shows is emptied and filled again.
    for row in control.plugins.iter().take(names.len()) {
        row.state.store(PluginState::Unknown as u32, Relaxed);
    }
    control.n_plugins.store(names.len() as u32, Relaxed);
}

/// Where a plugin failed so often.
fn place(status: &PluginStatus) -> String {
    match Callback::from_u32(status.failed_callback.load(Relaxed)) {
        Callback::Record => format!("at {}", Lsn(status.failed_lsn.load(Relaxed))),
        // Not at one position.
        callback => format!("in a row in callback {}", callback.name()),
    }
}

fn load_one(
    control: &Control,
    index: usize,
    name: &str,
    crashes: &[Crash],
) -> Option<LoadedPlugin> {
    let status = &control.plugins[index];
    let often = status.failures.load(Relaxed) >= MAX_FAILURES;
    let short = status.shortages.load(Relaxed) >= MAX_SHORTAGES;
    let crashed = crash::is_left_out(name, crashes);
    if crashed || often || short || status.streak.load(Relaxed) >= MAX_STREAK {
        status.state.store(PluginState::Quarantined as u32, Relaxed);
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "walker plugin \"{name}\" {}, it is quarantined",
                if crashed {
                    format!("crashed the server {MAX_CRASHES} times")
                } else if often {
                    format!("failed {MAX_FAILURES} times {}", place(status))
                } else if short {
                    format!("failed {MAX_SHORTAGES} times in a row for lack of memory")
                } else {
                    format!("failed {MAX_STREAK} times in a row")
                }
            ),
            "The other plugins go on. SELECT walker_restart() lifts the quarantine."
        );
        return None;
    }
    // A FATAL in its _PG_init must be laid to its charge, too.
    let resume = Lsn(status.applied_lsn.load(Relaxed));
    watch::enter(index as u32, Callback::Load, resume);
    let loaded = load(name);
    watch::leave();
    match loaded {
        Ok(plugin) => {
            control.set_text(&status.library, &plugin.library);
            status.abi_version.store(plugin.abi_version, Relaxed);
            Some(plugin)
        }
        // With the plugin left out its records would go by.
        Err(LoadError::Shortage(message)) => {
            current::enter(index as u32, Callback::Load, resume);
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                format!("could not load walker plugin \"{name}\""),
                message
            );
        }
        Err(error) => {
            let message = error.to_string();
            status.state.store(PluginState::LoadFailed as u32, Relaxed);
            status.last_error_lsn.store(resume.0, Relaxed);
            control.set_text(&status.last_error, &message);
            ereport!(
                WARNING,
                PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
                format!("could not load walker plugin \"{name}\""),
                message
            );
            None
        }
    }
}
