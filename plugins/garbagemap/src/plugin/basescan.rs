//! The worker's side of base scans: take pages out of the mailbox.

use super::oracle::ServerOracle;
use crate::mailbox::{Answer, Kind, Mailbox, ScanId, Slot, State};
use garbagemap_core::map::MapWriter;
use garbagemap_core::{BaseItem, BaseOutcome, Ledger, Unsaved};
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::wal::{BLCKSZ, Lsn, RelFileLocator};

/// How often slots and scans of processes that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// A scan of many tables has a moment now and then when none is open.
const BETWEEN: Duration = Duration::from_secs(1);

/// The open scans and the mailbox they use.
pub struct BaseScans {
    mailbox: Option<Mailbox>,
    open: Vec<Open>,
    items: Vec<BaseItem>,
    swept: Instant,
    unsaved: Unsaved,
    /// When a scan was open last, or what it told was still held back.
    scanned: Instant,
}

/// A scan that has begun.
#[derive(Clone, Copy)]
struct Open {
    id: ScanId,
    locator: RelFileLocator,
    /// The ledger's number for it.
    number: u64,
}

impl Open {
    /// Whether the ledger has all that it noted since the scan began.
    fn is_kept(&self, ledger: &mut Ledger<MapWriter<'static>>) -> bool {
        ledger.base_scan(self.locator) == Some(self.number)
    }

    /// End it; false if the ledger has forgotten it.
    fn end(
        &self,
        ledger: &mut Ledger<MapWriter<'static>>,
        size: Option<(u32, Lsn)>,
        applied: Lsn,
    ) -> bool {
        let kept = self.is_kept(ledger);
        if kept {
            ledger.end_base_scan(self.locator, size, applied);
        }
        kept
    }
}

impl BaseScans {
    /// Without a mailbox there are none.
    pub fn new(mailbox: Option<Mailbox>) -> BaseScans {
        BaseScans {
            mailbox,
            open: Vec::new(),
            items: Vec::new(),
            swept: Instant::now(),
            unsaved: Unsaved::default(),
            scanned: Instant::now(),
        }
    }

    /// Whether what scans told should be saved now. True once; then it is up to
    /// the caller.
    pub fn should_be_saved(&mut self, ledger: &Ledger<MapWriter<'static>>) -> bool {
        if ledger.is_scanning() {
            self.scanned = Instant::now();
        }
        let open = self.scanned.elapsed() < BETWEEN;
        self.unsaved
            .is_due(open, BLCKSZ as u64, ledger.stats().memory_used)
    }

    /// Whether scans told anything since a state was last sealed, or asked for.
    pub fn has_unsaved(&self) -> bool {
        self.unsaved.has_any()
    }

    /// A state was sealed.
    pub fn saved(&mut self) {
        self.unsaved.saved();
    }

    /// Serve what was posted. `applied` is the end of the last record applied.
    pub fn serve(&mut self, ledger: &mut Ledger<MapWriter<'static>>, applied: Lsn) {
        let Some(mailbox) = self.mailbox else { return };
        let mut busy = false;
        for slot in mailbox.slots() {
            let (state, pid) = slot.state();
            busy |= state != State::Free;
            if state == State::Posted {
                self.serve_slot(ledger, slot, pid, applied);
            }
            if let (State::Abandoned, pid) = slot.state() {
                if let Some(open) = self.close(slot.scan(pid)) {
                    open.end(ledger, None, applied);
                }
                slot.free();
            }
        }
        if (busy || !self.open.is_empty()) && self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.sweep(mailbox, ledger, applied);
        }
    }

    fn serve_slot(
        &mut self,
        ledger: &mut Ledger<MapWriter<'static>>,
        slot: Slot,
        pid: i32,
        applied: Lsn,
    ) {
        let Some((kind, locator, blkno, lsn)) = slot.posted() else {
            slot.answer(pid, Answer::NoScan);
            return;
        };
        let id = slot.scan(pid);
        let answer = match kind {
            Kind::Begin | Kind::BeginCounting => {
                match ledger.begin_base_scan(locator, kind == Kind::BeginCounting) {
                    Some(number) => {
                        self.open.push(Open {
                            id,
                            locator,
                            number,
                        });
                        Answer::Done
                    }
                    None => Answer::NoScan,
                }
            }
            Kind::Page => match self.find(id).filter(|open| open.locator == locator) {
                None => Answer::NoScan,
                Some(open) if !open.is_kept(ledger) => Answer::Forgotten,
                Some(_) => {
                    slot.items(&mut self.items);
                    let items = &self.items;
                    match ledger.base_block(locator, blkno, lsn, items, applied, &mut ServerOracle)
                    {
                        BaseOutcome::Known => Answer::Done,
                        BaseOutcome::Counted | BaseOutcome::Applied | BaseOutcome::Ahead => {
                            self.unsaved.told();
                            Answer::Done
                        }
                        BaseOutcome::Stale => Answer::Stale,
                        BaseOutcome::Soon => Answer::Soon,
                        BaseOutcome::Undecided => Answer::Undecided,
                        BaseOutcome::NoScan => Answer::Forgotten,
                    }
                }
            },
            Kind::End => match self.close(id) {
                Some(open) if open.end(ledger, Some((blkno, lsn)), applied) => Answer::Done,
                Some(_) => Answer::Forgotten,
                None => Answer::NoScan,
            },
        };
        slot.answer(pid, answer);
        set_latch_of(pid);
    }

    fn find(&self, id: ScanId) -> Option<Open> {
        self.open.iter().find(|open| open.id == id).copied()
    }

    /// Forget a scan, if there is one.
    fn close(&mut self, id: ScanId) -> Option<Open> {
        let found = self.open.iter().position(|open| open.id == id);
        found.map(|i| self.open.swap_remove(i))
    }

    /// Free what belongs to processes that are gone.
    fn sweep(&mut self, mailbox: Mailbox, ledger: &mut Ledger<MapWriter<'static>>, applied: Lsn) {
        for slot in mailbox.slots() {
            let seen = slot.state();
            if seen.0 != State::Free && !is_alive(seen.1) {
                slot.free_from(seen);
            }
        }
        self.open.retain(|open| {
            let alive = is_alive(open.id.pid);
            if !alive {
                open.end(ledger, None, applied);
            }
            alive
        });
    }
}

fn is_alive(pid: i32) -> bool {
    // SAFETY: looks through the process array (storage/ipc/procarray.c).
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

fn set_latch_of(pid: i32) {
    // SAFETY: as in `is_alive`; setting the latch of a process that has just
    // gone is harmless.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        if !proc.is_null() {
            pg_sys::SetLatch(&raw mut (*proc).procLatch);
        }
    }
}
