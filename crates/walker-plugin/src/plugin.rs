//! What a plugin in Rust implements.

use crate::abi::RESUME;
use crate::record::WalRecord;
use core::ffi::CStr;
use pgrx::pg_sys::panic::ErrorReport;
use walker_wal::raw::{FlatRecord, RawRecord};
use walker_wal::{Lsn, RmgrId, TimeLineId};

/// A walker plugin. One instance lives in the worker from startup to exit.
///
/// Records come in the order of the WAL, each exactly once while the worker
/// lives. After a restart delivery begins again after [`Plugin::start_lsn`]:
/// a plugin that saves its state together with the LSN it belongs to sees
/// every record exactly once in effect, others at least once.
///
/// An error, or a panic, ends the worker; it restarts after
/// `walker.restart_interval` and resumes. The third failure at one LSN quarantines
/// the plugin, the tenth in a row at any, and the hundredth for lack of memory.
pub trait Plugin: Sized + 'static {
    /// What its callbacks fail with.
    type Error: Into<ErrorReport>;

    /// Resource managers whose records are delivered.
    const RMGRS: RmgrSet;

    /// Custom resource managers whose records are delivered, too, by the names
    /// under which extensions register them.
    const CUSTOM_RMGRS: &'static [&'static CStr] = &[];

    /// Build the plugin, before the first record.
    fn startup() -> Result<Self, Self::Error>;

    /// Take one record.
    fn record(&mut self, record: &WalRecord<'_>) -> Result<(), Self::Error>;

    /// Whether [`Plugin::record_in_place`] and [`Plugin::raw_in_place`] are to
    /// be called.
    const IN_PLACE: bool = false;

    /// Take one record of the frequent kind as it stands in WAL, which saves
    /// decoding it. False if the plugin wants it by [`Plugin::record`] instead,
    /// as it gets all others.
    fn record_in_place(&mut self, record: &FlatRecord<'_>) -> Result<bool, Self::Error> {
        let _ = record;
        Ok(false)
    }

    /// The same for one of another kind: with page images, which the server
    /// would copy, with more block references, or those of two relations, with a
    /// replication origin or a toplevel transaction.
    fn raw_in_place(&mut self, record: &RawRecord<'_>) -> Result<bool, Self::Error> {
        let _ = record;
        Ok(false)
    }

    /// Records that end at or before this position are not delivered. A plugin
    /// with state of its own says where that state ends; `None` means that it
    /// has lost it, or has none yet, and delivery begins where every page that
    /// is changed still has its image in the WAL. By default there is no state:
    /// delivery goes on where it stopped.
    fn start_lsn(&mut self) -> Result<Option<Lsn>, Self::Error> {
        Ok(Some(Lsn(RESUME)))
    }

    /// Make the state durable; everything up to `upto` has been delivered.
    /// Returns the position up to which the state is durable now.
    fn flush(&mut self, upto: Lsn) -> Result<Option<Lsn>, Self::Error> {
        let _ = upto;
        Ok(None)
    }

    /// WAL between the two positions was lost.
    fn gap(&mut self, from: Lsn, to: Lsn) -> Result<(), Self::Error> {
        let _ = (from, to);
        Ok(())
    }

    /// Reading has come to timeline `tli`. `lsn` is where the reader is, near the
    /// switch: up to a segment before it, or some records behind it.
    fn timeline(&mut self, tli: TimeLineId, lsn: Lsn) -> Result<(), Self::Error> {
        let _ = (tli, lsn);
        Ok(())
    }

    /// Called between records, at least every 10 ms or so while they are read,
    /// before anybody is told that they were applied; `lsn` is the end of the
    /// last one.
    fn poll(&mut self, lsn: Lsn) -> Result<(), Self::Error> {
        let _ = lsn;
        Ok(())
    }

    /// Called before the worker leaves, after the last flush.
    fn shutdown(&mut self) {}
}

/// A set of resource manager IDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RmgrSet([u64; 4]);

impl RmgrSet {
    /// All 256 of them.
    pub const ALL: RmgrSet = RmgrSet([u64::MAX; 4]);

    /// The given ones.
    pub const fn of(ids: &[RmgrId]) -> RmgrSet {
        let mut bits = [0u64; 4];
        let mut i = 0;
        while i < ids.len() {
            let id = ids[i].0;
            bits[(id >> 6) as usize] |= 1 << (id & 63);
            i += 1;
        }
        RmgrSet(bits)
    }

    /// Whether the set has this ID.
    pub const fn contains(&self, id: RmgrId) -> bool {
        self.0[(id.0 >> 6) as usize] & (1 << (id.0 & 63)) != 0
    }
}
