//! Heap and Heap2 as text: `heapdesc.c`, which was written anew in 16.

use super::*;
use crate::bytes::{Fixed, OffsetList};
use crate::heap::*;
use crate::heap2::*;

/// `infobits_set` as 15 has it: names with a blank behind each.
struct OldInfobits(u8);
/// `infobits_set` in brackets.
struct Infobits(u8);

/// The names of the bits that are set.
fn infobit_names(bits: u8) -> impl Iterator<Item = &'static str> {
    [
        (XLHL_XMAX_IS_MULTI, "IS_MULTI"),
        (XLHL_XMAX_LOCK_ONLY, "LOCK_ONLY"),
        (XLHL_XMAX_EXCL_LOCK, "EXCL_LOCK"),
        (XLHL_XMAX_KEYSHR_LOCK, "KEYSHR_LOCK"),
        (XLHL_KEYS_UPDATED, "KEYS_UPDATED"),
    ]
    .into_iter()
    .filter_map(move |(bit, name)| (bits & bit != 0).then_some(name))
}

impl Display for OldInfobits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        infobit_names(self.0).try_for_each(|name| write!(f, "{name} "))
    }
}

impl Display for Infobits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        separated(f, ", ", infobit_names(self.0), |f, name| f.write_str(name))?;
        f.write_char(']')
    }
}

pub(super) fn heap(f: &mut Formatter<'_>, major: Major, record: &HeapRecord<'_>) -> fmt::Result {
    let old = major == Major::V15;
    match record {
        HeapRecord::Insert(r) if old => write!(f, "off {} flags 0x{:02X}", r.offnum, r.flags),
        HeapRecord::Insert(r) => write!(f, "off: {}, flags: 0x{:02X}", r.offnum, r.flags),
        HeapRecord::Delete(r) if old => {
            let bits = OldInfobits(r.infobits_set);
            write!(f, "off {} flags 0x{:02X} {bits}", r.offnum, r.flags)
        }
        HeapRecord::Delete(r) => {
            let bits = Infobits(r.infobits_set);
            write!(f, "xmax: {}, off: {}, infobits: {bits}", r.xmax, r.offnum)?;
            write!(f, ", flags: 0x{:02X}", r.flags)
        }
        HeapRecord::Update(r) if old => {
            let bits = OldInfobits(r.old_infobits_set);
            write!(
                f,
                "off {} xmax {} flags 0x{:02X} {bits}",
                r.old_offnum, r.old_xmax, r.flags
            )?;
            write!(f, "; new off {} xmax {}", r.new_offnum, r.new_xmax)
        }
        HeapRecord::Update(r) => {
            let bits = Infobits(r.old_infobits_set);
            write!(f, "old_xmax: {}, old_off: {}, ", r.old_xmax, r.old_offnum)?;
            write!(f, "old_infobits: {bits}, flags: 0x{:02X}, ", r.flags)?;
            write!(f, "new_xmax: {}, new_off: {}", r.new_xmax, r.new_offnum)
        }
        HeapRecord::Truncate(r) => truncate(f, old, r),
        HeapRecord::Confirm(r) if old => write!(f, "off {}", r.offnum),
        HeapRecord::Confirm(r) => write!(f, "off: {}", r.offnum),
        HeapRecord::Lock(r) if old => {
            let bits = OldInfobits(r.infobits_set);
            write!(
                f,
                "off {}: xid {}: flags 0x{:02X} {bits}",
                r.offnum, r.xmax, r.flags
            )
        }
        HeapRecord::Lock(r) => lock(f, r),
        HeapRecord::Inplace(r) if old => write!(f, "off {}", r.offnum),
        HeapRecord::Inplace(r) => {
            write!(f, "off: {}", r.offnum)?;
            let Some(i) = &r.inval else { return Ok(()) };
            invalidations(f, i.msgs, i.db_oid, i.ts_oid, i.relcache_init_file_inval)
        }
        HeapRecord::Other { .. } => Ok(()),
    }
}

fn lock(f: &mut Formatter<'_>, r: &XlHeapLock<'_>) -> fmt::Result {
    let bits = Infobits(r.infobits_set);
    write!(
        f,
        "xmax: {}, off: {}, infobits: {bits}, flags: 0x{:02X}",
        r.xmax, r.offnum, r.flags
    )
}

fn truncate(f: &mut Formatter<'_>, old: bool, r: &XlHeapTruncate<'_>) -> fmt::Result {
    let cascade = (r.flags & XLH_TRUNCATE_CASCADE != 0).then_some("CASCADE");
    let restart = (r.flags & XLH_TRUNCATE_RESTART_SEQS != 0).then_some("RESTART_SEQS");
    let mut flags = cascade.into_iter().chain(restart);
    if old {
        flags.try_for_each(|flag| write!(f, "{} ", flag.to_ascii_lowercase()))?;
        write!(f, "nrelids {} relids", r.relids.len())?;
        return r.relids.iter().try_for_each(|oid| write!(f, " {oid}"));
    }
    f.write_str("flags: [")?;
    separated(f, ", ", flags, |f, flag| f.write_str(flag))?;
    write!(f, "], nrelids: {}, relids:", r.relids.len())?;
    array(f, r.relids, |f, oid| write!(f, "{oid}"))
}

/// `array_desc`.
fn array<T: Fixed>(
    f: &mut Formatter<'_>,
    list: List<'_, T>,
    item: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(" [")?;
    separated(f, ", ", list.iter(), item)?;
    f.write_char(']')
}

fn offsets(f: &mut Formatter<'_>, list: OffsetList<'_>) -> fmt::Result {
    array(f, list, |f, offnum| write!(f, "{offnum}"))
}

pub(super) fn heap2(f: &mut Formatter<'_>, major: Major, record: &Heap2Record<'_>) -> fmt::Result {
    match record {
        Heap2Record::Prune(r) => prune(f, major, r),
        Heap2Record::Vacuum(r) if major == Major::V15 => write!(f, "nunused {}", r.nunused),
        Heap2Record::Vacuum(r) => {
            write!(f, "nunused: {}", r.nunused)?;
            let Some(list) = r.nowunused else {
                return Ok(());
            };
            f.write_str(", unused:")?;
            offsets(f, list)
        }
        Heap2Record::FreezePage(r) => freeze_page(f, major, r),
        Heap2Record::Visible(r) if major == Major::V15 => {
            write!(
                f,
                "cutoff xid {} flags 0x{:02X}",
                r.snapshot_conflict_horizon, r.flags
            )
        }
        Heap2Record::Visible(r) => {
            write!(
                f,
                "snapshotConflictHorizon: {}, ",
                r.snapshot_conflict_horizon
            )?;
            write!(f, "flags: 0x{:02X}", r.flags)
        }
        Heap2Record::MultiInsert(r) if major == Major::V15 => {
            write!(f, "{} tuples flags 0x{:02X}", r.ntuples, r.flags)
        }
        Heap2Record::MultiInsert(r) => {
            write!(f, "ntuples: {}, flags: 0x{:02X}", r.ntuples, r.flags)?;
            let (Some(list), Some(_)) = (r.listed_offsets, r.block.data) else {
                return Ok(());
            };
            f.write_str(", offsets:")?;
            offsets(f, list)
        }
        Heap2Record::LockUpdated(r) if major == Major::V15 => {
            let bits = OldInfobits(r.infobits_set);
            write!(
                f,
                "off {}: xmax {}: flags 0x{:02X} {bits}",
                r.offnum, r.xmax, r.flags
            )
        }
        Heap2Record::LockUpdated(r) => lock(f, r),
        Heap2Record::NewCid(r) => {
            let (comma, tid) = if major == Major::V15 {
                (";", "tid")
            } else {
                (",", "tid:")
            };
            let rel = if major == Major::V15 { "rel" } else { "rel:" };
            let ItemPointer { blkno, offnum } = r.target_tid;
            write!(
                f,
                "{rel} {}{comma} {tid} {blkno}/{offnum}{comma} ",
                r.target_locator
            )?;
            write!(
                f,
                "cmin: {}, cmax: {}, combo: {}",
                r.cmin, r.cmax, r.combocid
            )
        }
        Heap2Record::Rewrite(_) | Heap2Record::Other { .. } => Ok(()),
    }
}

fn prune(f: &mut Formatter<'_>, major: Major, r: &XlHeapPrune<'_>) -> fmt::Result {
    let horizon = r.snapshot_conflict_horizon;
    if let Some((nredirected, ndead)) = r.counts {
        if major == Major::V15 {
            write!(f, "latestRemovedXid {horizon} ")?;
            return write!(f, "nredirected {nredirected} ndead {ndead}");
        }
        write!(
            f,
            "snapshotConflictHorizon: {horizon}, nredirected: {nredirected}, "
        )?;
        write!(f, "ndead: {ndead}")?;
        let Some(items) = &r.items else { return Ok(()) };
        write!(f, ", nunused: {}, redirected:", items.nowunused.len())?;
        array(f, items.redirected, |f, (from, to)| {
            write!(f, "{from}->{to}")
        })?;
        f.write_str(", dead:")?;
        offsets(f, items.nowdead)?;
        f.write_str(", unused:")?;
        return offsets(f, items.nowunused);
    }
    if r.flags & XLHP_HAS_CONFLICT_HORIZON != 0 {
        write!(f, "snapshotConflictHorizon: {horizon}")?;
    }
    let catalog = if r.flags & XLHP_IS_CATALOG_REL != 0 {
        'T'
    } else {
        'F'
    };
    write!(f, ", isCatalogRel: {catalog}")?;
    let Some(items) = &r.items else { return Ok(()) };
    write!(f, ", nplans: {}, ", items.frozen.plans.len())?;
    write!(
        f,
        "nredirected: {}, ndead: {}, ",
        items.redirected.len(),
        items.nowdead.len()
    )?;
    write!(f, "nunused: {}", items.nowunused.len())?;
    if !items.frozen.plans.is_empty() {
        f.write_str(", plans:")?;
        plans(f, &items.frozen)?;
    }
    if !items.redirected.is_empty() {
        f.write_str(", redirected:")?;
        array(f, items.redirected, |f, (from, to)| {
            write!(f, "{from}->{to}")
        })?;
    }
    for (label, list) in [("dead", items.nowdead), ("unused", items.nowunused)] {
        if !list.is_empty() {
            write!(f, ", {label}:")?;
            offsets(f, list)?;
        }
    }
    Ok(())
}

fn freeze_page(f: &mut Formatter<'_>, major: Major, r: &XlHeapFreezePage<'_>) -> fmt::Result {
    let (horizon, count) = (r.snapshot_conflict_horizon, r.count);
    if major == Major::V15 {
        return write!(f, "cutoff xid {horizon} ntuples {count}");
    }
    write!(f, "snapshotConflictHorizon: {horizon}, nplans: {count}")?;
    let Some(Frozen::Plans(p)) = &r.frozen else {
        return Ok(());
    };
    f.write_str(", plans:")?;
    plans(f, p)
}

/// `plan_elem_desc` for each plan.
fn plans(f: &mut Formatter<'_>, frozen: &FreezePlans<'_>) -> fmt::Result {
    let mut left = frozen.offsets;
    array(f, frozen.plans, |f, plan| {
        let (mine, others) = left.split_at(plan.ntuples.into());
        left = others;
        write!(f, "{{ xmax: {}, infomask: {}, ", plan.xmax, plan.infomask.0)?;
        write!(
            f,
            "infomask2: {}, ntuples: {}, offsets:",
            plan.infomask2, plan.ntuples
        )?;
        offsets(f, mine)?;
        f.write_str(" }")
    })
}
