//! What base scans told and no state file has yet.
//!
//! It is in no WAL, so a crash would take it along: hours of reading, where a
//! server that writes little has no checkpoint for as long.

/// Less than so many blocks is sooner read again than saved,
const LEAST: u64 = 1024;
/// and while a scan goes on (1 GB).
const LEAST_OPEN: u64 = 1 << 17;

/// Blocks that became known by scans since saving them was last due, or done.
#[derive(Debug, Default)]
pub struct Unsaved {
    blocks: u64,
    /// Some of what the open scans told was saved.
    begun: bool,
}

impl Unsaved {
    /// A block became known.
    pub fn told(&mut self) {
        self.blocks += 1;
    }

    /// Whether there are any.
    pub fn has_any(&self) -> bool {
        self.blocks > 0
    }

    /// All that was told is in a state, whatever that was written for.
    pub fn saved(&mut self) {
        self.blocks = 0;
    }

    /// Whether to save now: what was read, `block_size` bytes each, must be
    /// worth `size`, the bytes of all that would be written, and more so while a
    /// scan is `open`. Of one that was saved in part the rest is saved, too.
    /// True once; then it is up to the caller.
    pub fn is_due(&mut self, open: bool, block_size: u64, size: u64) -> bool {
        let (least, times) = if open { (LEAST_OPEN, 64) } else { (LEAST, 4) };
        let much = self.blocks >= least
            && self.blocks.saturating_mul(block_size) >= size.saturating_mul(times);
        let due = much || !open && self.begun && self.blocks > 0;
        self.begun = open && (self.begun || due);
        if due {
            self.blocks = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 8192;

    fn with(blocks: u64) -> Unsaved {
        Unsaved {
            blocks,
            begun: false,
        }
    }

    #[test]
    fn a_scan_that_ended_is_saved_once() {
        let mut unsaved = with(LEAST - 1);
        assert!(!unsaved.is_due(false, BLOCK, 0));
        unsaved.told();
        assert!(unsaved.is_due(false, BLOCK, 0));
        assert!(!unsaved.is_due(false, BLOCK, 0));
        unsaved = with(LEAST);
        unsaved.saved();
        assert!(!unsaved.has_any() && !unsaved.is_due(false, BLOCK, 0));
    }

    #[test]
    fn a_large_state_needs_more() {
        let size = LEAST * BLOCK / 2;
        assert!(!with(LEAST).is_due(false, BLOCK, size));
        assert!(with(2 * LEAST).is_due(false, BLOCK, size));
    }

    #[test]
    fn of_a_long_one_no_part_is_left() {
        let mut unsaved = with(LEAST_OPEN);
        assert!(!unsaved.is_due(true, BLOCK, LEAST_OPEN * BLOCK / 32));
        assert!(unsaved.is_due(true, BLOCK, 1));
        unsaved.told();
        assert!(!unsaved.is_due(true, BLOCK, 1));
        assert!(unsaved.is_due(false, BLOCK, u64::MAX));
        // What is told later is another scan's.
        unsaved.told();
        assert!(!unsaved.is_due(false, BLOCK, 1));
    }
}
