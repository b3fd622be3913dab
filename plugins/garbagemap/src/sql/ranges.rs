//! A table's ranges as pictures want them.

use super::map::Row;
use crate::area;
use crate::error::Error;
use crate::relation::Table;
use garbagemap_core::map::RangeState;
use garbagemap_picture::{Known, Range};
use pgrx::prelude::*;

/// The map of a table, in ranges of one size.
pub struct TableRanges {
    pub range_blocks: u64,
    pub blocks: u64,
    pub ranges: Vec<Range>,
}

/// Read the map of a table. If it has more than `most` ranges as they are
/// recorded, ranges are put together, as many as a power of two.
pub fn read(rel: pg_sys::Oid, most: u64) -> Result<TableRanges, Error> {
    let table = Table::look_up(rel)?;
    table.require_wal_logged()?;
    let map = area::map()?;
    let (_, locator, blocks) = table.size()?;
    let blocks = u64::from(blocks);
    let recorded = u64::from(map.range_blocks());
    let per_range = blocks
        .div_ceil(recorded)
        .div_ceil(most)
        .max(1)
        .next_power_of_two();
    let relation = map.find(locator);
    let mut states = relation.map(|r| r.ranges());

    let mut ranges = Vec::new();
    let mut start = 0;
    while start < blocks {
        pgrx::check_for_interrupts!();
        let mut row = Row::default();
        for _ in 0..per_range {
            let size = recorded.min(blocks - start);
            let state = states
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or(RangeState::Unknown);
            row.add(state, size);
            start += size;
            if start == blocks {
                break;
            }
        }
        ranges.push(Range {
            dead: u32::try_from(row.dead).unwrap_or(u32::MAX),
            known: match (row.known, row.inexact) {
                (false, _) => Known::Nothing,
                (true, true) => Known::Partly,
                (true, false) => Known::Whole,
            },
        });
    }
    Ok(TableRanges {
        range_blocks: recorded * per_range,
        blocks,
        ranges,
    })
}
