//! Transactions whose end is in no record that is still to come.
//!
//! A commit is in the WAL before the transaction is no longer running: it may
//! wait for a standby in between, for hours. Who sees what it deleted, in a page,
//! and does not know of that record is told that it is running: a worker that
//! began behind it, or one that has seen the ends of so many since that it no
//! longer remembers this one. The next record of running transactions tells when
//! it is no longer one of them, but only if nobody runs for longer, and a server
//! that does nothing else writes none.

use super::oracle::ServerOracle;
use garbagemap_core::map::MapWriter;
use garbagemap_core::{Ledger, Outcome};
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// How often the server is asked, while anything is undecided.
const ASK: Duration = Duration::from_secs(1);
/// About more of them it is not asked at once, but about the next ones each time.
const MOST: usize = 1000;

/// What the server was asked.
pub struct Undecided {
    asked: Instant,
    /// About so many of them, beyond which it is asked next.
    passed: usize,
    /// Those that had ended,
    ended: Vec<(u32, Outcome)>,
    /// the end of each in front of this position.
    upto: Lsn,
}

impl Undecided {
    /// Not asked yet.
    pub fn new() -> Undecided {
        Undecided {
            asked: Instant::now(),
            passed: 0,
            ended: Vec::new(),
            upto: Lsn(0),
        }
    }

    /// Settle what is still undecided though its end has been `applied`, if it is
    /// in the WAL that was read. On a standby that tells: it is read when it has
    /// been replayed, and commits wait for nobody.
    pub fn settle(&mut self, ledger: &mut Ledger<MapWriter<'static>>, applied: Lsn) {
        if !self.ended.is_empty() {
            // SAFETY: set once at server start.
            let segment = unsafe { pg_sys::wal_segment_size } as u32;
            if applied.reaches(self.upto, segment) {
                ledger.settle_ended(self.ended.drain(..));
            }
            return;
        }
        let undecided = ledger.stats().pending_transactions;
        if undecided == 0 || self.asked.elapsed() < ASK {
            return;
        }
        self.asked = Instant::now();
        // SAFETY: reads shared memory (access/transam/xlog.c).
        if unsafe { pg_sys::RecoveryInProgress() } {
            return;
        }
        if self.passed as u64 >= undecided {
            self.passed = 0;
        }
        self.ended = ledger
            .ended_of(None, (self.passed, MOST), &mut ServerOracle)
            .unwrap_or_default();
        self.passed += MOST;
        // Behind the answers: a transaction has written its end when it is no
        // longer running.
        // SAFETY: as above.
        self.upto = Lsn(unsafe { pg_sys::GetXLogInsertRecPtr() });
    }
}
