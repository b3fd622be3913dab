//! `garbage_map`: a table's garbage without reading the table.

use crate::error::{Error, or_raise};
use crate::forks::{AllVisible, FreeSpace};
use crate::relation::{OpenTable, Table};
use crate::rows::{Rows, bigint, boolean};
use crate::{area, privilege};
use garbagemap_core::RangeCounts;
use garbagemap_core::map::RangeState;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn garbage_map(
    rel: Option<pg_sys::Oid>,
    range_blocks: Option<i32>,
    fcinfo: pg_sys::FunctionCallInfo,
) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel, range_blocks));
}

fn fill(rows: &mut Rows, rel: Option<pg_sys::Oid>, range_blocks: Option<i32>) -> Result<(), Error> {
    privilege::require_read_stats("garbage_map")?;
    let Some(rel) = rel else { return Ok(()) };
    let table = Table::look_up(rel)?;
    table.require_wal_logged()?;
    let map = area::map()?;
    let recorded = map.range_blocks();
    let per_row = ranges_per_row(range_blocks, recorded)?;

    let (open, locator, blocks) = table.size()?;
    let relation = map.find(locator);
    let mut ranges = relation.map(|r| r.ranges());
    let mut maps = open.as_ref().map(Maps::new);

    let mut start = 0u64;
    for rangeno in 0u64.. {
        if start >= u64::from(blocks) {
            break;
        }
        pgrx::check_for_interrupts!();
        let mut row = Row::default();
        let first = start;
        for _ in 0..per_row {
            let size = u64::from(recorded).min(u64::from(blocks) - start);
            let state = ranges
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or(RangeState::Unknown);
            row.add(state, size);
            start += size;
            if start >= u64::from(blocks) {
                break;
            }
        }
        let (all_visible, freespace) = match &mut maps {
            Some(maps) => (
                bigint(maps.0.count(first, start)),
                bigint(maps.1.sum(first, start)),
            ),
            None => (None, None),
        };
        rows.add([
            bigint(rangeno),
            bigint(first),
            bigint(start - 1),
            row.tuples().and_then(bigint),
            row.known.then_some(row.dead).and_then(bigint),
            row.known.then_some(row.items).and_then(bigint),
            all_visible,
            freespace,
            boolean(!row.inexact),
        ]);
    }
    Ok(())
}

/// How many recorded ranges make a row.
fn ranges_per_row(wanted: Option<i32>, recorded: u32) -> Result<u32, Error> {
    let Some(got) = wanted else { return Ok(1) };
    match u32::try_from(got) {
        Ok(blocks) if blocks > 0 && blocks % recorded == 0 => Ok(blocks / recorded),
        _ => Err(Error::RangeBlocks { got, recorded }),
    }
}

/// The two forks that say something of each block.
struct Maps<'t>(AllVisible<'t>, FreeSpace<'t>);

impl<'t> Maps<'t> {
    fn new(table: &'t OpenTable) -> Self {
        Maps(AllVisible::new(table), FreeSpace::new(table))
    }
}

/// One or more ranges added up.
#[derive(Default)]
pub(super) struct Row {
    pub dead: u64,
    items: u64,
    live: u64,
    /// Something is known of some range.
    pub known: bool,
    /// Something is not.
    pub inexact: bool,
    live_unknown: bool,
}

impl Row {
    pub fn add(&mut self, state: RangeState, size: u64) {
        match known_part(state) {
            Some(counts) => {
                self.known = true;
                self.dead += u64::from(counts.dead);
                self.items += u64::from(counts.items);
                let exact = u64::from(counts.first_unknown) >= size;
                self.inexact |= !exact;
                match counts.tuples {
                    // Of dead tuples the known part is worth telling; of all
                    // tuples it would only look like a small table.
                    Some(live) if exact => self.live += u64::from(live),
                    _ => self.live_unknown = true,
                }
            }
            None => {
                self.inexact = true;
                self.live_unknown = true;
            }
        }
    }

    /// Live tuples, as pgstattuple's `tuple_count`.
    fn tuples(&self) -> Option<u64> {
        (!self.live_unknown).then_some(self.live)
    }
}

/// The counts of a range, `None` if they say nothing.
pub fn known_part(state: RangeState) -> Option<RangeCounts> {
    match state {
        RangeState::Counts(c) if c.tell() => Some(c),
        _ => None,
    }
}
