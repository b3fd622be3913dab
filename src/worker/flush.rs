//! When plugins' state is made durable, and which WAL may go then.

use super::run::{BREATH, Worker};
use super::signals;
use crate::guc;
use crate::reader::{current_limit, history, redo_pointer};
use crate::services;
use std::time::{Duration, Instant};
use walker_plugin::state::PATIENCE;

/// What is left of plugins' state is written for so long at the end.
const LAST_FLUSH: Duration = Duration::from_millis(700);

impl Worker<'_> {
    /// Make plugin state durable after a checkpoint, whose redo pointer lets
    /// older WAL go, and after much WAL.
    pub(super) fn flush_if_due(&mut self) {
        let redo = redo_pointer();
        let end = self.reader.end();
        let past_redo = redo != self.redo && end >= redo;
        // Without any durable state a crash would lose all that was learned.
        let first = self.first_flush && end == current_limit().lsn;
        let much = guc::flush_wal().min(self.slot.flush_after());
        if past_redo || first || end.bytes_since(self.flushed) >= much {
            self.flush();
            // One for another reason, before that checkpoint was read, does not
            // serve it; and behind a gap there is nothing yet to prove it by.
            if end >= redo && history::last_span().is_some_and(|(_, last)| last == end) {
                self.redo = redo;
            }
        } else if services::wants_flush() {
            self.flush_plugins(services::take_flush_wishes());
        }
        self.go_on_remembering(Duration::ZERO);
    }

    /// Nobody reads WAL here, so `patience` with the disk is short.
    fn go_on_remembering(&mut self, patience: Duration) {
        let end = self.reader.end();
        if self.plugins.show_remembered(self.control, patience) {
            self.release();
        }
        if self.to_remember {
            self.to_remember = !self.plugins.remember(self.control, end);
        }
    }

    fn flush(&mut self) {
        let end = self.reader.end();
        self.first_flush = false;
        self.to_remember = !self.plugins.remember(self.control, end);
        services::take_flush_wishes();
        self.flush_plugins(u32::MAX);
        self.flushed = end;
    }

    /// A large state is written in parts, between which WAL is read.
    fn flush_plugins(&mut self, which: u32) {
        self.slot.passed(history::last_span());
        // What was remembered before may be more than they have made durable, and
        // if one fails now nobody remembers where the others were.
        self.to_remember |= self.plugins.flush(self.control, self.reader.end(), which);
        self.release();
    }

    /// Let WAL go that no plugin will need again: without any, all that was
    /// read.
    fn release(&mut self) {
        let durable = self.plugins.durable(self.control);
        self.slot.advance(durable.unwrap_or(self.reader.end()));
    }

    /// All of it, as nothing will be read any more. A plugin that finds no end
    /// must not keep the server from stopping.
    pub(super) fn flush_whole(&mut self) {
        signals::leave();
        let started = Instant::now();
        self.go_on_remembering(PATIENCE);
        self.flush();
        // All are on their way to the disk now, and each is waited for once.
        let mut rounds = 0;
        while services::wants_flush() && (rounds == 0 || started.elapsed() < LAST_FLUSH) {
            signals::serve();
            self.waiter.sleep(BREATH);
            self.flush_plugins(services::take_flush_wishes());
            rounds += 1;
        }
        let once_more = self.to_remember;
        self.go_on_remembering(PATIENCE);
        if once_more && !self.to_remember {
            self.go_on_remembering(PATIENCE);
        }
    }
}
