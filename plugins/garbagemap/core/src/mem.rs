//! Memory that can run out without taking the server down.
//!
//! An allocation failure in a background worker aborts the process, and the
//! postmaster then restarts every session. So whatever grows with the WAL
//! grows through the fallible paths here, and is counted, so that the ledger
//! can let go of the coldest relations before the limit.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

use rustc_hash::FxBuildHasher;

/// There was no memory for a change. What was to be changed may be half done,
/// and is not to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("out of memory")]
pub struct NoMemory;

impl From<std::collections::TryReserveError> for NoMemory {
    fn from(_: std::collections::TryReserveError) -> Self {
        NoMemory
    }
}

/// The map type of the ledger: keys are numbers the server handed out, and a
/// DoS by collisions would need control over relfilenodes.
pub(crate) type Map<K, V> = HashMap<K, V, FxBuildHasher>;

/// What a heap allocation costs beyond its size, about.
pub(crate) const MALLOC_OVERHEAD: usize = 16;

/// Bytes of a list with room for so many.
#[inline]
pub(crate) fn list_bytes<T>(room: usize) -> usize {
    match room {
        0 => 0,
        n => n * size_of::<T>() + MALLOC_OVERHEAD,
    }
}

/// Bytes in use.
#[derive(Default, Debug)]
pub(crate) struct Mem {
    used: usize,
}

impl Mem {
    /// So much was in use before.
    pub(crate) fn of(used: usize) -> Self {
        Mem { used }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    #[inline]
    pub(crate) fn grew(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    #[inline]
    pub(crate) fn shrank(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes, "memory accounting below zero");
        self.used = self.used.saturating_sub(bytes);
    }

    /// Account for a change of something that knows its own size.
    #[inline]
    pub(crate) fn changed(&mut self, before: usize, after: usize) {
        match after.cmp(&before) {
            Ordering::Equal => {} // nearly always
            Ordering::Greater => self.grew(after - before),
            Ordering::Less => self.shrank(before - after),
        }
    }
}

/// A thin box whose allocation can fail: stable Rust has no `Box::try_new`.
pub(crate) struct Boxed<T>(Box<[T; 1]>);

impl<T> Boxed<T> {
    pub(crate) fn try_new(value: T) -> Result<Self, NoMemory> {
        let mut one = Vec::new();
        one.try_reserve_exact(1)?;
        one.push(value);
        // Capacity equals length, so neither step allocates.
        match one.into_boxed_slice().try_into() {
            Ok(boxed) => Ok(Boxed(boxed)),
            Err(_) => Err(NoMemory),
        }
    }
}

impl<T> std::ops::Deref for Boxed<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> std::ops::DerefMut for Boxed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

/// `HashMap::insert` that fails instead of aborting.
pub(crate) fn try_insert<K: Hash + Eq, V>(
    map: &mut Map<K, V>,
    key: K,
    value: V,
) -> Result<Option<V>, NoMemory> {
    map.try_reserve(1)?;
    Ok(map.insert(key, value))
}

/// `Vec::push` that fails instead of aborting.
pub(crate) fn try_push<T>(vec: &mut Vec<T>, value: T) -> Result<(), NoMemory> {
    vec.try_reserve(1)?;
    vec.push(value);
    Ok(())
}
