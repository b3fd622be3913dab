//! `garbage_base_scan`: learn what predates the walker, while writers go on.
//!
//! The backend reads the pages the map does not know, or knows without the number
//! of their tuples if that can be kept, a few at a time, and
//! hands line pointers and tuple headers to the worker together with the
//! page's LSN; the worker knows what has been applied and what not.

use crate::error::{Error, or_raise};
use crate::mailbox::{Answer, Kind, MAILBOX_NAME, Mailbox, ScanId, Slot};
use crate::relation::{OpenTable, Table};
use crate::scan::{Ring, TableScan};
use crate::{area, guc, privilege};
use garbagemap_core::map::{MapReader, RangeState};
use garbagemap_core::{BaseItem, has_room_for_counts};
use pgrx::prelude::*;
use std::rc::Rc;
use std::time::{Duration, Instant};
use walker_plugin::{Services, services};
use walker_wal::{Lsn, RelFileLocator};

/// Slots one scan uses at most, so that several scans fit.
const PIPELINE: usize = 6;
/// A page that is changed each time it is read is left as it is after so many
/// tries; its next image makes it known.
const TRIES: u32 = 20;
/// So long the worker is waited for to come to a page that was changed just now,
/// with the table locked. If it takes longer, no page of the scan waits any more,
/// and those that are ahead are not counted.
const SOON: Duration = Duration::from_secs(1);
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
    let count = scan.counts_tuples(&map);
    scan.begin(count)?;
    // From now on blocks that come are seen by the worker.
    if let Some(open) = scan.reopen()? {
        scan.blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
    }
    let read = scan.all_pages(&map, count)?;
    scan.end()?;
    Ok(read)
}

/// A page that is with the worker.
struct Waiting {
    slot: usize,
    blkno: u32,
    /// What the page's LSN was.
    lsn: Lsn,
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
    /// Whether pages that are ahead of the worker are waited for, see [`SOON`].
    waits: bool,
    started: Instant,
    items: Vec<BaseItem>,
    ring: Rc<Ring>,
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
            waits: true,
            started: Instant::now(),
            items: Vec::new(),
            ring: Ring::bulk_read(),
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

    fn begin(&mut self, count: bool) -> Result<(), Error> {
        self.begun = true;
        let kind = match count {
            true => Kind::BeginCounting,
            false => Kind::Begin,
        };
        match self.ask(kind, 0, Lsn(0))? {
            Answer::Done => Ok(()),
            _ => Err(Error::NoMemory),
        }
    }

    /// Whether there is memory to count the tuples of all ranges of which their
    /// number is not known: a part of them tells nothing of the table.
    fn counts_tuples(&self, map: &MapReader<'_>) -> bool {
        let (Some(relation), Some(status)) = (map.find(self.locator), map.status()) else {
            return false;
        };
        let uncounted = relation.published().filter(|(_, c)| c.tuples.is_none());
        let (used, limit) = (status.memory_used, status.memory_limit);
        has_room_for_counts(uncounted.count() as u64, map.range_blocks(), used, limit)
    }

    /// Read every page the map does not know all of; the number of pages read.
    fn all_pages(&mut self, map: &MapReader<'_>, count: bool) -> Result<i64, Error> {
        let width = map.range_blocks();
        let total = self.blocks;
        let mut ranges = map.find(self.locator).map(|r| r.ranges());
        let mut read = 0;
        let mut start = 0;
        while start < total {
            let end = start.saturating_add(width).min(total);
            let state = ranges.as_mut().and_then(Iterator::next);
            if !is_known(state, end - start, count) {
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
        let mut pages = TableScan::with(table, self.ring.clone());
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
        self.post_page(pages, slot, blkno, 1);
        Ok(())
    }

    fn post_page(&mut self, pages: &mut TableScan<'_>, slot: usize, blkno: u32, tries: u32) {
        let mut lsn = pages.headers(blkno, &mut self.items);
        if !lsn.is_valid() {
            // A new page. It may have been another one, which was cut off since by
            // what the worker has not read yet: it is what it is no earlier than now.
            let now = position();
            let found = pages.headers(blkno, &mut self.items);
            lsn = if found.is_valid() { found } else { now };
        }
        if let Some(slot) = self.slots.get(slot) {
            slot.set_items(&self.items);
        }
        self.post(Waiting {
            slot,
            blkno,
            lsn,
            tries,
        });
    }

    /// Hand over what is in a slot.
    fn post(&mut self, page: Waiting) {
        if let Some(slot) = self.slots.get(page.slot) {
            slot.post(self.id, Kind::Page, self.locator, page.blkno, page.lsn);
        }
        self.services.wake();
        self.waiting.push(page);
    }

    /// Wait for answers and act on them.
    fn collect(&mut self, pages: &mut TableScan<'_>) -> Result<(), Error> {
        let asked = Instant::now();
        loop {
            let slots = &self.slots;
            let answers = self.waiting.extract_if(.., |w| {
                slots
                    .get(w.slot)
                    .is_some_and(|slot| slot.answered().is_some())
            });
            let answered: Vec<Waiting> = answers.collect();
            if answered.is_empty() {
                self.pause(asked)?;
                continue;
            }
            let mut soon = Vec::new();
            for page in answered {
                match self.slots.get(page.slot).and_then(|slot| slot.answered()) {
                    Some(Answer::NoScan) => return Err(Error::ScanLost),
                    Some(Answer::Forgotten) => return Err(Error::ScanForgotten),
                    Some(Answer::Stale) if page.tries < TRIES => {
                        self.post_page(pages, page.slot, page.blkno, page.tries + 1);
                    }
                    Some(Answer::Soon) if self.waits => soon.push(page),
                    _ => {}
                }
            }
            return self.post_soon(soon);
        }
    }

    /// Hand over once more what the worker had not come to: if it is the same then,
    /// it counts.
    fn post_soon(&mut self, pages: Vec<Waiting>) -> Result<(), Error> {
        let Some(last) = pages.iter().map(|page| page.lsn).max() else {
            return Ok(());
        };
        self.waits = self.wait_until_applied(last, Some(SOON))?;
        if self.waits {
            pages.into_iter().for_each(|page| self.post(page));
        }
        Ok(())
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
        self.wait_until_applied(lsn, None).map(drop)
    }

    /// Wait until the worker has come to a position, or `most` so long; whether it
    /// has.
    fn wait_until_applied(&self, lsn: Lsn, most: Option<Duration>) -> Result<bool, Error> {
        // So that the worker finds it when it is woken.
        flush(lsn);
        self.services.wake();
        // SAFETY: set once at server start.
        let segment = unsafe { pg_sys::wal_segment_size } as u32;
        let applied = || crate::area::applied_lsn().unwrap_or(Lsn(0));
        let began = Instant::now();
        let (mut last, mut moved) = (applied(), began);
        while !last.reaches(lsn, segment) {
            if most.is_some_and(|most| began.elapsed() > most) {
                return Ok(false);
            }
            self.pause(moved)?;
            let now = applied();
            if now != last {
                (last, moved) = (now, Instant::now());
            }
        }
        Ok(true)
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

/// Whether all that is wanted of the range is known, `count`: with the number of
/// its tuples.
fn is_known(state: Option<RangeState>, blocks: u32, count: bool) -> bool {
    matches!(state, Some(RangeState::Counts(c))
        if u32::from(c.first_unknown) >= blocks && (c.tuples.is_some() || !count))
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
