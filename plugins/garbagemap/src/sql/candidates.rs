//! `garbage_map_facts`: what can be said of a table's garbage without reading
//! the table, for the view `garbage_candidates`.

use super::map::known_part;
use crate::error::{Error, or_raise};
use crate::forks::AllVisible;
use crate::relation::{OpenTable, Table};
use crate::rows::{Rows, bigint, boolean};
use crate::{area, privilege};
use garbagemap_core::map::{RangeState, RelationMap};
use garbagemap_core::{HORIZON_UNKNOWN, HorizonBucket};
use pgrx::prelude::*;

/// The shares of a table's ranges whose part of the garbage is told.
const SHARES: [f64; 3] = [0.01, 0.05, 0.2];
/// A pruning that is worth its while takes this part of the garbage.
const WORTHWHILE: f64 = 0.95;
/// Bytes of a page behind its header.
const PAGE_BYTES: u64 = pg_sys::BLCKSZ as u64 - 24;
/// A TOAST tuple of full length (`TOAST_MAX_CHUNK_SIZE` and headers): nobody
/// keeps statistics of them.
const TOAST_TUPLE_BYTES: u64 = 2032;

#[pg_extern(sql = false)]
fn garbage_map_facts(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill(&mut rows, rel));
}

/// No row for what is no table, is gone, or is locked: the view is about many.
fn fill(rows: &mut Rows, rel: pg_sys::Oid) -> Result<(), Error> {
    privilege::require_read_stats("garbage_map_facts")?;
    let map = area::map()?;
    let Ok(table) = Table::look_up(rel) else {
        return Ok(());
    };
    if table.require_wal_logged().is_err() {
        return Ok(());
    }
    let Some(open) = table.open_unless_locked() else {
        return Ok(());
    };
    let blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
    let width = map.range_blocks();
    let relation = map.find(open.locator());
    let spread = Spread::of(relation, blocks, width);
    let visible = AllVisible::new(&open).count(0, u64::from(blocks));
    let (tuple_bytes, analyzed) = tuple_bytes(&open, &spread, blocks);
    let tail = spread
        .tuples
        .and_then(|tuples| Tail::of(relation, blocks, width, tuples, room(&open, tuple_bytes)));
    let undated = relation.and_then(undated).unwrap_or_default();
    let share = |part: f64| Some(pg_sys::Datum::from(part.to_bits()));
    let of_dead = |n: u64| (spread.dead > 0).then(|| n as f64 / spread.dead as f64);
    rows.add([
        bigint(u64::from(blocks)),
        spread.tuples.and_then(bigint),
        bigint(spread.dead),
        bigint(spread.items),
        share(match blocks {
            0 => 1.0,
            _ => 1.0 - spread.inexact as f64 / f64::from(blocks),
        }),
        of_dead(spread.hottest[0]).and_then(share),
        of_dead(spread.hottest[1]).and_then(share),
        of_dead(spread.hottest[2]).and_then(share),
        bigint(u64::from(blocks.div_ceil(width))),
        bigint(spread.worthwhile),
        bigint(u64::from(spread.worthwhile_dead)),
        bigint(spread.worthwhile_sum),
        bigint(u64::from(blocks).saturating_sub(visible)),
        bigint(tuple_bytes),
        boolean(analyzed),
        tail.and_then(|t| bigint(t.blocks)),
        tail.and_then(|t| bigint(t.tuples)),
        bigint(undated.count.into()),
        (undated.count > 0).then(|| undated.xid.into()),
    ]);
    Ok(())
}

/// Dead tuples of which nobody knows how old they are.
fn undated(relation: RelationMap<'_>) -> Option<HorizonBucket> {
    relation.horizon()?.get(HORIZON_UNKNOWN).copied()
}

/// How a table's garbage is spread over its ranges.
#[derive(Default)]
struct Spread {
    dead: u64,
    items: u64,
    /// Live ones, if all are known.
    tuples: Option<u64>,
    /// Blocks in ranges that are not known whole.
    inexact: u64,
    /// Dead tuples in the hottest ranges, by [`SHARES`].
    hottest: [u64; SHARES.len()],
    /// The hottest ranges that hold [`WORTHWHILE`] of the garbage, the dead
    /// tuples of the last of them, and of all of them.
    worthwhile: u64,
    worthwhile_dead: u16,
    worthwhile_sum: u64,
}

impl Spread {
    fn of(relation: Option<RelationMap<'_>>, blocks: u32, width: u32) -> Spread {
        let mut spread = Spread::default();
        let Some(relation) = relation else {
            spread.inexact = u64::from(blocks);
            spread.tuples = (blocks == 0).then_some(0);
            return spread;
        };
        let ranges = blocks.div_ceil(width);
        let mut dead: Vec<u16> = relation
            .published()
            .filter(|(rangeno, counts)| *rangeno < ranges && counts.dead > 0)
            .map(|(_, counts)| counts.dead)
            .collect();
        dead.sort_unstable_by(|a, b| b.cmp(a));
        let totals = relation.totals(blocks);
        (spread.dead, spread.items) = (totals.dead, totals.items);
        (spread.tuples, spread.inexact) = (totals.tuples, totals.inexact_blocks);
        let sum = |ranges: &[u16]| ranges.iter().map(|n| u64::from(*n)).sum::<u64>();
        for (to, share) in spread.hottest.iter_mut().zip(SHARES) {
            let most = (f64::from(ranges) * share).ceil().max(1.0) as usize;
            *to = sum(&dead[..most.min(dead.len())]);
        }
        let enough = sum(&dead) as f64 * WORTHWHILE;
        for n in dead {
            if spread.worthwhile_sum as f64 >= enough && n < spread.worthwhile_dead {
                break;
            }
            spread.worthwhile_sum += u64::from(n);
            spread.worthwhile += 1;
            spread.worthwhile_dead = n;
        }
        spread
    }
}

/// What lies behind the blocks that the live tuples would fill.
#[derive(Clone, Copy)]
struct Tail {
    blocks: u64,
    tuples: u64,
}

impl Tail {
    /// `room` is for how many tuples a page has.
    fn of(
        relation: Option<RelationMap<'_>>,
        blocks: u32,
        width: u32,
        tuples: u64,
        room: u64,
    ) -> Option<Tail> {
        let first = u32::try_from(tuples.div_ceil(room).div_ceil(u64::from(width))).ok()?;
        let start = u64::from(first) * u64::from(width);
        let mut tail = Tail {
            blocks: u64::from(blocks).saturating_sub(start),
            tuples: 0,
        };
        if tail.blocks > 0 {
            let behind = relation?
                .published()
                .filter(|(rangeno, _)| *rangeno >= first);
            for (_, counts) in behind {
                let part = known_part(RangeState::Counts(counts));
                tail.tuples += u64::from(part.and_then(|c| c.tuples)?);
            }
        }
        Some(tail)
    }
}

/// Bytes of a tuple as the planner reckons, and whether by statistics.
fn tuple_bytes(open: &OpenTable, spread: &Spread, blocks: u32) -> (u64, bool) {
    let rel = open.rel();
    // SAFETY: the relation is open; statistics are looked up for each of its
    // attributes (optimizer/util/plancat.c, utils/cache/syscache.c).
    let (width, analyzed, toast) = unsafe {
        let width = pg_sys::get_rel_data_width(rel, core::ptr::null_mut());
        let form = &*(*rel).rd_rel;
        let has_statistics = |attribute: i16| {
            pg_sys::SearchSysCacheExists(
                pg_sys::SysCacheIdentifier::STATRELATTINH as i32,
                (*rel).rd_id.into(),
                attribute.into(),
                false.into(),
                pg_sys::Datum::from(0),
            )
        };
        (
            u64::try_from(width).unwrap_or(0),
            (1..=form.relnatts).any(has_statistics),
            form.relkind as u8 == b't',
        )
    };
    // SizeofHeapTupleHeader and the data, both aligned.
    let reckoned = match toast {
        true => TOAST_TUPLE_BYTES,
        false => 24 + width.div_ceil(8) * 8,
    };
    // There is no room for larger ones.
    let most = match spread.tuples {
        Some(live) if live + spread.dead > 0 => {
            u64::from(blocks) * PAGE_BYTES / (live + spread.dead)
        }
        _ => PAGE_BYTES,
    };
    (reckoned.min(most).max(24), analyzed)
}

/// For how many tuples a page has room, with the table's fillfactor.
fn room(open: &OpenTable, tuple_bytes: u64) -> u64 {
    // SAFETY: the relation is open; a heap's options, if there are any, are
    // StdRdOptions (access/common/reloptions.c).
    let fillfactor = unsafe {
        let options = (*open.rel()).rd_options.cast::<pg_sys::StdRdOptions>();
        options.as_ref().map_or(100, |o| o.fillfactor)
    };
    let fill = u64::try_from(fillfactor).unwrap_or(100).clamp(10, 100);
    (PAGE_BYTES * fill / 100 / (tuple_bytes + 4)).max(1)
}
