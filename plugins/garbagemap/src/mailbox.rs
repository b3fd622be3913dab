//! Where backends hand pages to the worker: a fixed number of slots in shared
//! memory, each owned by one side at a time.
//!
//! What crosses is line pointers and tuple headers' transaction data, never
//! row contents. A slot's first word says whose it is: a backend takes a free
//! slot, fills it, posts it; the worker answers; the backend uses it again or
//! frees it. Either side may die at any instruction: the worker frees what
//! belongs to processes that are gone, and a backend whose worker is gone
//! waits, interruptibly, for the next one.

use core::ffi::CStr;
use garbagemap_core::{BaseItem, MAX_OFFSET};
use std::sync::atomic::{AtomicU64, Ordering::*};
use walker_wal::{Lsn, RelFileLocator};

/// The name under which the plugin reserves the mailbox.
pub const MAILBOX_NAME: &CStr = c"garbagemap.mailbox";

/// Slots in the mailbox.
pub const SLOTS: usize = 32;
const HEADER_WORDS: usize = 11;
const SLOT_WORDS: usize = HEADER_WORDS + 2 * MAX_OFFSET as usize;
/// Size of the mailbox in bytes.
pub const MAILBOX_BYTES: usize = SLOTS * SLOT_WORDS * 8;

/// Whose a slot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum State {
    /// Nobody's.
    Free = 0,
    /// A backend is filling it.
    Taken = 1,
    /// It is the worker's turn.
    Posted = 2,
    /// The worker has answered.
    Answered = 3,
    /// The backend wants no answer any more; the worker frees it. It must not
    /// free the slot itself while the worker may be reading it.
    Abandoned = 4,
}

/// What a backend says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Kind {
    /// A scan of the relation begins, which counts no tuples of known blocks.
    Begin = 1,
    /// A page.
    Page = 2,
    /// All pages were handed over; block number and LSN are the size.
    End = 3,
    /// A scan begins that does.
    BeginCounting = 4,
}

/// What the worker answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Answer {
    /// Done.
    Done = 1,
    /// The page was read too early: read it again.
    Stale = 2,
    /// The page does not tell its state.
    Undecided = 3,
    /// The worker knows of no such scan, or has no memory for it.
    NoScan = 4,
    /// The worker knows of the scan, but the map does not any more.
    Forgotten = 5,
    /// Read the page again when the WAL up to its LSN is applied.
    Soon = 6,
}

const WORD_STATE: usize = 0;
const WORD_KIND: usize = 1;
const WORD_SPC_DB: usize = 2;
const WORD_REL_BLOCK: usize = 3;
const WORD_LSN: usize = 4;
const WORD_ITEMS: usize = 5;
const WORD_ANSWER: usize = 6;
/// For the progress view: OIDs of database and relation.
const WORD_WHO: usize = 7;
const WORD_TOTAL: usize = 8;
const WORD_DONE: usize = 9;
/// The scan's number.
const WORD_SCAN: usize = 10;

/// Which scan: a process can leave one behind, of the same relation as its
/// next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanId {
    /// The process,
    pub pid: i32,
    /// and a number that it does not use again.
    pub number: u64,
}

/// The mailbox, as any process sees it.
#[derive(Clone, Copy)]
pub struct Mailbox(&'static [AtomicU64]);

/// One slot of it.
#[derive(Clone, Copy)]
pub struct Slot(&'static [AtomicU64]);

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub pid: i32,
    pub db_oid: u32,
    pub rel_oid: u32,
    pub total: u32,
    pub done: u32,
}

impl Mailbox {
    /// `None` if the area is too small.
    pub fn new(area: &'static [AtomicU64]) -> Option<Mailbox> {
        (area.len() >= SLOTS * SLOT_WORDS).then_some(Mailbox(area))
    }

    /// All slots.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        self.0.chunks_exact(SLOT_WORDS).take(SLOTS).map(Slot)
    }

    /// Take a free slot for this process.
    pub fn take(self, pid: i32) -> Option<Slot> {
        let taken = pack(State::Taken, pid);
        self.slots().find(|slot| {
            slot.0[WORD_STATE]
                .compare_exchange(0, taken, AcqRel, Relaxed)
                .is_ok()
                && {
                    slot.0[WORD_WHO].store(0, Relaxed);
                    true
                }
        })
    }
}

fn pack(state: State, pid: i32) -> u64 {
    match state {
        State::Free => 0,
        _ => (state as u64) << 32 | u64::from(pid as u32),
    }
}

fn two(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

impl Slot {
    /// Whose the slot is now, and the backend it belongs to.
    pub fn state(self) -> (State, i32) {
        let (pid, state) = split(self.0[WORD_STATE].load(Acquire));
        let state = match state {
            1 => State::Taken,
            2 => State::Posted,
            3 => State::Answered,
            4 => State::Abandoned,
            _ => State::Free,
        };
        (state, pid as i32)
    }

    /// Give the slot up, from whichever side owns it.
    pub fn free(self) {
        self.0[WORD_WHO].store(0, Relaxed);
        self.0[WORD_STATE].store(0, Release);
    }

    /// Worker: take the slot from a process that is gone, if it is still its.
    /// What progress it shows is of whoever takes it next to reset.
    pub fn free_from(self, (state, pid): (State, i32)) {
        let _ = self.0[WORD_STATE].compare_exchange(pack(state, pid), 0, AcqRel, Relaxed);
    }

    /// Backend: hand the slot to the worker.
    pub fn post(self, id: ScanId, kind: Kind, locator: RelFileLocator, blkno: u32, lsn: Lsn) {
        let w = self.0;
        w[WORD_SCAN].store(id.number, Relaxed);
        w[WORD_KIND].store(kind as u64, Relaxed);
        w[WORD_SPC_DB].store(two(locator.spc_oid, locator.db_oid), Relaxed);
        w[WORD_REL_BLOCK].store(two(locator.rel_number, blkno), Relaxed);
        w[WORD_LSN].store(lsn.0, Relaxed);
        w[WORD_STATE].store(pack(State::Posted, id.pid), Release);
    }

    /// Backend: write the items of a page, before it is posted.
    pub fn set_items(self, items: &[BaseItem]) {
        let (_, to) = self.0.split_at(HEADER_WORDS);
        for (pair, item) in to.chunks_exact(2).zip(items) {
            let first = u64::from(item.offnum)
                | u64::from(item.lp_flags) << 16
                | u64::from(item.infomask) << 32;
            pair[0].store(first, Relaxed);
            pair[1].store(two(item.xmin, item.xmax), Relaxed);
        }
        let n = items.len().min(usize::from(MAX_OFFSET));
        self.0[WORD_ITEMS].store(n as u64, Relaxed);
    }

    /// The scan of this process that used the slot last.
    pub fn scan(self, pid: i32) -> ScanId {
        ScanId {
            pid,
            number: self.0[WORD_SCAN].load(Relaxed),
        }
    }

    /// The relation whose scan used the slot last.
    pub fn locator(self) -> RelFileLocator {
        let (spc_oid, db_oid) = split(self.0[WORD_SPC_DB].load(Relaxed));
        let (rel_number, _) = split(self.0[WORD_REL_BLOCK].load(Relaxed));
        RelFileLocator {
            spc_oid,
            db_oid,
            rel_number,
        }
    }

    /// Worker: what was posted.
    pub fn posted(self) -> Option<(Kind, RelFileLocator, u32, Lsn)> {
        let w = self.0;
        let kind = match w[WORD_KIND].load(Relaxed) {
            1 => Kind::Begin,
            2 => Kind::Page,
            3 => Kind::End,
            4 => Kind::BeginCounting,
            _ => return None,
        };
        let (_, blkno) = split(w[WORD_REL_BLOCK].load(Relaxed));
        Some((kind, self.locator(), blkno, Lsn(w[WORD_LSN].load(Relaxed))))
    }

    /// Worker: the items of the page.
    pub fn items(self, to: &mut Vec<BaseItem>) {
        to.clear();
        let n = self.0[WORD_ITEMS].load(Relaxed).min(u64::from(MAX_OFFSET)) as usize;
        let (_, from) = self.0.split_at(HEADER_WORDS);
        to.extend(from.chunks_exact(2).take(n).map(|pair| {
            let first = pair[0].load(Relaxed);
            let (xmin, xmax) = split(pair[1].load(Relaxed));
            BaseItem {
                offnum: first as u16,
                lp_flags: (first >> 16) as u8,
                infomask: (first >> 32) as u16,
                xmin,
                xmax,
            }
        }));
    }

    /// Worker: answer, which hands the slot back.
    pub fn answer(self, pid: i32, answer: Answer) {
        self.0[WORD_ANSWER].store(answer as u64, Relaxed);
        let (posted, answered) = (pack(State::Posted, pid), pack(State::Answered, pid));
        // Fails if the backend has abandoned it meanwhile.
        let _ = self.0[WORD_STATE].compare_exchange(posted, answered, Release, Relaxed);
    }

    /// Backend: end a scan early.
    pub fn abandon(self, id: ScanId) {
        // Nothing may have been posted in it.
        self.0[WORD_SCAN].store(id.number, Relaxed);
        self.0[WORD_STATE].store(pack(State::Abandoned, id.pid), Release);
    }

    /// Backend: the answer, once the worker has given it.
    pub fn answered(self) -> Option<Answer> {
        if self.state().0 != State::Answered {
            return None;
        }
        Some(match self.0[WORD_ANSWER].load(Relaxed) {
            1 => Answer::Done,
            2 => Answer::Stale,
            3 => Answer::Undecided,
            5 => Answer::Forgotten,
            6 => Answer::Soon,
            _ => Answer::NoScan,
        })
    }

    /// Backend: show how far the scan is, in its first slot.
    pub fn set_progress(self, db_oid: u32, rel_oid: u32, total: u32, done: u32) {
        self.0[WORD_TOTAL].store(u64::from(total), Relaxed);
        self.0[WORD_DONE].store(u64::from(done), Relaxed);
        self.0[WORD_WHO].store(two(db_oid, rel_oid), Relaxed);
    }

    /// How far the scan is that keeps its progress in this slot.
    pub fn progress(self) -> Option<Progress> {
        let (state, pid) = self.state();
        let (db_oid, rel_oid) = split(self.0[WORD_WHO].load(Relaxed));
        (state != State::Free && rel_oid != 0).then(|| Progress {
            pid,
            db_oid,
            rel_oid,
            total: self.0[WORD_TOTAL].load(Relaxed) as u32,
            done: self.0[WORD_DONE].load(Relaxed) as u32,
        })
    }
}
