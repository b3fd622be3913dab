//! `walker.max_memory`: looking at the worker's own memory now and then.

use crate::{guc, memory};
use std::time::{Duration, Instant};

/// Time between two looks: long enough to cost nothing, short enough that
/// not much can be allocated between them.
const PERIOD: Duration = Duration::from_millis(20);

/// When memory was last looked at.
pub struct Budget {
    last: Instant,
}

impl Budget {
    /// Begin.
    pub fn new() -> Budget {
        Budget {
            last: Instant::now(),
        }
    }

    /// The private memory in bytes, if it is beyond the limit.
    pub fn exceeded(&mut self) -> Option<u64> {
        let limit = guc::max_memory()?;
        if self.last.elapsed() < PERIOD {
            return None;
        }
        self.last = Instant::now();
        let bytes = memory::private_bytes();
        // Below a half there is time to find out whose it is.
        memory::measure(bytes >= limit / 2);
        (bytes > limit).then_some(bytes)
    }
}
