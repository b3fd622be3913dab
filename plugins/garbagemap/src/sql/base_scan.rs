//! `garbage_base_scan`: learn what predates the walker, while writers go on.
//!
//! The backend reads the pages the map does not know, a few at a time, and
//! hands line pointers and tuple headers to the worker together with the
//! page's LSN; the worker knows what has been applied and what not.

use crate::error::{Error, or_raise};
use crate::mailbox::{Answer, Kind, MAILBOX_NAME, Mailbox, ScanId, Slot};
use crate::relation::{OpenTable, Table};
use crate::scan::TableScan;
use crate::{area, guc, privilege};
use garbagemap_core::BaseItem;
use garbagemap_core::map::{MapReader, RangeState};
use pgrx::prelude::*;
use std::time::{Duration, Instant};
use walker_plugin::{Services, services};
use walker_wal::{Lsn, RelFileLocator};

/// Slots one scan uses at most, so that several scans fit.
const PIPELINE: usize = 6;
/// A page that is changed each time it is read is left unknown after so many
/// tries; its next image makes it known.
const TRIES: u32 = 20;
/// A worker that does not answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(30);

#[pg_extern(sql = false)]
fn garbage_base_scan(rel: pg_sys::Oid) -> i64 {
    let mut read = 0;
    or_raise(scan(rel).map(|n| read = n));
    read
}

pub(super) fn mailbox() -> Result<(Services, Mailbox), Error> {
    let services = services().ok_or(Error::NotPreloaded)?;
    let area = services.find_area(MAILBOX_NAME).ok_or(Error::NoMap)?;
    Ok((services, Mailbox::new(area.words()).ok_or(Error::NoMap)?))
}

/// Of one table; the number of pages read.
pub(super) fn scan(rel: pg_sys::Oid) -> Result<i64, Error> {
    privilege::require_superuser("garbage_base_scan")?;
    let table = Table::look_up(rel)?;
    table.require_wal_logged()?;
    let map = area::map()?;
    let (services, mailbox) = mailbox()?;
    // The lock is held for a range of pages at a time, so that whoever wants
    // to change the table gets in between.
    let open = table.open()?;
    if open.is_not_logged_yet() {
        let name = table.name.clone();
        return Err(Error::NotLoggedYet { name });
    }
    let locator = open.locator();
    let blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
    drop(open);
    let mut scan = BaseScan::new(table, locator, blocks, services, mailbox)?;
    scan.begin()?;
    // From now on blocks that come are seen by the worker.
    if let Some(open) = scan.reopen()? {
        scan.blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
    }
    let read = scan.all_pages(&map)?;
    scan.end()?;
    Ok(read)
}

/// A page that is with the worker.
struct Waiting {
    slot: usize,
    blkno: u32,
    tries: u32,
}

struct BaseScan {
    table: Table,
    locator: RelFileLocator,
    /// Blocks the table had when the scan had begun.
    blocks: u32,
    services: Services,
    slots: Vec<Slot>,
    id: ScanId,
    waiting: Vec<Waiting>,
    begun: bool,
    started: Instant,
    items: Vec<BaseItem>,
}

impl BaseScan {
    fn new(
        table: Table,
        locator: RelFileLocator,
        blocks: u32,
        services: Services,
        mailbox: Mailbox,
    ) -> Result<Self, Error> {
        // SAFETY: set when the process started; reads the clock. To begin a scan
        // takes longer than a microsecond.
        let (pid, now) = unsafe { (pg_sys::MyProcPid, pg_sys::GetCurrentTimestamp()) };
        let number = now as u64;
        let mut scan = BaseScan {
            table,
            locator,
            blocks,
            services,
            slots: Vec::with_capacity(PIPELINE),
            id: ScanId { pid, number },
            waiting: Vec::new(),
            begun: false,
            started: Instant::now(),
            items: Vec::new(),
        };
        while scan.slots.len() < PIPELINE {
            let Some(slot) = mailbox.take(pid) else { break };
            scan.slots.push(slot);
        }
        if scan.slots.is_empty() {
            Err(Error::TooManyScans)
        } else {
            Ok(scan)
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.begun = true;
        match self.ask(Kind::Begin, 0, Lsn(0))? {
            Answer::Done => Ok(()),
            _ => Err(Error::NoMemory),
        }
    }

    /// Read every page the map does not know; the number of pages read.
    fn all_pages(&mut self, map: &MapReader<'_>) -> Result<i64, Error> {
        let width = map.range_blocks();
        let total = self.blocks;
        let mut ranges = map.find(self.locator).map(|r| r.ranges());
        let mut read = 0;
        let mut start = 0;
        while start < total {
            let end = start.saturating_add(width).min(total);
            let state = ranges.as_mut().and_then(Iterator::next);
            if !is_known(state, end - start) {
                let Some(open) = self.reopen()? else { break };
                read += self.range(&open, start, end)?;
                drop(open);
                self.throttle(read);
            }
            self.show(total, end);
            start = end;
        }
        Ok(read)
    }

    /// Lock the table again; `None` if it was rewritten meanwhile. Of the new
    /// table everything is known, for its creation is in the WAL.
    fn reopen(&self) -> Result<Option<OpenTable>, Error> {
        let open = self.table.open()?;
        Ok((open.locator() == self.locator).then_some(open))
    }

    /// Hand the pages of one range over; the number of pages read.
    fn range(&mut self, table: &OpenTable, start: u32, end: u32) -> Result<i64, Error> {
        let mut pages = TableScan::new(table);
        // It may have been truncated meanwhile.
        let end = end.min(pages.blocks());
        for blkno in start..end {
            self.page(&mut pages, blkno)?;
        }
        while !self.waiting.is_empty() {
            self.collect(&mut pages)?;
        }
        Ok(i64::from(end.saturating_sub(start)))
    }

    fn show(&self, total: u32, done: u32) {
        if let Some(slot) = self.slots.first() {
            // SAFETY: set once when the session connects to its database.
            let db = unsafe { pg_sys::MyDatabaseId.to_u32() };
            slot.set_progress(db, self.table.oid.to_u32(), total, done);
        }
    }

    /// Hand one page over, in a free slot.
    fn page(&mut self, pages: &mut TableScan<'_>, blkno: u32) -> Result<(), Error> {
        while self.waiting.len() == self.slots.len() {
            self.collect(pages)?;
        }
        let busy = |i: &usize| self.waiting.iter().any(|w| w.slot == *i);
        let free = (0..self.slots.len()).find(|i| !busy(i));
        let Some(slot) = free else { return Ok(()) };
        self.post_page(pages, slot, blkno);
        self.waiting.push(Waiting {
            slot,
            blkno,
            tries: 1,
        });
        Ok(())
    }

    fn post_page(&mut self, pages: &mut TableScan<'_>, slot: usize, blkno: u32) {
        let lsn = pages.headers(blkno, &mut self.items);
        if let Some(slot) = self.slots.get(slot) {
            slot.set_items(&self.items);
            slot.post(self.id, Kind::Page, self.locator, blkno, lsn);
        }
        self.services.wake();
    }

    /// Wait for answers and act on them.
    fn collect(&mut self, pages: &mut TableScan<'_>) -> Result<(), Error> {
        let asked = Instant::now();
        loop {
            let mut again = Vec::new();
            let mut answered = false;
            let slots = &self.slots;
            let mut failed = None;
            self.waiting
                .retain(|w| match slots.get(w.slot).and_then(|s| s.answered()) {
                    None => true,
                    Some(answer) => {
                        answered = true;
                        match answer {
                            Answer::NoScan => failed = Some(Error::ScanLost),
                            Answer::Forgotten => failed = Some(Error::ScanForgotten),
                            Answer::Stale if w.tries < TRIES => {
                                again.push((w.slot, w.blkno, w.tries));
                            }
                            Answer::Stale | Answer::Done | Answer::Undecided => {}
                        }
                        false
                    }
                });
            if let Some(error) = failed {
                return Err(error);
            }
            for (slot, blkno, tries) in again {
                self.post_page(pages, slot, blkno);
                self.waiting.push(Waiting {
                    slot,
                    blkno,
                    tries: tries + 1,
                });
            }
            if answered {
                return Ok(());
            }
            self.pause(asked)?;
        }
    }

    /// Say something that is no page, and wait for the answer.
    fn ask(&mut self, kind: Kind, blkno: u32, lsn: Lsn) -> Result<Answer, Error> {
        let Some(slot) = self.slots.first().copied() else {
            return Err(Error::TooManyScans);
        };
        slot.post(self.id, kind, self.locator, blkno, lsn);
        self.services.wake();
        let asked = Instant::now();
        loop {
            if let Some(answer) = slot.answered() {
                return Ok(answer);
            }
            self.pause(asked)?;
        }
    }

    fn pause(&self, asked: Instant) -> Result<(), Error> {
        if asked.elapsed() > PATIENCE {
            return Err(Error::NoAnswer);
        }
        sleep(Duration::from_millis(10));
        Ok(())
    }

    /// Keep to the configured speed.
    fn throttle(&self, pages: i64) {
        let Some(per_second) = guc::base_scan_pages_per_second() else {
            return;
        };
        let due = Duration::from_secs_f64(pages as f64 / per_second);
        while let Some(left) = due.checked_sub(self.started.elapsed()) {
            sleep(
                left.min(Duration::from_millis(100))
                    .max(Duration::from_millis(1)),
            );
        }
    }

    /// Close the scan, and wait until what was read is what is applied.
    fn end(&mut self) -> Result<(), Error> {
        let lsn = position();
        // So that the worker finds it when it is woken.
        flush(lsn);
        let answer = self.ask(Kind::End, self.blocks, lsn)?;
        self.begun = false;
        match answer {
            Answer::Done => {}
            // A table that was rewritten or dropped meanwhile needs no scan.
            Answer::Forgotten if !matches!(self.reopen(), Ok(Some(_))) => {}
            Answer::Forgotten => return Err(Error::ScanForgotten),
            _ => return Err(Error::ScanLost),
        }
        // SAFETY: set once at server start.
        let segment = unsafe { pg_sys::wal_segment_size } as u32;
        let applied = || crate::area::applied_lsn().unwrap_or(Lsn(0));
        let mut last = applied();
        let mut moved = Instant::now();
        while !last.reaches(lsn, segment) {
            self.pause(moved)?;
            let now = applied();
            if now != last {
                (last, moved) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

impl Drop for BaseScan {
    fn drop(&mut self) {
        for slot in &self.slots {
            // A scan that ends early leaves its slots, and itself, to the
            // worker.
            if self.begun {
                slot.abandon(self.id)
            } else {
                slot.free()
            }
        }
    }
}

fn is_known(state: Option<RangeState>, blocks: u32) -> bool {
    matches!(state, Some(RangeState::Counts(c)) if u32::from(c.first_unknown) >= blocks)
}

/// Sleep; a set latch ends it, an interrupt raises its error.
fn sleep(time: Duration) {
    // SAFETY: our own latch.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            time.as_millis() as core::ffi::c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Aborts and prunings are not flushed by themselves, and the worker reads
/// nothing that is not.
fn flush(lsn: Lsn) {
    // SAFETY: on a primary, up to a position that has been inserted
    // (access/transam/xlog.c).
    unsafe {
        if !pg_sys::RecoveryInProgress() {
            pg_sys::XLogFlush(lsn.0);
        }
    }
}

/// Where WAL is being written (replayed, on a standby) now.
fn position() -> Lsn {
    // SAFETY: both read shared memory (access/transam/xlog.c, xlogrecovery.c).
    let lsn = unsafe {
        if pg_sys::RecoveryInProgress() {
            pg_sys::GetXLogReplayRecPtr(core::ptr::null_mut())
        } else {
            pg_sys::GetXLogInsertRecPtr()
        }
    };
    // The insert position skips page headers, no record ends behind one.
    // SAFETY: set once at server start.
    let segment = unsafe { pg_sys::wal_segment_size } as u32;
    let lsn = Lsn(lsn);
    if lsn.page_offset() <= lsn.page_header_size(segment) {
        lsn.page_start()
    } else {
        lsn
    }
}
