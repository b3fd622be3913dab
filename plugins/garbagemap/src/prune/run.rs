//! From the map's ranges to pages, most garbage first.
//!
//! The table is opened for a tenth of a second at a time, each in a
//! transaction of its own if the CALL is no part of one: so it holds back
//! nobody's horizon and keeps nobody from the table for longer.

use super::page::{Outcome, Pruner};
use super::progress::{Progress, Shown};
use crate::error::Error;
use crate::forks::AllVisible;
use crate::relation::{OpenTable, Table};
use crate::scan::Ring;
use crate::{area, compat};
use pgrx::pg_sys;
use std::time::{Duration, Instant};
use walker_wal::RelFileLocator;

/// How long the table stays open.
const TURN: Duration = Duration::from_millis(100);

/// The arguments of `garbage_prune`.
pub struct Request {
    pub rel: pg_sys::Oid,
    pub max_pages: Option<u64>,
    pub max_time: Option<Duration>,
    pub min_dead: u16,
}

/// Why it ended before the last range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    MaxPages,
    MaxTime,
    /// The table is not the one any more that the map spoke of.
    Rewritten,
}

impl Stop {
    pub fn name(self) -> &'static core::ffi::CStr {
        match self {
            Stop::MaxPages => c"max_pages",
            Stop::MaxTime => c"max_time",
            Stop::Rewritten => c"rewritten",
        }
    }
}

/// What was done.
#[derive(Default)]
pub struct Done {
    pub progress: Progress,
    pub pages_held: i64,
    pub pages_busy: i64,
    pub stop: Option<Stop>,
}

/// Prune what the map says of the table. In an atomic call the transaction is
/// not ours to end.
pub fn run(request: Request, table: Table, atomic: bool) -> Result<Done, Error> {
    let ranges = hot_ranges(table.locator, request.min_dead)?;
    let transactions = Transactions::begin(atomic);
    let done = Prune::new(request, table, &ranges).run(&ranges, &transactions)?;
    transactions.end();
    Ok(done)
}

/// The ranges with dead tuples, most first.
fn hot_ranges(locator: RelFileLocator, min_dead: u16) -> Result<Vec<(u16, u32)>, Error> {
    let map = area::map()?;
    let mut hot = Vec::new();
    if let Some(relation) = map.find(locator) {
        for (rangeno, counts) in relation.published() {
            if counts.dead >= min_dead {
                hot.push((counts.dead, rangeno));
            }
        }
    }
    hot.sort_unstable_by_key(|&(dead, rangeno)| (u16::MAX - dead, rangeno));
    Ok(hot)
}

/// The transactions of a CALL: its own, or the one it is called in.
struct Transactions {
    atomic: bool,
}

impl Transactions {
    fn begin(atomic: bool) -> Transactions {
        if !atomic {
            // SAFETY: executor/spi.h. An error ends the connection.
            unsafe { pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32) };
        }
        Transactions { atomic }
    }

    /// Begin a new one, if that is ours to do.
    fn next(&self) {
        if !self.atomic {
            // SAFETY: connected without SPI_OPT_ATOMIC; we hold no lock, no
            // pin and no snapshot.
            unsafe { pg_sys::SPI_commit() };
        }
        // SAFETY: in a transaction. Taking a snapshot brings the process's
        // horizons up to date; it is not kept, so that our own xmin holds
        // back nobody (SnapshotResetXmin in utils/time/snapmgr.c).
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            pg_sys::PopActiveSnapshot();
        }
    }

    fn end(&self) {
        if !self.atomic {
            // SAFETY: connected.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// Counts the cost of pages as VACUUM does, until it is dropped.
struct CostDelay;

impl CostDelay {
    fn start() -> CostDelay {
        compat::set_cost_delay(true);
        CostDelay
    }
}

impl Drop for CostDelay {
    fn drop(&mut self) {
        compat::set_cost_delay(false);
    }
}

/// A pruning under way.
struct Prune {
    request: Request,
    table: Table,
    started: Instant,
    /// Blocks done of the range that is next.
    begun: u32,
    done: Done,
}

impl Prune {
    fn new(request: Request, table: Table, ranges: &[(u16, u32)]) -> Prune {
        let progress = Progress {
            ranges_total: ranges.len() as i64,
            ..Progress::default()
        };
        Prune {
            request,
            table,
            started: Instant::now(),
            begun: 0,
            done: Done {
                progress,
                ..Done::default()
            },
        }
    }

    fn run(mut self, ranges: &[(u16, u32)], transactions: &Transactions) -> Result<Done, Error> {
        let width = area::map()?.range_blocks();
        let shown = Shown::start(self.table.oid);
        let _cost = CostDelay::start();
        // In the memory context of the call, which outlives its transactions.
        let ring = Ring::vacuum();
        let mut left = ranges;
        while !left.is_empty() && self.done.stop.is_none() {
            transactions.next();
            let open = self.table.open()?;
            if open.locator() == self.table.locator {
                left = self.turn(&open, &ring, left, width);
            } else {
                self.done.stop = Some(Stop::Rewritten);
            }
        }
        drop(shown);
        Ok(self.done)
    }

    /// Prune ranges until it is time to let go of the table; those left, the
    /// first of them perhaps in part.
    fn turn<'r>(
        &mut self,
        open: &OpenTable,
        ring: &Ring,
        ranges: &'r [(u16, u32)],
        width: u32,
    ) -> &'r [(u16, u32)] {
        let began = Instant::now();
        let blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
        let (pruner, mut visible) = (Pruner::new(open, ring), AllVisible::new(open));
        let mut left = ranges;
        while let Some(((_, rangeno), rest)) = left.split_first() {
            let first = rangeno.saturating_mul(width).min(blocks);
            let end = first.saturating_add(width).min(blocks);
            let start = first.saturating_add(self.begun).min(end);
            let mut at = start;
            while at < end {
                self.done.stop = self.limit();
                if self.done.stop.is_some() || began.elapsed() >= TURN {
                    break;
                }
                // What is all-visible holds no garbage.
                if visible.count(u64::from(at), u64::from(at) + 1) == 0 {
                    compat::delay_point();
                    self.count(pruner.page(at));
                }
                at += 1;
            }
            if start < at {
                pruner.publish_space(start, at);
            }
            if at < end {
                self.begun = at - first;
                self.done.progress.show();
                return left;
            }
            self.begun = 0;
            self.done.progress.ranges_done += 1;
            self.done.progress.show();
            left = rest;
        }
        left
    }

    fn limit(&self) -> Option<Stop> {
        let visited = self.done.progress.pages_visited as u64;
        if self.request.max_pages.is_some_and(|max| visited >= max) {
            return Some(Stop::MaxPages);
        }
        let late = |max| self.started.elapsed() >= max;
        self.request
            .max_time
            .is_some_and(late)
            .then_some(Stop::MaxTime)
    }

    fn count(&mut self, outcome: Outcome) {
        let progress = &mut self.done.progress;
        progress.pages_visited += 1;
        match outcome {
            Outcome::Clean => {}
            Outcome::Held => self.done.pages_held += 1,
            Outcome::Busy => self.done.pages_busy += 1,
            Outcome::Pruned { tuples, bytes } => {
                progress.pages_pruned += 1;
                progress.tuples_removed += tuples as i64;
                progress.bytes_freed += bytes as i64;
            }
        }
    }
}
