//! A naive server: pages, transactions, and the WAL it writes.

use std::collections::{BTreeMap, HashMap, HashSet};

use garbagemap_core::{Oracle, XidStatus};
use walker_wal::heap::*;
use walker_wal::raw::{BlockSpec, ImageSpec, RecordBuilder};
use walker_wal::{ForkNumber, Lsn, Major, RelFileLocator, RmgrId};

use super::page::{Lp, Page, Tuple, locked_only};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Xact {
    Running,
    Committed,
    Aborted,
}

/// A transaction or subtransaction of a session.
#[derive(Clone, Debug)]
pub struct Frame {
    pub xid: u32,
    /// Subtransactions that committed into it.
    pub children: Vec<u32>,
}

/// A written record.
#[derive(Clone)]
pub struct Written {
    pub start: Lsn,
    pub end: Lsn,
    pub bytes: Vec<u8>,
}

/// A block of a record to be written.
pub struct Change<'a> {
    pub id: u8,
    pub rel: RelFileLocator,
    pub blkno: u32,
    pub data: &'a [u8],
    pub init: bool,
    /// The record does not set the page's LSN.
    pub keeps_lsn: bool,
}

pub struct Server {
    pub major: Major,
    pub rels: BTreeMap<RelFileLocator, Vec<Page>>,
    pub clog: HashMap<u32, Xact>,
    /// Ended transactions that others still see as running.
    pub lingering: HashSet<u32>,
    pub sessions: Vec<Vec<Frame>>,
    pub prepared: Vec<Frame>,
    pub multis: HashMap<u32, Vec<(u32, bool)>>,
    pub next_xid: u32,
    pub next_multi: u32,
    pub lsn: u64,
    pub wal: Vec<Written>,
    /// Pages behind "compressed" images, by the number stored in their place.
    pub compressed: Vec<Vec<u8>>,
    /// Share of blocks, in 256, that are written with an image.
    pub image_share: u8,
    rng: u64,
}

impl Server {
    pub fn new(major: Major, first_xid: u32) -> Server {
        Server {
            major,
            rels: BTreeMap::new(),
            clog: HashMap::new(),
            lingering: HashSet::new(),
            sessions: vec![Vec::new(); 4],
            prepared: Vec::new(),
            multis: HashMap::new(),
            next_xid: first_xid,
            next_multi: 1,
            lsn: 0x100_0028,
            wal: Vec::new(),
            compressed: Vec::new(),
            image_share: 40,
            rng: 1,
        }
    }

    pub fn seed(&mut self, seed: u32) {
        self.rng = u64::from(seed) << 1 | 1;
    }

    /// A number below `n`.
    pub fn random(&mut self, n: u32) -> u32 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as u32 % n.max(1)
    }

    pub fn new_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.wrapping_add(1).max(3);
        self.clog.insert(xid, Xact::Running);
        xid
    }

    /// The session's current (sub)transaction.
    pub fn xid(&mut self, session: usize) -> u32 {
        if self.sessions[session].is_empty() {
            let xid = self.new_xid();
            let children = Vec::new();
            self.sessions[session].push(Frame { xid, children });
        }
        self.sessions[session].last().unwrap().xid
    }

    pub fn in_progress(&self, xid: u32) -> bool {
        self.clog.get(&xid) == Some(&Xact::Running) || self.lingering.contains(&xid)
    }

    pub fn is_own(&self, session: usize, xid: u32) -> bool {
        let mut frames = self.sessions[session].iter();
        frames.any(|f| f.xid == xid || f.children.contains(&xid))
    }

    /// Who deletes or updates the tuple, as its header tells.
    pub fn updater(&self, tuple: &Tuple) -> Option<u32> {
        if tuple.infomask & HEAP_XMAX_INVALID != 0 || locked_only(tuple.infomask) {
            return None;
        }
        if tuple.infomask & HEAP_XMAX_IS_MULTI != 0 {
            let members = &self.multis[&tuple.xmax];
            return members.iter().find(|m| m.1).map(|m| m.0);
        }
        Some(tuple.xmax)
    }

    fn committed(&self, tuple: &Tuple) -> Option<bool> {
        match tuple.infomask & HEAP_XMIN_FROZEN {
            0 => match self.clog.get(&tuple.xmin) {
                Some(Xact::Running) => None,
                Some(Xact::Committed) => Some(true),
                _ => Some(false),
            },
            HEAP_XMIN_INVALID => Some(false),
            _ => Some(true),
        }
    }

    /// What `pgstat_heap` calls dead, going by what the WAL says of
    /// transactions.
    pub fn is_dead(&self, tuple: &Tuple) -> bool {
        match self.committed(tuple) {
            None => false,
            Some(false) => true,
            Some(true) => self
                .updater(tuple)
                .is_some_and(|x| self.clog.get(&x) == Some(&Xact::Committed)),
        }
    }

    /// Whether the session sees the tuple and nobody changes it.
    pub fn may_change(&self, session: usize, tuple: &Tuple) -> bool {
        let visible = match tuple.infomask & HEAP_XMIN_FROZEN {
            HEAP_XMIN_INVALID => false,
            0 => {
                self.is_own(session, tuple.xmin)
                    || !self.in_progress(tuple.xmin) && self.committed(tuple) == Some(true)
            }
            _ => true,
        };
        visible
            && self
                .updater(tuple)
                .is_none_or(|x| !self.in_progress(x) && self.clog[&x] == Xact::Aborted)
    }

    /// Lockers that others must respect.
    pub fn lockers(&self, tuple: &Tuple, session: usize) -> Vec<u32> {
        if tuple.infomask & HEAP_XMAX_INVALID != 0 {
            return Vec::new();
        }
        let all = match tuple.infomask & HEAP_XMAX_IS_MULTI {
            0 if locked_only(tuple.infomask) => vec![tuple.xmax],
            0 => Vec::new(),
            _ => {
                let lockers = self.multis[&tuple.xmax].iter().filter(|m| !m.1);
                lockers.map(|m| m.0).collect()
            }
        };
        let others = |x: &u32| self.in_progress(*x) && !self.is_own(session, *x);
        all.into_iter().filter(others).collect()
    }

    pub fn new_multi(&mut self, members: Vec<(u32, bool)>) -> u32 {
        let mid = self.next_multi;
        self.next_multi += 1;
        let mut main = Vec::new();
        main.extend(mid.to_le_bytes());
        main.extend((mid * 4).to_le_bytes());
        main.extend((members.len() as u32).to_le_bytes());
        for &(xid, updates) in &members {
            main.extend(xid.to_le_bytes());
            main.extend(if updates { 4u32 } else { 0 }.to_le_bytes());
        }
        self.multis.insert(mid, members);
        self.write(RmgrId::MULTIXACT, 0x20, 0, &main, &[]);
        mid
    }

    pub fn page(&mut self, rel: RelFileLocator, blkno: u32) -> &mut Page {
        &mut self.rels.get_mut(&rel).unwrap()[blkno as usize]
    }

    /// Write a record after its change was made to the pages.
    pub fn write(&mut self, rmid: RmgrId, info: u8, xid: u32, main: &[u8], blocks: &[Change<'_>]) {
        self.write_with(rmid, info, xid, main, blocks, &[]);
    }

    pub fn write_with(
        &mut self,
        rmid: RmgrId,
        info: u8,
        xid: u32,
        main: &[u8],
        blocks: &[Change<'_>],
        others: &[(u8, RelFileLocator, ForkNumber, u32)],
    ) {
        let mut specs = Vec::new();
        for change in blocks {
            let locator = (change.rel.spc_oid, change.rel.db_oid, change.rel.rel_number);
            let mut spec = BlockSpec::new(change.id, locator, change.blkno);
            let forced = rmid == RmgrId::XLOG;
            let (image, keep_data) = match self.random(256) {
                _ if forced => (true, false),
                _ if change.init => (self.random(16) == 0, true),
                n if n < u32::from(self.image_share) => (true, n % 4 == 0),
                _ => (false, true),
            };
            if change.init {
                spec = spec.will_init();
            }
            if keep_data {
                spec = spec.data(change.data);
            }
            if image {
                let bytes = self.page(change.rel, change.blkno).bytes();
                let mut spec_image = ImageSpec::of_page(&bytes);
                if self.random(4) == 0 {
                    let number = self.compressed.len() as u32;
                    self.compressed.push(bytes);
                    spec_image = ImageSpec::stored(&number.to_le_bytes(), 0, 0, 0x02 | 0x04);
                }
                if keep_data && !forced {
                    spec_image = spec_image.not_applied();
                }
                spec = spec.image(spec_image);
            }
            specs.push((change.id, spec));
        }
        for &(id, rel, fork, blkno) in others {
            let locator = (rel.spc_oid, rel.db_oid, rel.rel_number);
            specs.push((id, BlockSpec::new(id, locator, blkno).fork(fork)));
        }
        specs.sort_by_key(|(id, _)| *id);
        let record = RecordBuilder::new(rmid, info).xid(xid).main_data(main);
        let record = specs
            .into_iter()
            .fold(record, |rec, (_, spec)| rec.block(spec));
        let bytes = record.build();
        let start = self.lsn;
        self.lsn += (bytes.len() as u64).next_multiple_of(8);
        let end = self.lsn;
        for change in blocks.iter().filter(|c| !c.keeps_lsn) {
            self.page(change.rel, change.blkno).lsn = end;
        }
        self.wal.push(Written {
            start: Lsn(start),
            end: Lsn(end),
            bytes,
        });
    }

    /// The end of a transaction, with a record.
    pub fn finish(
        &mut self,
        frame: &Frame,
        committed: bool,
        prepared: bool,
        drop: &[RelFileLocator],
    ) {
        let op: u8 = match (committed, prepared) {
            (true, false) => 0x00,
            (false, false) => 0x20,
            (true, true) => 0x30,
            (false, true) => 0x40,
        };
        let mut main = 0u64.to_le_bytes().to_vec();
        let xinfo = u32::from(!frame.children.is_empty()) << 1
            | u32::from(!drop.is_empty()) << 2
            | u32::from(prepared) << 4;
        if xinfo != 0 {
            main.extend(xinfo.to_le_bytes());
        }
        if !frame.children.is_empty() {
            main.extend((frame.children.len() as u32).to_le_bytes());
            main.extend(frame.children.iter().flat_map(|x| x.to_le_bytes()));
        }
        if !drop.is_empty() {
            main.extend((drop.len() as u32).to_le_bytes());
            for rel in drop {
                main.extend(locator_bytes(*rel));
            }
        }
        if prepared {
            main.extend(frame.xid.to_le_bytes());
        }
        let info = op | if xinfo != 0 { 0x80 } else { 0 };
        let xid = if prepared { 0 } else { frame.xid };
        self.write(RmgrId::XACT, info, xid, &main, &[]);
        let status = if committed {
            Xact::Committed
        } else {
            Xact::Aborted
        };
        for xid in frame.children.iter().chain([&frame.xid]) {
            self.clog.insert(*xid, status);
        }
    }

    pub fn oldest_running(&self) -> u32 {
        let running = self.clog.iter().filter(|(_, s)| **s == Xact::Running);
        let alive = running
            .map(|(x, _)| *x)
            .chain(self.lingering.iter().copied());
        let age = |x: u32| self.next_xid.wrapping_sub(x);
        alive.max_by_key(|x| age(*x)).unwrap_or(self.next_xid)
    }

    /// The truth about a block: dead tuples, dead items, number of tuples.
    pub fn truth(&self, page: &Page) -> (Vec<u16>, Vec<u16>, u16) {
        let dead = page.offsets(|lp| matches!(lp, Lp::Normal(t) if self.is_dead(t)));
        let items = page.offsets(|lp| matches!(lp, Lp::Dead));
        (dead, items, page.tuples().count() as u16)
    }
}

pub fn locator_bytes(rel: RelFileLocator) -> Vec<u8> {
    let oids = [rel.spc_oid, rel.db_oid, rel.rel_number];
    oids.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The server answers as it is now, however far behind the reader is.
impl Oracle for &Server {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        if self.in_progress(xid) {
            return XidStatus::InProgress;
        }
        match self.clog.get(&xid) {
            Some(Xact::Committed) => XidStatus::Committed,
            _ => XidStatus::Aborted,
        }
    }

    fn multixact_updater(&mut self, mxid: u32) -> Option<u32> {
        let members = self.multis.get(&mxid)?;
        Some(members.iter().find(|m| m.1).map_or(0, |m| m.0))
    }
}
