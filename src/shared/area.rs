//! Memory lent to plugins by name.
//!
//! A plain stack of areas: each is reserved once, in the worker, for the life
//! of the server. Nothing is ever given back, so a reader can keep its pointer
//! and no allocator can be left broken by a process that dies in the middle.

use super::{Control, Text, control};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pgrx::pg_sys;

const MAX_AREAS: usize = 32;
const ALIGN: usize = 128;

#[repr(C)]
struct Entry {
    name: Text<64>,
    offset: AtomicU64,
    size: AtomicU64,
}

/// Which areas have been lent.
#[repr(C)]
pub struct AreaDirectory {
    end: AtomicU64,
    used: AtomicU64,
    n: AtomicU32,
    entries: [Entry; MAX_AREAS],
}

/// A lent area: address and size in bytes.
#[derive(Clone, Copy)]
pub struct Area {
    /// Its first byte.
    pub start: *mut u8,
    /// Its size in bytes.
    pub size: usize,
}

impl AreaDirectory {
    pub(super) fn init(&self, first: usize, bytes: usize) {
        self.used.store(first as u64, Ordering::Relaxed);
        self.end.store((first + bytes) as u64, Ordering::Relaxed);
    }

    /// Bytes not yet lent.
    pub fn free(&self) -> usize {
        if self.n.load(Ordering::Relaxed) as usize >= MAX_AREAS {
            return 0;
        }
        let used = self.used.load(Ordering::Relaxed);
        self.end.load(Ordering::Relaxed).saturating_sub(used) as usize
    }
}

/// Find the named area, or with `size` > 0 reserve it.
pub fn lend(name: &str, size: usize) -> Option<Area> {
    let control = control()?;
    let mode = if size == 0 {
        pg_sys::LWLockMode::LW_SHARED
    } else {
        pg_sys::LWLockMode::LW_EXCLUSIVE
    };
    let (offset, size) = control.locked(mode, || find_or_reserve(control, name, size))?;
    let base: *const Control = control;
    // SAFETY: offset and size were computed inside the block that
    // ShmemInitStruct gave us.
    let start = unsafe { base.cast::<u8>().cast_mut().add(offset) };
    Some(Area { start, size })
}

fn find_or_reserve(control: &Control, name: &str, size: usize) -> Option<(usize, usize)> {
    let dir = &control.areas;
    let n = (dir.n.load(Ordering::Relaxed) as usize).min(MAX_AREAS);
    if let Some(entry) = dir.entries[..n].iter().find(|e| e.name.is(name)) {
        let get = |a: &AtomicU64| a.load(Ordering::Relaxed) as usize;
        return Some((get(&entry.offset), get(&entry.size)));
    }
    let entry = dir.entries.get(n)?;
    let size = size.checked_next_multiple_of(ALIGN)?;
    if size == 0 || size > dir.free() || name.is_empty() || name.len() > 64 {
        return None;
    }
    let offset = dir.used.load(Ordering::Relaxed) as usize;
    entry.name.set(name);
    entry.offset.store(offset as u64, Ordering::Relaxed);
    entry.size.store(size as u64, Ordering::Relaxed);
    dir.used.store((offset + size) as u64, Ordering::Relaxed);
    dir.n.store(n as u32 + 1, Ordering::Release);
    Some((offset, size))
}
