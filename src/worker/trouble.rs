//! WAL that cannot be read: not yet, for the moment, or never again.

use super::failure;
use super::run::{NEAR, Worker};
use crate::reader::{NoRecord, Reader, current_limit, redo_pointer, segment_size};
use crate::shared::{self, Control};
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Pause before WAL that could not be read is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(200);
/// WAL that stays unreadable for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(10);
/// The same of a segment that nobody has to put there any more.
const GIVE_UP_SOON: Duration = Duration::from_secs(1);

/// A record of which only the beginning was there is tried again after so long
/// at the latest, or eight times what reading took.
const HOLD: Duration = Duration::from_millis(100);

/// The state of a plugin ends here, and cannot be brought up to date: the WAL
/// behind it was removed while no worker ran.
pub fn lost_behind(from: Lsn) {
    let to = redo_pointer();
    if let Some(control) = shared::control().filter(|_| to > from) {
        let detail = "It was removed before the worker started, so that the state of a plugin \
                      cannot be brought up to date. wal_keep_size and walker.slot_name keep it.";
        tell_lost(control, from, to, detail);
    }
}

/// Count a gap and say so, unless that was done.
fn tell_lost(control: &Control, from: Lsn, to: Lsn, detail: &str) {
    if control.lost(from, to) {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
            format!("walker lost the WAL from {from} to {to}"),
            detail.to_owned()
        );
    }
}

/// How long a missing segment is waited for: a primary does not restore what
/// lies before its redo pointer.
fn patience_for(segno: u64) -> Duration {
    let end = (segno + 1).saturating_mul(segment_size());
    match !current_limit().in_recovery && end <= redo_pointer().0 {
        true => GIVE_UP_SOON,
        false => GIVE_UP,
    }
}

impl Worker<'_> {
    /// There is no record where one was expected.
    pub(super) fn no_record(&mut self, why: NoRecord) {
        match why {
            NoRecord::Incomplete(need) => {
                // Ask for a good deal more than the missing page, so that a
                // huge record is not read over and over while it is written;
                // but not for longer than some of what reading it took.
                let read = need.bytes_since(self.reader.end());
                self.not_before = Lsn(need.0 + (read / 2).min(NEAR));
                self.needed = need;
                self.held_until = Instant::now() + HOLD.max(8 * self.took);
            }
            NoRecord::Removed(segno) => self.lost(&format!("segment {segno} has been removed")),
            // A standby that restores a segment from the archive once more takes
            // the one before away first, which may still be the open one.
            NoRecord::Missing(..) | NoRecord::Invalid(_) if self.missed_lately() => {
                self.try_again();
            }
            NoRecord::Missing(segno, tli) => {
                let message = format!("segment {segno} of timeline {tli} does not exist");
                self.trouble(&message, patience_for(segno));
            }
            NoRecord::Invalid(message) => self.trouble(&message, GIVE_UP),
            NoRecord::Short(message) => self.shortage(&message),
        }
    }

    /// WAL was read.
    pub(super) fn no_trouble(&mut self) {
        self.trouble_since = None;
        self.missed_since = None;
    }

    /// Whether it is too soon to speak of WAL that is not there. The pause between
    /// two looks does not tell: whoever wakes the worker, as replay does, ends it.
    fn missed_lately(&mut self) -> bool {
        let since = self.missed_since.get_or_insert_with(Instant::now);
        since.elapsed() < RETRY
    }

    /// WAL cannot be read, which may pass: a segment that is being renamed at
    /// a promotion, for one.
    fn trouble(&mut self, message: &str, patience: Duration) {
        let since = self.trouble_begins(message);
        if since.elapsed() >= patience && redo_pointer() > self.reader.end() {
            self.lost(message);
            return;
        }
        self.try_again();
    }

    /// WAL that is there is never given up for want of a descriptor.
    fn shortage(&mut self, message: &str) {
        self.trouble_begins(message);
        self.try_again();
    }

    fn try_again(&mut self) {
        self.reader = Reader::new(self.reader.end());
        self.waiter.sleep(RETRY);
    }

    /// Since when there is trouble; if since now, say so.
    fn trouble_begins(&mut self, message: &str) -> Instant {
        *self.trouble_since.get_or_insert_with(|| {
            ereport!(
                WARNING,
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                format!("walker could not read WAL at {}", self.reader.end()),
                message.to_owned()
            );
            self.control.set_text(&self.control.last_error, message);
            self.control.last_error_at.store(failure::now(), Relaxed);
            Instant::now()
        })
    }

    /// WAL is gone for good: say so, tell the plugins it concerns, go on where
    /// the next plugin stands, at the redo pointer at the latest, from which on
    /// every changed page has its image.
    fn lost(&mut self, message: &str) {
        let from = self.reader.end();
        // A plugin that stands farther on may still have all of its WAL.
        let to = self
            .plugins
            .next_after(from)
            .unwrap_or(Lsn(u64::MAX))
            .min(redo_pointer());
        if to <= from {
            self.waiter.sleep(RETRY);
            return;
        }
        let detail = format!("{message}. Reading goes on at {to}.");
        tell_lost(self.control, from, to, &detail);
        self.plugins.gap(from, to);
        self.reader = Reader::new(to);
        self.not_before = Lsn(0);
        self.needed = Lsn(0);
        self.no_trouble();
        // What plugins show of the gap they show before anybody is told that the
        // worker is behind it.
        self.show();
    }
}
