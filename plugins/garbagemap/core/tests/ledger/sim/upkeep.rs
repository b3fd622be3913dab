//! What pruning, vacuum, freezing and hint bits do, and files that come and go.

use walker_wal::heap::*;
use walker_wal::{ForkNumber, Major, RelFileLocator, RmgrId};

use super::ops::change;
use super::page::{Lp, Tuple};
use super::server::{Change, Frame, Server, Xact, locator_bytes};

impl Server {
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
        self.drop_and_create(rel);
    }

    fn drop_and_create(&mut self, rel: RelFileLocator) {
        let frame = Frame {
            xid: self.new_xid(),
            children: Vec::new(),
        };
        let commit = self.random(2) == 0;
        self.finish(&frame, commit, false, &[rel]);
        self.create(rel);
    }

    /// SET TABLESPACE: all pages of a relation are logged as another's.
    pub fn copy_pages(&mut self, from: RelFileLocator, to: RelFileLocator) {
        let session = self.any_session();
        let xid = self.xid(session);
        self.drop_and_create(to);
        let pages = self.rels[&from].clone();
        let n = pages.len() as u32;
        self.rels.insert(to, pages);
        for blkno in 0..n {
            let page = change(0, to, blkno, &[], false);
            self.write(RmgrId::XLOG, 0xB0, xid, &[], &[page]);
        }
    }

    /// CREATE DATABASE with STRATEGY file_copy: the database of the one is a copy
    /// of that of the other.
    pub fn clone_database(&mut self, from: RelFileLocator, to: RelFileLocator) {
        let pages = self.rels[&from].clone();
        self.rels.insert(to, pages);
        let oids = [to.db_oid, to.spc_oid, from.db_oid, from.spc_oid];
        let main: Vec<u8> = oids.into_iter().flat_map(u32::to_le_bytes).collect();
        self.write(RmgrId::DBASE, 0x00, 0, &main, &[]);
    }
}
