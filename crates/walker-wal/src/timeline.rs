//! Timeline history files (`access/transam/timeline.c`).

use crate::{Lsn, TimeLineId};

/// The timeline of a position in the history of timeline `tli`, whose history file
/// this is: what `tliOfPointInHistory` finds in what `readTimeLineHistory` reads.
/// `None` if the server would not take the file, by which it ends a process.
///
/// A line names a timeline and where it was left. That need not be behind where it
/// was come to: a recovery that stops before that leaves such a line.
pub fn timeline_at(history: &str, tli: TimeLineId, lsn: Lsn) -> Option<TimeLineId> {
    let mut left = Vec::new();
    for line in history.lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let ancestor: TimeLineId = fields.next()?.parse().ok()?;
        let end: Lsn = fields.next()?.parse().ok()?;
        if left.last().is_some_and(|&(before, _)| before >= ancestor) || ancestor >= tli {
            return None;
        }
        left.push((ancestor, end));
    }
    // The youngest that had begun by then.
    let youngest = left.iter().rev().take_while(|&&(_, end)| lsn < end).last();
    Some(youngest.map_or(tli, |&(ancestor, _)| ancestor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_history() {
        let history = "1\t0/3000060\tno recovery target specified\n\n  # a comment\n\
                       2\t0/5000000\tbefore 2000-01-01 01:00:00+01\n";
        let at = |lsn| timeline_at(history, 4, Lsn(lsn));
        assert_eq!(at(0), Some(1));
        assert_eq!(at(0x300005F), Some(1));
        assert_eq!(at(0x3000060), Some(2));
        assert_eq!(at(0x4FFFFFF), Some(2));
        assert_eq!(at(0x5000000), Some(4));
        assert_eq!(timeline_at("", 1, Lsn(8)), Some(1));
    }

    #[test]
    fn a_timeline_that_was_left_before_it_began() {
        let history = "1\t0/3000060\n2\t0/2000000\n";
        let at = |lsn| timeline_at(history, 3, Lsn(lsn));
        assert_eq!(at(0x1FFFFFF), Some(1));
        assert_eq!(at(0x2000000), Some(3));
        assert_eq!(at(0x4000000), Some(3));
    }

    #[test]
    fn what_the_server_does_not_take() {
        for history in [
            "one\t0/1000000",
            "1",
            "1\tnowhere",
            "2\t0/1\n2\t0/2",
            "3\t0/1",
        ] {
            assert_eq!(timeline_at(history, 3, Lsn(8)), None, "{history}");
        }
    }
}
