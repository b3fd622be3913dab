//! `garbage_verify`: the map against the table.

use super::map::known_part;
use crate::error::{Error, or_raise};
use crate::relation::Table;
use crate::rows::{Rows, bigint, boolean};
use crate::scan::TableScan;
use crate::{area, privilege};
use garbagemap_core::RangeCounts;
use garbagemap_core::map::{MapReader, RangeState};
use pgrx::prelude::*;
use walker_wal::RelFileLocator;

/// How often a range that changes while it is compared is compared anew.
const TRIES: u32 = 5;
/// What the function was declared with by version 0.1.0: nothing about live tuples.
const COLUMNS_0_1: usize = 8;

#[pg_extern(sql = false)]
fn garbage_verify(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_scan_tables("garbage_verify")?;
    let table = Table::look_up(rel)?;
    table.require_wal_logged()?;
    let map = area::map()?;
    let table = table.open()?;
    let locator = table.locator();
    let mut scan = TableScan::new(&table);
    let blocks = scan.blocks();
    let width = map.range_blocks();
    let relation = map.find(locator);
    let mut ranges = relation.map(|r| r.ranges());

    let mut start = 0;
    for rangeno in 0u32.. {
        if start >= blocks {
            break;
        }
        let end = start.saturating_add(width).min(blocks);
        let mut shown = ranges
            .as_mut()
            .and_then(Iterator::next)
            .unwrap_or(RangeState::Unknown);
        for attempt in 1..=TRIES {
            let found = scan.range(start, end);
            let live = found.tuples.saturating_sub(found.dead);
            let agrees = |state: RangeState| {
                let (dead, items) = numbers(state);
                (dead.unwrap_or(0), items.unwrap_or(0)) == (found.dead, found.items)
                    && tuples(state, end - start).is_none_or(|n| n == live)
            };
            if agrees(shown) {
                break;
            }
            // Writers go on meanwhile. The map was read before the table; if
            // it has changed since, it may have agreed at some moment between.
            // Where it knew nothing it did not.
            let now = match shown {
                RangeState::Unknown => shown,
                RangeState::Counts(_) => read_again(&map, locator, rangeno),
            };
            if agrees(now) {
                break;
            }
            if now != shown && attempt < TRIES {
                shown = now;
                continue;
            }
            let (dead, items) = numbers(now);
            let [first, last] = [start, end - 1].map(|blkno| bigint(blkno.into()));
            let rangeno = bigint(rangeno.into());
            let dead = [dead.and_then(bigint), bigint(found.dead)];
            let items = [items.and_then(bigint), bigint(found.items)];
            let tuples = [tuples(now, end - start).and_then(bigint), bigint(live)];
            let exact = boolean(exact(now, end - start));
            let ([a, b], [c, d], [e, f]) = (dead, items, tuples);
            match rows.columns() {
                // Until the extension is updated in this database.
                COLUMNS_0_1 => rows.add([rangeno, first, last, a, b, c, d, exact]),
                _ => rows.add([rangeno, first, last, a, b, c, d, e, f, exact]),
            }
            break;
        }
        start = end;
    }
    Ok(())
}

fn read_again(map: &MapReader<'_>, locator: RelFileLocator, rangeno: u32) -> RangeState {
    map.find(locator)
        .map_or(RangeState::Unknown, |r| r.range(rangeno))
}

fn numbers(state: RangeState) -> (Option<u64>, Option<u64>) {
    let part: Option<RangeCounts> = known_part(state);
    (
        part.map(|c| u64::from(c.dead)),
        part.map(|c| u64::from(c.items)),
    )
}

/// The live ones, where their number is known.
fn tuples(state: RangeState, size: u32) -> Option<u64> {
    let known = known_part(state).filter(|_| exact(state, size));
    known.and_then(|c| c.tuples).map(u64::from)
}

fn exact(state: RangeState, size: u32) -> bool {
    matches!(state, RangeState::Counts(c) if u32::from(c.first_unknown) >= size)
}
