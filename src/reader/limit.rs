//! Up to where WAL may be read.

use pgrx::prelude::*;
use walker_plugin::wal::Lsn;

/// Up to where WAL may be read, and on which timeline that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Flush position of a primary, replay position of a standby: WAL before
    /// it is final.
    pub lsn: Lsn,
    /// Timeline of that position.
    pub tli: u32,
    /// Whether the server is a standby (or recovers from an archive).
    pub in_recovery: bool,
}

/// The limit as of now.
///
/// On a standby the replay position and not the received one: WAL that was
/// received but not replayed can still be thrown away at a promotion, and a
/// map that runs ahead of the tables would be wrong.
pub fn current_limit() -> Limit {
    let mut tli = 0;
    // SAFETY: GetFlushRecPtr is valid once recovery has ended, which
    // RecoveryInProgress decides for good (access/transam/xlog.c);
    // GetXLogReplayRecPtr is valid at any time.
    unsafe {
        let in_recovery = pg_sys::RecoveryInProgress();
        let lsn = if in_recovery {
            pg_sys::GetXLogReplayRecPtr(&mut tli)
        } else {
            pg_sys::GetFlushRecPtr(&mut tli)
        };
        Limit {
            lsn: Lsn(lsn),
            tli,
            in_recovery,
        }
    }
}
