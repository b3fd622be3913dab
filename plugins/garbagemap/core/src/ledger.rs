//! The ledger: what is known of every block of every heap, its changes, and
//! the one way in which they reach the counters.
//!
//! A change goes to a block only while the block is known. What a record says
//! ends in [`Ledger::try_change`], which notes new undecided events with their
//! transaction, what the end of a transaction says in [`Ledger::range_ended`];
//! both put the range with those that are to be shown ([`Ledger::publish`]). If
//! memory for a change cannot be had, the relation is degraded: it is unknown
//! from then on, and never wrong.

use walker_wal::{BlockNumber, Lsn, RelFileLocator, TransactionId};

use crate::audit::Mismatch;
use crate::basescan::Scans;
use crate::block::BlockState;
use crate::counters::Why;
use crate::ended::{Ended, Multixacts};
use crate::mem::{Mem, NoMemory};
use crate::range::{Effect, Range};
use crate::recent::Recent;
use crate::relation::{Geometry, Relations};
use crate::shown::Totals;
use crate::state::Saving;
use crate::xact::{Touch, Transactions};
use crate::{Config, Sink, Stats};

/// A block, and the end of the record that concerns it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub locator: RelFileLocator,
    pub blkno: BlockNumber,
    pub end_lsn: Lsn,
    /// Redo of the record sets the page's LSN to `end_lsn`.
    pub sets_page_lsn: bool,
}

/// The ledger. See the module's documentation.
pub struct Ledger<S: Sink> {
    pub(crate) config: Config,
    pub(crate) geo: Geometry,
    pub(crate) sink: S,
    pub(crate) rels: Relations<S::Rel>,
    pub(crate) txs: Transactions,
    pub(crate) recent: Recent,
    pub(crate) ended: Ended,
    pub(crate) multixacts: Multixacts,
    pub(crate) scans: Scans,
    pub(crate) mem: Mem,
    pub(crate) totals: Totals,
    pub(crate) stats: Stats,
    pub(crate) mismatches: Vec<Mismatch>,
    /// Relations the sink had no room for, or lost a range of.
    pub(crate) unpublished: bool,
    /// The WAL was written with `wal_level = minimal`: creations of relations
    /// promise nothing then.
    pub(crate) wal_minimal: bool,
    /// Reused while an image is decoded.
    pub(crate) scratch: BlockState,
    /// End of the record that is being applied.
    pub(crate) applied: Lsn,
    /// The youngest transaction of the WAL read so far.
    pub(crate) youngest: TransactionId,
    /// The state that is being written.
    pub(crate) saving: Saving,
    /// Why dead tuples come and go just now.
    pub(crate) why: Why,
    /// Ranges that are to be shown.
    pub(crate) waiting: Vec<(u32, u32)>,
    /// Relations whose counters are to be shown.
    pub(crate) counted: Vec<u32>,
}

impl<S: Sink> Ledger<S> {
    /// A ledger that knows nothing yet.
    pub fn new(config: Config, sink: S) -> Self {
        Ledger {
            geo: Geometry::new(config.range_blocks, config.count_tuples),
            config,
            sink,
            rels: Relations::default(),
            txs: Transactions::default(),
            recent: Recent::default(),
            ended: Ended::default(),
            multixacts: Multixacts::default(),
            scans: Scans::default(),
            mem: Mem::default(),
            totals: Totals::default(),
            stats: Stats::default(),
            mismatches: Vec::new(),
            unpublished: false,
            wal_minimal: false,
            scratch: BlockState::default(),
            applied: Lsn(0),
            youngest: 0,
            saving: Saving::default(),
            why: Why::Learned,
            waiting: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// Whether WAL from here on was written with `wal_level = minimal`. The
    /// ledger follows the records that tell of a change; the caller says what
    /// held at the position it starts at.
    pub fn set_wal_minimal(&mut self, minimal: bool) {
        self.wal_minimal = minimal;
    }

    /// Where the counters go.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Where the counters go.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Change a block, if it is known. The relation, if it has a place here.
    #[inline]
    pub(crate) fn delta(
        &mut self,
        at: At,
        xid: TransactionId,
        change: impl FnOnce(&mut Range, u8, &mut Mem) -> Result<Effect, NoMemory>,
    ) -> Option<u32> {
        let idx = self.rels.find(at.locator)?;
        self.change(idx, at, xid, false, change);
        Some(idx)
    }

    /// Change a block in a way that makes it known, or may make it unknown.
    pub(crate) fn learn(
        &mut self,
        at: At,
        change: impl FnOnce(&mut Range, u8, &mut Mem) -> Result<Effect, NoMemory>,
    ) {
        if let Some(idx) = self.open(at.locator) {
            self.change(idx, at, 0, true, change);
        }
    }

    /// Change a block. Whether it was known, or is to be.
    #[inline]
    pub(crate) fn change(
        &mut self,
        idx: u32,
        at: At,
        xid: TransactionId,
        to_be_known: bool,
        change: impl FnOnce(&mut Range, u8, &mut Mem) -> Result<Effect, NoMemory>,
    ) -> bool {
        if !self.admit(idx, at) {
            return false;
        }
        self.try_change(idx, at, xid, to_be_known, change)
            .unwrap_or_else(|NoMemory| {
                self.degrade(idx);
                false
            })
    }

    /// Make the change and note a new undecided transaction, with one look-up
    /// of the range.
    #[inline]
    fn try_change(
        &mut self,
        idx: u32,
        at: At,
        xid: TransactionId,
        to_be_known: bool,
        change: impl FnOnce(&mut Range, u8, &mut Mem) -> Result<Effect, NoMemory>,
    ) -> Result<bool, NoMemory> {
        let (rangeno, b) = self.geo.split(at.blkno);
        let Some(rel) = self.rels.get_mut(idx) else {
            return Ok(false);
        };
        let range = match rel.ranges.get_mut(rangeno) {
            Some(range) => range,
            None => match rel.make_range(self.geo, at.blkno, to_be_known, &mut self.mem)? {
                Some(range) => range,
                None => return Ok(false),
            },
        };
        if !to_be_known && !range.is_known(b) {
            return Ok(false);
        }
        self.saving.changed(range, idx, rangeno);
        let effect = change(range, b, &mut self.mem)?;
        let (delta, wait) = range.changed();
        if effect.new_touch {
            let touch = Touch { rel: idx, rangeno };
            self.txs.touch(xid, touch, &mut self.mem)?;
        }
        self.stats.contradictions += u64::from(effect.contradiction);
        if delta != 0 {
            rel.horizon.learned(delta.into(), self.youngest);
            rel.counted.counters.changed(self.why, delta);
            if !rel.count_waits {
                self.show_counters_of(idx);
            }
        }
        if wait {
            self.show_later(idx, rangeno);
        }
        Ok(true)
    }

    /// The record is the latest that concerns the relation. Whether its
    /// change to this block is still to be made: a base scan may have seen it
    /// already.
    #[inline]
    pub(crate) fn admit(&mut self, idx: u32, at: At) -> bool {
        let Some(rel) = self.rels.get_mut(idx) else {
            return false;
        };
        // What waited comes late.
        rel.last_touch = rel.last_touch.max(at.end_lsn.0);
        !rel.scanning || self.scan_admits(idx, at)
    }

    /// The relation's slot; made if need be.
    pub(crate) fn open(&mut self, locator: RelFileLocator) -> Option<u32> {
        if let Some(idx) = self.rels.find(locator) {
            return Some(idx);
        }
        let idx = self.rels.add(locator, &mut self.mem).ok()?;
        if let Some(rel) = self.rels.get_mut(idx) {
            self.saving.renew(rel);
        }
        let place = self.sink.open(locator);
        let rel = self.rels.get_mut(idx)?;
        rel.sink = place;
        if place.is_none() {
            rel.unpublished = true;
            self.unpublished = true;
        }
        Some(idx)
    }

    /// The transaction has undecided events in the range.
    pub(crate) fn note(
        &mut self,
        idx: u32,
        rangeno: u32,
        xid: TransactionId,
    ) -> Result<(), NoMemory> {
        let touch = Touch { rel: idx, rangeno };
        self.txs.touch(xid, touch, &mut self.mem)
    }

    /// Drop what is known of a relation: it becomes known again by images,
    /// new pages and all-visible records. Its place stays.
    pub(crate) fn degrade(&mut self, idx: u32) {
        self.stats.degradations += 1;
        self.forget_relation(idx);
    }

    pub(crate) fn forget_relation(&mut self, idx: u32) {
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        rel.known_from = None;
        rel.scanning = false;
        self.saving.renew(rel);
        let totals = &mut self.totals;
        rel.drop_ranges(&mut self.mem, |range| totals.subtract(range.shown));
        if let Some(place) = rel.sink {
            self.sink.set_known_from(place, None);
            self.sink.truncate(place, 0);
        }
        self.scans.forget(idx, &mut self.mem);
        self.age_garbage(idx, i64::MIN);
    }
}
