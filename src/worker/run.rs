//! The worker's loop.

use super::budget::Budget;
use super::call::call_context;
use super::crash;
use super::positions::Plugins;
use super::rate::Rate;
use super::slot::Slot;
use super::wait::Waiter;
use super::{failure, signals, watch};
use crate::plugin::dispatch::{BatchEnd, BatchInput, run_batch};
use crate::plugin::stats::BatchStats;
use crate::reader::{Limit, Reader, current_limit, redo_pointer};
use crate::services;
use crate::shared::{Control, WorkerState};
use crate::{compat, guc};
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Between two parts of a state while there is no WAL to read, and at most.
pub(super) const BREATH: Duration = Duration::from_millis(1);
const LONGEST_BREATH: Duration = Duration::from_millis(16);
/// How often the slot is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// WAL that has not grown for so long is complete enough to be tried.
const GROWTH: Duration = Duration::from_millis(20);
/// While there is more to read, what was read is shown so often.
const SHOW: Duration = Duration::from_millis(10);
/// Reading less than this behind the limit is "streaming".
pub(super) const NEAR: u64 = 16 * 1024 * 1024;

/// The worker between two turns of its loop.
pub(super) struct Worker<'a> {
    pub(super) control: &'a Control,
    pub(super) plugins: Plugins,
    pub(super) reader: Reader,
    stats: &'static BatchStats,
    record_context: pg_sys::MemoryContext,
    pub(super) waiter: Waiter,
    /// Plugins' state was last made durable at this position,
    pub(super) flushed: Lsn,
    /// with this redo pointer.
    pub(super) redo: Lsn,
    timeline: u32,
    pub(super) trouble_since: Option<Instant>,
    /// WAL was not there since, which nobody was told of yet.
    pub(super) missed_since: Option<Instant>,
    /// An incomplete record: do not try again before the limit is here,
    pub(super) not_before: Lsn,
    /// or, if WAL has stopped growing or this is past, here.
    pub(super) needed: Lsn,
    pub(super) held_until: Instant,
    /// What the last batch took.
    pub(super) took: Duration,
    rate: Rate,
    budget: Budget,
    pub(super) first_flush: bool,
    /// Positions are to be remembered as soon as that is possible.
    pub(super) to_remember: bool,
    breath: Duration,
    pub(super) slot: Slot,
    looked: Instant,
    /// What was read before was shown then.
    shown: Instant,
}

/// Read WAL until asked to stop.
pub fn run(control: &Control) {
    control.since.store(failure::now(), Relaxed);
    // SAFETY: set by the postmaster before it starts us.
    control.pid.store(unsafe { pg_sys::MyProcPid }, Relaxed);
    control.set_state(WorkerState::Starting);
    control.starts.fetch_add(1, Relaxed);
    control.restart_requested.store(0, Relaxed);

    // Plugins may begin behind where the last process stopped: until they are
    // there again, nobody may believe they are.
    control.applied_lsn.store(0, Relaxed);

    let plugins = Plugins::start(control);
    let redo = redo_pointer();
    let start = plugins.start_lsn().unwrap_or(redo);
    begin_counting(control, start);
    ereport!(
        LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("walker started at {start}, plugins: {}", plugins.names())
    );
    let mut worker = Worker {
        control,
        plugins,
        reader: Reader::new(start),
        stats: BatchStats::new(),
        record_context: call_context(),
        waiter: Waiter::new(),
        flushed: start,
        // What plugins have may not reach as far: a checkpoint can begin, or have
        // begun, while the worker starts.
        redo: if start >= redo { redo } else { Lsn(0) },
        timeline: 0,
        trouble_since: None,
        missed_since: None,
        not_before: Lsn(0),
        needed: Lsn(0),
        held_until: Instant::now(),
        took: Duration::ZERO,
        rate: Rate::new(),
        budget: Budget::new(),
        first_flush: true,
        to_remember: false,
        breath: BREATH,
        slot: Slot::new(control),
        looked: Instant::now(),
        shown: Instant::now(),
    };
    worker.publish();
    // Before the first record: a worker that dies at it again and again must
    // still keep the slot within its bound.
    worker.slot.check(control, start, current_limit().lsn);
    while worker.step() {}
    worker.leave();
}

impl Worker<'_> {
    /// One turn; false when it is time to leave.
    fn step(&mut self) -> bool {
        watch::on();
        signals::serve();
        if signals::shutdown_requested() || self.must_restart() {
            return false;
        }
        let limit = current_limit();
        self.control.limit_lsn.store(limit.lsn.0, Relaxed);
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.slot.check(self.control, self.reader.end(), limit.lsn);
            crash::forget_if_calm(self.control);
        }
        if limit.lsn <= self.reader.end() || limit.lsn < self.not_before {
            self.idle(limit);
            return true;
        }
        self.reader.set_limit(limit);
        self.waiter.saw_wal();
        let (before, began) = (self.reader.end(), Instant::now());
        let end = self.batch(limit);
        self.took = began.elapsed();
        // Batch after batch would change the same words again.
        if matches!(end, BatchEnd::Full) && self.shown_lately() {
            self.no_trouble();
            return true;
        }
        // A SIGTERM that came while a plugin was running is a request to us.
        signals::serve();
        // What plugins show of these records they show now, before anybody is
        // told that the records were applied.
        self.show();
        self.show_state(limit);
        // An interrupt may have come before anything was read.
        if self.reader.end() > before {
            self.no_trouble();
        }
        if let BatchEnd::NoRecord(why) = end {
            self.no_record(why);
        }
        // One that is not complete yet is read from its beginning then, so it is not
        // kept either.
        self.reader.slim();
        self.flush_if_due();
        self.stay_within_memory();
        true
    }

    fn batch(&mut self, limit: Limit) -> BatchEnd {
        let input = BatchInput {
            limit: limit.lsn,
            count_from: Lsn(self.control.counted_to_lsn.load(Relaxed)),
            positions: &self.plugins.positions,
            record_context: self.record_context,
        };
        run_batch(&mut self.reader, &self.plugins.table, &input, self.stats)
    }

    /// Nothing to read, or more of the same is waited for.
    fn idle(&mut self, limit: Limit) {
        let held = limit.lsn > self.reader.end() && limit.lsn >= self.needed;
        if !held {
            self.control.set_state(WorkerState::Waiting);
            self.control.caught_up_at.store(failure::now(), Relaxed);
            self.show_title("waiting at");
        }
        self.plugins.poll(self.reader.end());
        self.flush_if_due();
        if held && Instant::now() >= self.held_until {
            self.not_before = self.needed;
            return;
        }
        if services::wants_flush() || self.plugins.remembering() {
            // Others may want the processor, too, and the disk its time.
            self.waiter.sleep(self.breath);
            self.breath = (self.breath * 2).min(LONGEST_BREATH);
            return;
        }
        self.breath = BREATH;
        if limit.lsn < self.needed || limit.lsn >= self.not_before {
            self.waiter.wait(self.control, limit.lsn, limit.in_recovery);
            return;
        }
        // There is what was asked for, and we would like more at a time.
        self.waiter.sleep(GROWTH);
        if current_limit().lsn == limit.lsn {
            self.not_before = self.needed;
        }
    }

    /// The configuration changed so that this process cannot serve it, or
    /// somebody called `walker_restart()`.
    fn must_restart(&self) -> bool {
        if self.control.restart_requested.swap(0, Relaxed) != 0 {
            return true;
        }
        if !signals::reload_requested() {
            return false;
        }
        let before = (guc::plugins(), guc::slot_name());
        // SAFETY: between two records; errors in the file are only logged.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        // Libraries cannot be unloaded: a new list needs a new process.
        (guc::plugins(), guc::slot_name()) != before
    }

    /// Whether what was read need not be shown yet.
    fn shown_lately(&self) -> bool {
        self.shown.elapsed() < SHOW
            // A state that is written in parts goes on with each batch,
            && !services::wants_flush()
            // plugins are told of a timeline where it begins,
            && self.reader.timeline() == self.timeline
            // and who wakes us waits for something.
            && !signals::woken()
    }

    /// Have all see what was read.
    pub(super) fn show(&mut self) {
        self.plugins.poll(self.reader.end());
        self.publish();
        self.shown = Instant::now();
    }

    /// Show what the last batches did.
    fn publish(&mut self) {
        let end = self.reader.end();
        let control = self.control;
        self.stats.publish(control);
        control.counted_to_lsn.fetch_max(end.0, Relaxed);
        self.plugins.applied(control, end);
        let tli = self.reader.timeline();
        if tli != 0 && tli != self.timeline {
            if self.timeline != 0 {
                self.plugins.timeline(tli, end);
            }
            self.timeline = tli;
            control.timeline.store(tli, Relaxed);
        }
        self.rate.seen(control, end);
        // Last: whoever sees this position sees all the rest.
        control
            .applied_lsn
            .store(end.0, core::sync::atomic::Ordering::Release);
        services::wake_waiters(control);
    }

    fn show_state(&mut self, limit: Limit) {
        let behind = limit.lsn.bytes_since(self.reader.end());
        let state = if behind > NEAR {
            WorkerState::CatchingUp
        } else {
            WorkerState::Streaming
        };
        self.control.set_state(state);
        if behind == 0 {
            self.control.caught_up_at.store(failure::now(), Relaxed);
        }
        if self.rate.due_for_title() {
            self.show_title(state.name());
        }
    }

    fn show_title(&self, what: &str) {
        if let Ok(title) = CString::new(format!("{what} {}", self.reader.end())) {
            compat::set_ps_display(&title);
        }
    }

    /// A worker that grows beyond its limit makes way for a new one. Its state
    /// is sound, so it is written first and the new one goes on from there.
    fn stay_within_memory(&mut self) {
        if let Some(bytes) = self.budget.exceeded() {
            self.flush_whole();
            failure::too_much_memory(bytes, self.reader.end());
        }
    }

    fn leave(&mut self) {
        if self.control.applied_lsn.load(Relaxed) < self.reader.end().0 {
            self.show();
        }
        self.flush_whole();
        self.slot.leave_behind(self.control);
        self.plugins.shut_down(self.reader.end());
        ereport!(
            LOG,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("walker stopped at {}", self.reader.end())
        );
    }
}

/// Count records from `start` on, or go on counting where the last process of
/// this server stopped.
fn begin_counting(control: &Control, start: Lsn) {
    let counted_to = control.counted_to_lsn.load(Relaxed);
    if counted_to == 0 || start.0 > counted_to {
        for rmgr in &control.rmgrs {
            rmgr.records.store(0, Relaxed);
            rmgr.bytes.store(0, Relaxed);
            rmgr.fpi_bytes.store(0, Relaxed);
        }
        control.counted_from_lsn.store(start.0, Relaxed);
        control.counted_to_lsn.store(start.0, Relaxed);
    }
}
