//! What sessions do to tuples on the naive server, one step at a time.

use walker_wal::heap::*;
use walker_wal::{ForkNumber, RelFileLocator, RmgrId};

use super::page::{Page, Tuple, infobits};
use super::server::{Change, Server, Xact};

/// Pages are kept short, so that line pointers are used again soon.
const MAX_LPS: usize = 9;
const MAX_BLOCKS: usize = 7;

pub fn change(id: u8, rel: RelFileLocator, blkno: u32, data: &[u8], init: bool) -> Change<'_> {
    let keeps_lsn = false;
    Change {
        id,
        rel,
        blkno,
        data,
        init,
        keeps_lsn,
    }
}

/// `xl_heap_header` and a byte of data.
fn header(tuple: &Tuple) -> Vec<u8> {
    let infomask2 = if tuple.heap_only { HEAP_ONLY_TUPLE } else { 0 } | 1;
    let mut data = infomask2.to_le_bytes().to_vec();
    data.extend(tuple.infomask.to_le_bytes());
    data.extend([24, 0x55]);
    data
}

fn fresh(xid: u32) -> Tuple {
    Tuple {
        xmin: xid,
        xmax: 0,
        infomask: HEAP_XMAX_INVALID,
        heap_only: false,
        next: None,
    }
}

impl Server {
    pub fn any_rel(&mut self) -> RelFileLocator {
        let n = self.random(self.rels.len() as u32);
        *self.rels.keys().nth(n as usize).unwrap()
    }

    pub fn any_block(&mut self) -> Option<(RelFileLocator, u32)> {
        let rel = self.any_rel();
        let n = self.rels[&rel].len() as u32;
        (n > 0).then(|| (rel, self.random(n)))
    }

    pub fn any_session(&mut self) -> usize {
        self.random(self.sessions.len() as u32) as usize
    }

    /// A page with room; a new one at times. Whether it is new.
    fn roomy(&mut self, rel: RelFileLocator) -> Option<(u32, bool)> {
        let pages = &self.rels[&rel];
        let with_room = (0..pages.len()).filter(|&b| pages[b].has_room(MAX_LPS));
        let with_room: Vec<_> = with_room.collect();
        if pages.len() < MAX_BLOCKS && (with_room.is_empty() || self.random(10) == 0) {
            let pages = self.rels.get_mut(&rel).unwrap();
            pages.push(Page::default());
            return Some((pages.len() as u32 - 1, true));
        }
        let at = self.random(with_room.len() as u32);
        let blkno = *with_room.get(at as usize)? as u32;
        Some((blkno, self.rels[&rel][blkno as usize].lps.is_empty()))
    }

    pub fn insert(&mut self) {
        let (rel, session) = (self.any_rel(), self.any_session());
        let Some((blkno, init)) = self.roomy(rel) else {
            return;
        };
        let xid = self.xid(session);
        let mut tuple = fresh(xid);
        if self.random(8) == 0 {
            tuple.infomask |= HEAP_XMIN_FROZEN;
        }
        let data = header(&tuple);
        let off = self.page(rel, blkno).add(tuple);
        let speculative = self.random(4) == 0 && data[3] & 0x03 == 0;
        let flags = if speculative {
            XLH_INSERT_IS_SPECULATIVE
        } else {
            0
        };
        let [a, b] = off.to_le_bytes();
        let info = if init { 0x80 } else { 0 };
        let vm = [(1, rel, ForkNumber::VISIBILITYMAP, 0)];
        let vm = &vm[..self.random(2) as usize];
        let blocks = [change(0, rel, blkno, &data, init)];
        self.write_with(RmgrId::HEAP, info, xid, &[a, b, flags], &blocks, vm);
        if !speculative {
            return;
        }
        if self.random(2) == 0 {
            self.write(
                RmgrId::HEAP,
                0x50,
                xid,
                &[a, b],
                &[change(0, rel, blkno, &[], false)],
            );
        } else {
            self.page(rel, blkno).tuple(off).xmin = 0;
            let mut main = xid.to_le_bytes().to_vec();
            main.extend([a, b, 0, XLH_DELETE_IS_SUPER]);
            self.write(
                RmgrId::HEAP,
                0x10,
                xid,
                &main,
                &[change(0, rel, blkno, &[], false)],
            );
        }
    }

    pub fn multi_insert(&mut self) {
        let (rel, session) = (self.any_rel(), self.any_session());
        let Some((blkno, init)) = self.roomy(rel) else {
            return;
        };
        let xid = self.xid(session);
        let frozen = self.random(3) == 0;
        let (mut offs, mut data) = (Vec::new(), Vec::new());
        while offs.len() < 5 && self.page(rel, blkno).has_room(MAX_LPS) {
            let mut tuple = fresh(xid);
            if frozen {
                tuple.infomask |= HEAP_XMIN_FROZEN;
            }
            let head = header(&tuple);
            if data.len() % 2 == 1 {
                data.push(0);
            }
            data.extend(1u16.to_le_bytes());
            data.extend(head);
            offs.push(self.page(rel, blkno).add(tuple));
        }
        let mut main = vec![0, 0];
        main.extend((offs.len() as u16).to_le_bytes());
        if !init {
            main.extend(offs.iter().flat_map(|o| o.to_le_bytes()));
        }
        let info = 0x50 | if init { 0x80 } else { 0 };
        self.write(
            RmgrId::HEAP2,
            info,
            xid,
            &main,
            &[change(0, rel, blkno, &data, init)],
        );
    }

    /// A tuple some session may change.
    fn target(&mut self, session: usize) -> Option<(RelFileLocator, u32, u16)> {
        let (rel, blkno) = self.any_block()?;
        let page = &self.rels[&rel][blkno as usize];
        let fit = page.tuples().filter(|(_, t)| self.may_change(session, t));
        let fit: Vec<u16> = fit.map(|(off, _)| off).collect();
        let at = self.random(fit.len() as u32) as usize;
        fit.get(at).map(|&off| (rel, blkno, off))
    }

    /// Mark a tuple as deleted or updated. Its new xmax.
    fn set_deleter(&mut self, session: usize, rel: RelFileLocator, blkno: u32, off: u16, xid: u32) {
        let tuple = self.page(rel, blkno).tuple(off).clone();
        let lockers = self.lockers(&tuple, session);
        let (xmax, bits) = if lockers.is_empty() {
            (xid, 0)
        } else {
            let members = lockers.into_iter().map(|x| (x, false)).chain([(xid, true)]);
            (self.new_multi(members.collect()), HEAP_XMAX_IS_MULTI)
        };
        let tuple = self.page(rel, blkno).tuple(off);
        tuple.xmax = xmax;
        tuple.infomask = tuple.infomask & (HEAP_XMIN_FROZEN | HEAP_UPDATED) | bits;
        tuple.next = None;
    }

    pub fn delete(&mut self) {
        let session = self.any_session();
        let Some((rel, blkno, off)) = self.target(session) else {
            return;
        };
        let xid = self.xid(session);
        self.set_deleter(session, rel, blkno, off, xid);
        let tuple = self.page(rel, blkno).tuple(off).clone();
        let mut main = tuple.xmax.to_le_bytes().to_vec();
        main.extend(off.to_le_bytes());
        main.extend([infobits(tuple.infomask), 0]);
        self.write(
            RmgrId::HEAP,
            0x10,
            xid,
            &main,
            &[change(0, rel, blkno, &[], false)],
        );
    }

    pub fn update(&mut self) {
        let session = self.any_session();
        let Some((rel, blkno, off)) = self.target(session) else {
            return;
        };
        let xid = self.xid(session);
        let hot = self.random(2) == 0 && self.page(rel, blkno).has_room(MAX_LPS);
        let (to, init) = match hot {
            true => (blkno, false),
            false => match self.roomy(rel) {
                Some(place) => place,
                None => return,
            },
        };
        self.set_deleter(session, rel, blkno, off, xid);
        let mut tuple = fresh(xid);
        tuple.infomask |= HEAP_UPDATED;
        tuple.heap_only = hot;
        let data = header(&tuple);
        let new_off = self.page(rel, to).add(tuple);
        let old = self.page(rel, blkno).tuple(off);
        if hot {
            old.next = Some(new_off);
        }
        let mut main = old.xmax.to_le_bytes().to_vec();
        main.extend(off.to_le_bytes());
        main.extend([infobits(old.infomask), 0]);
        main.extend(0u32.to_le_bytes());
        main.extend(new_off.to_le_bytes());
        let info = if hot { 0x40 } else { 0x20 } | if init { 0x80 } else { 0 };
        let mut blocks = vec![change(0, rel, to, &data, init)];
        if to != blkno {
            blocks.push(change(1, rel, blkno, &[], false));
        }
        let vm = [
            (2, rel, ForkNumber::VISIBILITYMAP, 0),
            (3, rel, ForkNumber::VISIBILITYMAP, 0),
        ];
        let vm = &vm[..self.random(3) as usize];
        self.write_with(RmgrId::HEAP, info, xid, &main, &blocks, vm);
    }

    pub fn lock(&mut self) {
        let session = self.any_session();
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let page = &self.rels[&rel][blkno as usize];
        // A key-share lock goes along with a running update of another.
        let fit = page.tuples().filter(|(_, t)| {
            self.may_change(session, t)
                || self.may_change(
                    session,
                    &Tuple {
                        infomask: t.infomask | HEAP_XMAX_INVALID,
                        ..(*t).clone()
                    },
                ) && self
                    .updater(t)
                    .is_some_and(|x| self.in_progress(x) && !self.is_own(session, x))
        });
        let fit: Vec<u16> = fit.map(|(off, _)| off).collect();
        let at = self.random(fit.len() as u32) as usize;
        let Some(&off) = fit.get(at) else { return };
        let xid = self.xid(session);
        let tuple = self.page(rel, blkno).tuple(off).clone();
        let updater = self
            .updater(&tuple)
            .filter(|&x| self.in_progress(x) || self.clog[&x] == Xact::Committed);
        let mut members: Vec<_> = self
            .lockers(&tuple, session)
            .into_iter()
            .map(|x| (x, false))
            .collect();
        members.extend(updater.map(|x| (x, true)));
        let (xmax, bits) = if members.is_empty() {
            (xid, HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_KEYSHR_LOCK)
        } else {
            members.push((xid, false));
            let lock_only = if updater.is_none() {
                HEAP_XMAX_LOCK_ONLY
            } else {
                0
            };
            (
                self.new_multi(members),
                HEAP_XMAX_IS_MULTI | HEAP_XMAX_KEYSHR_LOCK | lock_only,
            )
        };
        let tuple = self.page(rel, blkno).tuple(off);
        tuple.xmax = xmax;
        tuple.infomask = tuple.infomask & (HEAP_XMIN_FROZEN | HEAP_UPDATED) | bits;
        if updater.is_none() {
            tuple.next = None;
        }
        let bits = infobits(tuple.infomask);
        let mut main = xmax.to_le_bytes().to_vec();
        main.extend(off.to_le_bytes());
        main.extend([bits, 0]);
        let blocks = [change(0, rel, blkno, &[], false)];
        match self.random(2) {
            0 => self.write(RmgrId::HEAP, 0x60, xid, &main, &blocks),
            _ => self.write(RmgrId::HEAP2, 0x60, xid, &main, &blocks),
        }
    }
}
