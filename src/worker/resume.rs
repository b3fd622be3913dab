//! Where each plugin goes on after the process ended in the middle of a batch.
//!
//! Positions are published batch by batch. When one plugin ends the process
//! within a batch, the others have seen more than was published; so that they
//! see no record twice and miss none, what they have seen is worked out from
//! the record at hand.

use crate::plugin::current::{self, Callback};
use crate::plugin::stats::BatchStats;
use crate::shared::{Control, PluginState};
use core::sync::atomic::Ordering::Relaxed;

/// Publish what was delivered since the last batch ended. In the exit callback.
pub fn publish(control: &Control) {
    let Some(read_to) = current::last_read() else {
        return;
    };
    if let Some(stats) = BatchStats::of_process() {
        // The record at hand has been counted.
        stats.publish(control);
        control.counted_to_lsn.fetch_max(read_to.0, Relaxed);
    }
    let running = current::running().filter(|r| r.callback == Callback::Record);
    for (index, status) in (0u32..).zip(control.configured()) {
        if status.state.load(Relaxed) != PluginState::Running as u32 {
            continue;
        }
        let seen = match running {
            // A record goes to the plugins in their order: those behind the
            // one that failed, and itself, have not had it.
            Some(failed) if index >= failed.plugin => failed.lsn,
            _ => read_to,
        };
        status.applied_lsn.fetch_max(seen.0, Relaxed);
    }
}
