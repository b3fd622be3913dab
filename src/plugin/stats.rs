//! What a batch counted, on its way to shared memory.
//!
//! The counters are cells, because the exit callback reads them too: a plugin
//! that ends the process in the middle of a batch must not make the others'
//! records uncounted.

use crate::guc::MAX_PLUGINS;
use crate::shared::Control;
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

static CURRENT: AtomicPtr<BatchStats> = AtomicPtr::new(core::ptr::null_mut());

/// Counters of one resource manager.
#[derive(Default)]
pub struct Counts {
    /// Records.
    pub records: Cell<u64>,
    /// Bytes, images included.
    pub bytes: Cell<u64>,
    /// Bytes of images.
    pub fpi_bytes: Cell<u64>,
}

/// What was counted since the last [`BatchStats::publish`].
pub struct BatchStats {
    /// By resource manager ID.
    pub rmgrs: [Counts; 256],
    /// Records delivered, by plugin.
    pub delivered: [Cell<u64>; MAX_PLUGINS],
    /// Nanoseconds in callbacks, by plugin, scaled up from the sample.
    pub time_ns: [Cell<u64>; MAX_PLUGINS],
    /// Records that somebody wanted, for the sampling.
    pub seen: Cell<u32>,
}

/// Add to a counter.
#[inline]
pub fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get().wrapping_add(n));
}

impl BatchStats {
    /// All zero, for the life of the process.
    pub fn new() -> &'static BatchStats {
        let stats: &'static BatchStats = Box::leak(Box::new(BatchStats {
            rmgrs: core::array::from_fn(|_| Counts::default()),
            delivered: Default::default(),
            time_ns: Default::default(),
            seen: Cell::new(0),
        }));
        CURRENT.store(core::ptr::from_ref(stats).cast_mut(), Relaxed);
        stats
    }

    /// Count a record of this length.
    #[inline]
    pub fn count(&self, rmid: u8, len: u32, fpi_bytes: u64) {
        let counts = &self.rmgrs[usize::from(rmid)];
        add(&counts.records, 1);
        add(&counts.bytes, len.into());
        if fpi_bytes != 0 {
            add(&counts.fpi_bytes, fpi_bytes);
        }
    }

    /// The counters of this process, once it has some.
    pub fn of_process() -> Option<&'static BatchStats> {
        // SAFETY: NULL or leaked by `new`; only the main thread calls this, so
        // the cells are not shared between threads.
        unsafe { CURRENT.load(Relaxed).as_ref() }
    }

    /// Move the counts to shared memory.
    pub fn publish(&self, control: &Control) {
        for (to, from) in control.rmgrs.iter().zip(&self.rmgrs) {
            if from.records.get() != 0 {
                to.records.fetch_add(from.records.take(), Relaxed);
                to.bytes.fetch_add(from.bytes.take(), Relaxed);
                to.fpi_bytes.fetch_add(from.fpi_bytes.take(), Relaxed);
            }
        }
        let counted = self.delivered.iter().zip(&self.time_ns);
        for (status, (delivered, time_ns)) in control.plugins.iter().zip(counted) {
            status.records.fetch_add(delivered.take(), Relaxed);
            status.time_ns.fetch_add(time_ns.take(), Relaxed);
        }
    }
}
