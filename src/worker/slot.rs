//! The optional physical replication slot that keeps WAL until it was read.
//!
//! Off by default, because an orphaned slot fills disks. With
//! `walker.slot_name` the worker owns a slot, bounded by our own
//! `walker.max_retained_wal`: past it the slot is dropped, and made again once
//! the worker is close behind. Whatever goes wrong with it, the worker runs on
//! without, and says so.

mod own;
mod server;

use crate::guc;
use crate::reader::redo_pointer;
use crate::shared::Control;
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Pause before a slot that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The same for what is to be dropped or noted, of which only this process knows.
const TIDY: Duration = Duration::from_secs(5);

/// The slot of this worker, if there is one.
pub struct Slot {
    name: String,
    held: bool,
    /// It was given up and is still there, which keeps WAL as if it were held.
    given_up: bool,
    next_try: Option<Instant>,
    /// Why it could not be had, as last logged.
    complaint: String,
    /// Records that ended where state was written, from the oldest to the
    /// youngest: begin and end.
    passed: VecDeque<(Lsn, Lsn)>,
    /// From here on the slot keeps WAL, and the record that ends here.
    held_from: Lsn,
    /// It was made, and that is not noted yet;
    unnoted: bool,
    /// that this failed was said.
    said: bool,
    /// When slots that could not be dropped, of before or our own, and what could
    /// not be noted, are tried again.
    next_tidying: Option<Instant>,
}

/// So many of them are remembered.
const PASSED: usize = 64;

impl Slot {
    /// Take the configured slot, making it if it does not exist.
    pub fn new(control: &Control) -> Slot {
        let mut slot = Slot {
            name: guc::slot_name(),
            held: false,
            given_up: false,
            next_try: None,
            complaint: String::new(),
            passed: VecDeque::new(),
            held_from: Lsn(0),
            unnoted: false,
            said: false,
            next_tidying: None,
        };
        // What the last process held, it no longer does.
        let left = control.text(&control.slot);
        control.set_text(&control.slot, "");
        if !left.is_empty() && left != slot.name && !own::is_another(&left) {
            drop_unconfigured(&left);
        }
        // Nor does one of a server that was stopped since, or crashed.
        for noted in own::noted() {
            if noted != slot.name && noted != left {
                drop_unconfigured(&noted);
            }
        }
        slot.take(control);
        if !slot.held {
            slot.note_it();
        }
        slot
    }

    /// What could not be done before: drop the slots of before, without a word
    /// unless it is done now, and note our own.
    fn tidy(&mut self, control: &Control) {
        let mut left = own::noted();
        left.retain(|name| {
            *name != self.name && !server::is_in_use(name) && server::drop_slot(name).is_ok()
        });
        // To drop another we had to let go of ours.
        if self.held && !server::holds_slot() {
            let unnoted = self.unnoted;
            self.lost(control);
            self.take(control);
            self.unnoted |= unnoted && self.held;
        }
        self.drop_what_was_given_up(&mut left);
        for name in left {
            own::forget(&name);
            pgrx::log!("walker has dropped replication slot \"{name}\"");
        }
        self.note_it();
    }

    /// However far behind the worker is: the slot is not moved on any more.
    fn drop_what_was_given_up(&mut self, dropped: &mut Vec<String>) {
        if !self.given_up {
            return;
        }
        // Somebody may have dropped it meanwhile, and made one of his own.
        if own::is_another(&self.name) {
            self.given_up = false;
        } else if !server::is_in_use(&self.name) && server::drop_slot(&self.name).is_ok() {
            self.given_up = false;
            dropped.push(self.name.clone());
        }
    }

    fn note_it(&mut self) {
        let mut all_done = !self.given_up && own::noted().iter().all(|left| *left == self.name);
        if self.unnoted {
            match own::note(&self.name) {
                Ok(()) => (self.unnoted, self.said) = (false, false),
                Err(why) => {
                    if !std::mem::replace(&mut self.said, true) {
                        pgrx::warning!("walker could not note its replication slot: {why}");
                    }
                    all_done = false;
                }
            }
        }
        self.next_tidying = (!all_done).then(|| Instant::now() + TIDY);
    }

    fn take(&mut self, control: &Control) {
        // As it is it would keep the same WAL again.
        if self.name.is_empty() || self.held || self.given_up {
            return;
        }
        match server::take_slot(&self.name) {
            Ok(made) => {
                self.held = true;
                self.held_from = server::restart_lsn();
                self.next_try = None;
                self.complaint.clear();
                control.set_text(&control.slot, &self.name);
                // One that was there before is somebody else's, for all we know.
                self.unnoted = made;
                self.note_it();
            }
            Err(why) => {
                self.next_try = Some(Instant::now() + RETRY);
                if why == self.complaint {
                    return;
                }
                ereport!(
                    WARNING,
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("walker could not use replication slot \"{}\"", self.name),
                    format!("{why}. The worker goes on without a slot.")
                );
                self.complaint.clone_from(&why);
                control.set_text(&control.last_error, &why);
                control.last_error_at.store(super::failure::now(), Relaxed);
            }
        }
    }

    /// State is written that ends with this record (begin and end).
    pub fn passed(&mut self, record: Option<(Lsn, Lsn)>) {
        if let Some((begin, end)) = record
            && self.passed.back().is_none_or(|(_, last)| *last < end)
        {
            if self.passed.len() == PASSED {
                // Every second one will do.
                let mut odd = false;
                self.passed.retain(|_| {
                    odd = !odd;
                    odd
                });
            }
            self.passed.push_back((begin, end));
        }
    }

    /// All plugins' state is durable up to here: older WAL may go, but for the
    /// last record, by which the state is proven. It can begin in the segment
    /// before, as one that ends a segment does.
    pub fn advance(&mut self, durable: Lsn) {
        let before = self.passed.partition_point(|(_, end)| *end <= durable);
        let Some((begin, end)) = self.passed.drain(..before).next_back() else {
            return;
        };
        if self.held {
            server::advance_slot(begin);
            self.held_from = self.held_from.max(end);
        }
    }

    /// WAL after which state should be made durable so that the slot can
    /// follow well before it is dropped for what it retains.
    pub fn flush_after(&self) -> u64 {
        if self.held {
            guc::max_retained_wal() / 4
        } else {
            u64::MAX
        }
    }

    /// Drop the slot if it is no longer the configured one.
    pub fn leave_behind(&mut self, control: &Control) {
        if (self.held || self.given_up) && self.name != guc::slot_name() {
            drop_unconfigured(&self.name);
            self.lost(control);
        }
    }

    /// Keep to `walker.max_retained_wal`; called now and then.
    pub fn check(&mut self, control: &Control, read: Lsn, written: Lsn) {
        if self.next_tidying.is_some_and(|t| Instant::now() >= t) {
            self.tidy(control);
        }
        let most = guc::max_retained_wal();
        if self.held {
            // Up to the redo pointer the server keeps it anyway.
            let retained = written.bytes_since(server::restart_lsn());
            if retained > most && self.held_from < redo_pointer() {
                self.give_up(control, retained);
            }
        } else if self.next_try.is_some_and(|t| Instant::now() >= t)
            && written.bytes_since(read) < most / 2
        {
            self.take(control);
        }
    }

    fn give_up(&mut self, control: &Control, retained: u64) {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!(
                "walker drops replication slot \"{}\", which retains {} MB of WAL",
                self.name,
                retained >> 20
            ),
            "More than walker.max_retained_wal; WAL that is removed before it was read will be \
             reported as a gap."
        );
        self.given_up = !drop_slot(&self.name);
        self.lost(control);
        self.next_try = Some(Instant::now() + RETRY);
        self.note_it();
    }

    fn lost(&mut self, control: &Control) {
        (self.held, self.unnoted) = (false, false);
        control.set_text(&control.slot, "");
    }
}

/// A slot that the worker held is no longer the configured one: nobody would
/// advance it, and what nobody advances fills the disk.
fn drop_unconfigured(name: &str) {
    ereport!(
        LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("walker drops replication slot \"{name}\", which is no longer walker.slot_name")
    );
    drop_slot(name);
}

/// Drop a slot that this process or one before it held. Whether it is gone.
fn drop_slot(name: &str) -> bool {
    let dropped = server::drop_slot(name);
    match &dropped {
        Ok(()) => own::forget(name),
        Err(why) => ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!("walker could not drop replication slot \"{name}\""),
            why.clone()
        ),
    }
    dropped.is_ok()
}
