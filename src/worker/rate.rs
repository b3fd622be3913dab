//! How fast WAL is read, for the status and the process title.

use crate::shared::Control;
use core::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use walker_plugin::wal::Lsn;

/// Bytes of WAL a second, and how often the process title changes.
pub(super) struct Rate {
    since: Instant,
    from: Lsn,
    title: Instant,
}

impl Rate {
    /// Begin.
    pub(super) fn new() -> Rate {
        Rate {
            since: Instant::now(),
            from: Lsn(0),
            title: Instant::now(),
        }
    }

    /// Everything up to `end` was read.
    pub(super) fn seen(&mut self, control: &Control, end: Lsn) {
        let elapsed = self.since.elapsed();
        if elapsed >= Duration::from_secs(1) {
            let bytes = if self.from.is_valid() {
                end.bytes_since(self.from)
            } else {
                0
            };
            control
                .rate
                .store((bytes as f64 / elapsed.as_secs_f64()) as u64, Relaxed);
            self.since = Instant::now();
            self.from = end;
        }
    }

    /// Whether the title may change again.
    pub(super) fn due_for_title(&mut self) -> bool {
        let due = self.title.elapsed() >= Duration::from_secs(1);
        if due {
            self.title = Instant::now();
        }
        due
    }
}
