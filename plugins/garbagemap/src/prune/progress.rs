//! How far a pruning is, in the backend's own status.
//!
//! That is where the server's commands keep their progress. Every backend has
//! room for one command's counters; an error and the end of the session clear
//! them. The views of the server look for their own commands only, and so does
//! ours.

use crate::compat;
use pgrx::pg_sys;

/// Our number among `ProgressCommandType`, far from the server's own.
const COMMAND: pg_sys::ProgressCommandType::Type = 0x6762;

/// What is counted. The server's `vacuum_delay_point` may count its sleep at
/// index 10.
#[derive(Clone, Copy, Default)]
pub struct Progress {
    pub ranges_total: i64,
    pub ranges_done: i64,
    pub pages_visited: i64,
    pub pages_pruned: i64,
    pub tuples_removed: i64,
    pub bytes_freed: i64,
}

impl Progress {
    fn params(self) -> [i64; 6] {
        [
            self.ranges_total,
            self.ranges_done,
            self.pages_visited,
            self.pages_pruned,
            self.tuples_removed,
            self.bytes_freed,
        ]
    }

    /// Show it as this backend's.
    pub fn show(self) {
        for (index, value) in (0..).zip(self.params()) {
            // SAFETY: the backend's own entry, which others copy; the index is
            // below PGSTAT_NUM_PROGRESS_PARAM (utils/backend_progress.h).
            unsafe { pg_sys::pgstat_progress_update_param(index, value) };
        }
    }
}

/// This backend is pruning until this is dropped.
pub struct Shown;

impl Shown {
    pub fn start(rel: pg_sys::Oid) -> Shown {
        // SAFETY: the backend's own entry (utils/activity/backend_progress.c).
        unsafe { pg_sys::pgstat_progress_start_command(COMMAND, rel) };
        Shown
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // On an error the end of the transaction does it.
        if !std::thread::panicking() {
            // SAFETY: the backend's own entry.
            unsafe { pg_sys::pgstat_progress_end_command() };
        }
    }
}

/// One backend that is pruning.
pub struct Pruning {
    pub pid: i32,
    pub db_oid: u32,
    pub rel_oid: u32,
    pub counters: [i64; 6],
}

/// All backends that are.
pub fn all() -> Vec<Pruning> {
    let mut found = Vec::new();
    // SAFETY: copies the backends' entries, once in a transaction; the pointer
    // is to one of the copies.
    unsafe {
        for n in 1..=pg_sys::pgstat_fetch_stat_numbackends() {
            let Some(entry) = compat::backend_status(n).as_ref() else {
                continue;
            };
            if entry.st_progress_command == COMMAND {
                let mut counters = [0; 6];
                counters.copy_from_slice(&entry.st_progress_param[..6]);
                found.push(Pruning {
                    pid: entry.st_procpid,
                    db_oid: entry.st_databaseid.to_u32(),
                    rel_oid: entry.st_progress_command_target.to_u32(),
                    counters,
                });
            }
        }
    }
    found
}
