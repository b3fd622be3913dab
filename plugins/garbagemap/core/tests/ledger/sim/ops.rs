//! What happens on the naive server, one step at a time.

use walker_wal::heap::*;
use walker_wal::{ForkNumber, Major, RelFileLocator, RmgrId};

use super::page::{Lp, Page, Tuple, infobits};
use super::server::{Change, Frame, Server, Xact, locator_bytes};

/// Pages are kept short, so that line pointers are used again soon.
const MAX_LPS: usize = 9;
const MAX_BLOCKS: usize = 7;

fn change(id: u8, rel: RelFileLocator, blkno: u32, data: &[u8], init: bool) -> Change<'_> {
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
    fn any_rel(&mut self) -> RelFileLocator {
        let n = self.random(self.rels.len() as u32);
        *self.rels.keys().nth(n as usize).unwrap()
    }

    fn any_block(&mut self) -> Option<(RelFileLocator, u32)> {
        let rel = self.any_rel();
        let n = self.rels[&rel].len() as u32;
        (n > 0).then(|| (rel, self.random(n)))
    }

    fn any_session(&mut self) -> usize {
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

    /// The server may prune what is dead and no longer running.
    fn prunable(&self, tuple: &Tuple) -> bool {
        self.is_dead(tuple)
            && !self.in_progress(tuple.xmin)
            && self.updater(tuple).is_none_or(|x| !self.in_progress(x))
    }

    pub fn prune(&mut self) {
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let to_unused = self.major >= Major::V17 && self.random(3) == 0;
        let page = self.rels[&rel][blkno as usize].clone();
        let dead = |off: u16| match &page.lps[off as usize - 1] {
            Lp::Normal(t) => self.prunable(t),
            _ => false,
        };
        let (mut redirected, mut nowdead, mut nowunused) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = vec![false; page.lps.len() + 1];
        for root in 1..=page.lps.len() as u16 {
            let mut chain = Vec::new();
            let mut next = match &page.lps[root as usize - 1] {
                Lp::Normal(t) if !t.heap_only => Some(root),
                Lp::Redirect(to) => Some(*to),
                _ => continue,
            };
            while let Some(off) = next {
                let Lp::Normal(tuple) = &page.lps[off as usize - 1] else {
                    break;
                };
                chain.push(off);
                next = tuple.next.filter(|_| {
                    self.updater(tuple)
                        .is_some_and(|x| self.clog[&x] != Xact::Aborted)
                });
            }
            chain.iter().for_each(|&off| seen[off as usize] = true);
            let ndead = chain.iter().take_while(|&&off| dead(off)).count();
            if ndead == 0 {
                continue;
            }
            let gone = chain[..ndead].iter().filter(|&&off| off != root);
            nowunused.extend(gone);
            match chain.get(ndead) {
                Some(&to) => redirected.push((root, to)),
                None if to_unused => nowunused.push(root),
                None => nowdead.push(root),
            }
        }
        for (off, tuple) in page.tuples() {
            if tuple.heap_only && !seen[off as usize] && dead(off) {
                nowunused.push(off);
            }
        }
        if redirected.is_empty() && nowdead.is_empty() && nowunused.is_empty() {
            return;
        }
        self.write_prune(rel, blkno, 0x10, &redirected, &nowdead, &nowunused);
    }

    fn write_prune(
        &mut self,
        rel: RelFileLocator,
        blkno: u32,
        op: u8,
        redirected: &[(u16, u16)],
        nowdead: &[u16],
        nowunused: &[u16],
    ) {
        let page = self.page(rel, blkno);
        for &(from, to) in redirected {
            page.lps[from as usize - 1] = Lp::Redirect(to);
        }
        nowdead
            .iter()
            .for_each(|&off| page.lps[off as usize - 1] = Lp::Dead);
        nowunused
            .iter()
            .for_each(|&off| page.lps[off as usize - 1] = Lp::Unused);
        let pairs = redirected.iter().flat_map(|&(from, to)| [from, to]);
        let count = |n: usize| n as u16;
        let (main, data): (Vec<u8>, Vec<u16>) = if self.major < Major::V17 {
            let mut main = 0u32.to_le_bytes().to_vec();
            main.extend(count(redirected.len()).to_le_bytes());
            main.extend(count(nowdead.len()).to_le_bytes());
            if self.major == Major::V16 {
                main.push(0);
            }
            (
                main,
                pairs
                    .chain(nowdead.iter().chain(nowunused).copied())
                    .collect(),
            )
        } else {
            let (mut flags, mut data) = (0x08 | 0x04, Vec::new());
            if !redirected.is_empty() {
                flags |= 0x20;
                data.push(count(redirected.len()));
                data.extend(pairs);
            }
            for (list, flag) in [(nowdead, 0x40), (nowunused, 0x80)] {
                if !list.is_empty() {
                    flags |= flag;
                    data.push(count(list.len()));
                    data.extend(list);
                }
            }
            let mut main = vec![0, flags];
            main.extend(700u32.to_le_bytes());
            (main, data)
        };
        let data: Vec<u8> = data.into_iter().flat_map(u16::to_le_bytes).collect();
        self.write(
            RmgrId::HEAP2,
            op,
            0,
            &main,
            &[change(0, rel, blkno, &data, false)],
        );
    }

    /// A vacuum's second pass.
    pub fn vacuum(&mut self) {
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let items = self.page(rel, blkno).offsets(|lp| matches!(lp, Lp::Dead));
        if items.is_empty() {
            return;
        }
        if self.major >= Major::V17 {
            return self.write_prune(rel, blkno, 0x30, &[], &[], &items);
        }
        for &off in &items {
            self.page(rel, blkno).lps[off as usize - 1] = Lp::Unused;
        }
        let data: Vec<u8> = items.iter().flat_map(|o| o.to_le_bytes()).collect();
        let main = (items.len() as u16).to_le_bytes();
        self.write(
            RmgrId::HEAP2,
            0x20,
            0,
            &main,
            &[change(0, rel, blkno, &data, false)],
        );
    }

    /// Freeze what is committed and no longer running.
    pub fn freeze(&mut self) {
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let page = &self.rels[&rel][blkno as usize];
        let old = page.tuples().filter(|(_, t)| {
            !self.is_dead(t) && !self.in_progress(t.xmin) && t.infomask & HEAP_XMIN_FROZEN == 0
        });
        let Some((off, tuple)) = old.map(|(off, t)| (off, t.clone())).next() else {
            return;
        };
        self.page(rel, blkno).tuple(off).infomask |= HEAP_XMIN_FROZEN;
        let infomask = tuple.infomask | HEAP_XMIN_FROZEN;
        let (mut main, mut data) = (Vec::new(), Vec::new());
        if self.major < Major::V17 {
            main.extend(700u32.to_le_bytes());
            main.extend(1u16.to_le_bytes());
        } else {
            main.extend([0, 0x08 | 0x10]);
            main.extend(700u32.to_le_bytes());
            data.extend([1, 0, 0, 0]);
        }
        data.extend(tuple.xmax.to_le_bytes());
        if self.major == Major::V15 {
            data.extend(off.to_le_bytes());
        }
        data.extend(1u16.to_le_bytes());
        data.extend(infomask.to_le_bytes());
        data.extend([0, 0]);
        if self.major > Major::V15 {
            data.extend(1u16.to_le_bytes());
            data.extend(off.to_le_bytes());
        }
        if self.major == Major::V16 {
            main.push(0);
        }
        let op = if self.major < Major::V17 { 0x30 } else { 0x20 };
        self.write(
            RmgrId::HEAP2,
            op,
            0,
            &main,
            &[change(0, rel, blkno, &data, false)],
        );
    }

    /// Mark a page all-visible, if it is.
    pub fn visible(&mut self) {
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let page = &self.rels[&rel][blkno as usize];
        let clean = page.lps.iter().all(|lp| match lp {
            Lp::Dead => false,
            Lp::Normal(t) => {
                !self.is_dead(t)
                    && (t.infomask & HEAP_XMIN_FROZEN != 0 || !self.in_progress(t.xmin))
                    && self
                        .updater(t)
                        .is_none_or(|x| !self.in_progress(x) && self.clog[&x] == Xact::Aborted)
            }
            _ => true,
        });
        if !clean {
            return;
        }
        let mut main = 0u32.to_le_bytes().to_vec();
        main.push(1);
        let heap = Change {
            keeps_lsn: true,
            ..change(1, rel, blkno, &[], false)
        };
        let share = std::mem::take(&mut self.image_share);
        let vm = [(0, rel, ForkNumber::VISIBILITYMAP, 0)];
        self.write_with(RmgrId::HEAP2, 0x40, 0, &main, &[heap], &vm);
        self.image_share = share;
    }

    /// Set hint bits, and log the page at times.
    pub fn hint(&mut self) {
        let Some((rel, blkno)) = self.any_block() else {
            return;
        };
        let page = self.rels[&rel][blkno as usize].clone();
        for (off, tuple) in page.tuples() {
            let mut bits = 0;
            if tuple.infomask & HEAP_XMIN_FROZEN == 0 && !self.in_progress(tuple.xmin) {
                bits |= match self.clog.get(&tuple.xmin) {
                    Some(Xact::Committed) => HEAP_XMIN_COMMITTED,
                    _ => HEAP_XMIN_INVALID,
                };
            }
            let min_done = (tuple.infomask | bits) & HEAP_XMIN_COMMITTED != 0;
            if let Some(x) = self.updater(tuple)
                && min_done
                && !self.in_progress(x)
                && tuple.infomask & HEAP_XMAX_IS_MULTI == 0
            {
                bits |= match self.clog[&x] {
                    Xact::Committed => HEAP_XMAX_COMMITTED,
                    _ => HEAP_XMAX_INVALID,
                };
            }
            if self.random(2) == 0 {
                self.page(rel, blkno).tuple(off).infomask |= bits;
            }
        }
        if self.random(2) == 0 {
            self.write(
                RmgrId::XLOG,
                0xA0,
                0,
                &[],
                &[change(0, rel, blkno, &[], false)],
            );
        }
    }

    pub fn log_pages(&mut self) {
        let rel = self.any_rel();
        let n = self.rels[&rel].len().min(3) as u32;
        let blocks: Vec<_> = (0..n)
            .map(|b| change(b as u8, rel, b, &[], false))
            .collect();
        if n > 0 {
            self.write(RmgrId::XLOG, 0xB0, 0, &[], &blocks);
        }
    }

    pub fn savepoint(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() < 4 {
            self.xid(session);
            let frame = Frame {
                xid: self.new_xid(),
                children: Vec::new(),
            };
            self.sessions[session].push(frame);
        }
    }

    fn release(&mut self, session: usize) {
        if let Some(frame) = self.sessions[session].pop() {
            let parent = self.sessions[session].last_mut().unwrap();
            parent.children.push(frame.xid);
            parent.children.extend(frame.children);
        }
    }

    pub fn release_savepoint(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() > 1 {
            self.release(session);
        }
    }

    pub fn rollback_to(&mut self) {
        let session = self.any_session();
        if self.sessions[session].len() > 1 {
            let frame = self.sessions[session].pop().unwrap();
            self.finish(&frame, false, false, &[]);
        }
    }

    pub fn end(&mut self, session: usize, commit: bool) {
        while commit && self.sessions[session].len() > 1 {
            self.release(session);
        }
        while let Some(frame) = self.sessions[session].pop() {
            self.finish(&frame, commit, false, &[]);
            // A commit that waits for a standby.
            if self.random(3) == 0 {
                self.lingering
                    .extend(frame.children.iter().chain([&frame.xid]));
            }
        }
    }

    pub fn end_any(&mut self, commit: bool) {
        let session = self.any_session();
        self.end(session, commit);
    }

    pub fn prepare(&mut self) {
        let session = self.any_session();
        while self.sessions[session].len() > 1 {
            self.release(session);
        }
        self.prepared.extend(self.sessions[session].pop());
    }

    pub fn end_prepared(&mut self) {
        if !self.prepared.is_empty() {
            let n = self.random(self.prepared.len() as u32);
            let frame = self.prepared.swap_remove(n as usize);
            let commit = self.random(2) == 0;
            self.finish(&frame, commit, true, &[]);
        }
    }

    /// Waiting transactions leave the list of running ones.
    pub fn stop_lingering(&mut self) {
        self.lingering.clear();
    }

    pub fn crash(&mut self) {
        let prepared = self
            .prepared
            .iter()
            .flat_map(|f| f.children.iter().chain([&f.xid]));
        let prepared: Vec<u32> = prepared.copied().collect();
        for (xid, status) in &mut self.clog {
            if *status == Xact::Running && !prepared.contains(xid) {
                *status = Xact::Aborted;
            }
        }
        self.lingering.clear();
        self.sessions.iter_mut().for_each(Vec::clear);
        let new = self.major >= Major::V17;
        if self.random(2) == 0 {
            let mut checkpoint = vec![0; 88];
            checkpoint[20] = u8::from(new);
            self.write(RmgrId::XLOG, 0x00, 0, &checkpoint, &[]);
        } else {
            let mut end = vec![0; if new { 24 } else { 16 }];
            if new {
                end[16] = 1;
            }
            self.write(RmgrId::XLOG, 0x90, 0, &end, &[]);
        }
    }

    pub fn running_xacts(&mut self) {
        let oldest = self.oldest_running();
        let mut main = vec![0; 12];
        for xid in [self.next_xid, oldest, self.next_xid.wrapping_sub(1)] {
            main.extend(xid.to_le_bytes());
        }
        self.write(RmgrId::STANDBY, 0x10, 0, &main, &[]);
    }

    /// A vacuum gives empty pages at the end back.
    pub fn truncate(&mut self) {
        let rel = self.any_rel();
        let pages = self.rels.get_mut(&rel).unwrap();
        let before = pages.len();
        while pages
            .last()
            .is_some_and(|p| p.lps.iter().all(|lp| matches!(lp, Lp::Unused)))
        {
            pages.pop();
        }
        let blocks = pages.len() as u32;
        if blocks < before as u32 {
            let mut main = blocks.to_le_bytes().to_vec();
            main.extend(locator_bytes(rel));
            main.extend(7u32.to_le_bytes());
            self.write(RmgrId::SMGR, 0x20, 0, &main, &[]);
        }
    }

    pub fn create(&mut self, rel: RelFileLocator) {
        self.rels.insert(rel, Vec::new());
        let mut main = locator_bytes(rel);
        main.extend(0u32.to_le_bytes());
        self.write(RmgrId::SMGR, 0x10, 0, &main, &[]);
    }

    /// Drop a relation; its number is used again.
    pub fn recreate(&mut self) {
        let rel = self.any_rel();
        let frame = Frame {
            xid: self.new_xid(),
            children: Vec::new(),
        };
        let commit = self.random(2) == 0;
        self.finish(&frame, commit, false, &[rel]);
        self.create(rel);
    }
}
