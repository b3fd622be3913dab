//! Heap pages as a naive server has them, and what is dead on them.

use garbagemap_core::BaseItem;
use walker_wal::heap::*;

/// A tuple's header.
#[derive(Clone, Debug)]
pub struct Tuple {
    pub xmin: u32,
    pub xmax: u32,
    pub infomask: u16,
    pub heap_only: bool,
    /// The next version, if it is on the same page and heap-only.
    pub next: Option<u16>,
}

#[derive(Clone, Debug)]
pub enum Lp {
    Unused,
    Redirect(u16),
    Dead,
    Normal(Tuple),
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub lsn: u64,
    pub lps: Vec<Lp>,
}

impl Page {
    pub fn tuple(&mut self, off: u16) -> &mut Tuple {
        match &mut self.lps[off as usize - 1] {
            Lp::Normal(tuple) => tuple,
            other => panic!("no tuple at {off}: {other:?}"),
        }
    }

    pub fn tuples(&self) -> impl Iterator<Item = (u16, &Tuple)> {
        (1..).zip(&self.lps).filter_map(|(off, lp)| match lp {
            Lp::Normal(tuple) => Some((off, tuple)),
            _ => None,
        })
    }

    pub fn offsets(&self, which: impl Fn(&Lp) -> bool) -> Vec<u16> {
        let all = (1..).zip(&self.lps);
        all.filter(|(_, lp)| which(lp))
            .map(|(off, _)| off)
            .collect()
    }

    /// `PageAddItem`.
    pub fn add(&mut self, tuple: Tuple) -> u16 {
        let free = self.lps.iter().position(|lp| matches!(lp, Lp::Unused));
        let at = free.unwrap_or(self.lps.len());
        if at == self.lps.len() {
            self.lps.push(Lp::Unused);
        }
        self.lps[at] = Lp::Normal(tuple);
        at as u16 + 1
    }

    /// Room for the rest of the test's short pages.
    pub fn has_room(&self, max: usize) -> bool {
        self.lps.len() < max || self.lps.iter().any(|lp| matches!(lp, Lp::Unused))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut page = vec![0; 8192];
        let mut upper = 8192;
        for (i, lp) in self.lps.iter().enumerate() {
            let word = match lp {
                Lp::Unused => 0,
                Lp::Redirect(to) => u32::from(*to) | 2 << 15,
                Lp::Dead => 3 << 15,
                Lp::Normal(tuple) => {
                    upper -= 24;
                    let t = &mut page[upper..upper + 24];
                    t[0..4].copy_from_slice(&tuple.xmin.to_le_bytes());
                    t[4..8].copy_from_slice(&tuple.xmax.to_le_bytes());
                    t[20..22].copy_from_slice(&tuple.infomask.to_le_bytes());
                    t[22] = 24;
                    upper as u32 | 1 << 15 | 24 << 17
                }
            };
            page[24 + 4 * i..28 + 4 * i].copy_from_slice(&word.to_le_bytes());
        }
        let lower = (24 + 4 * self.lps.len()) as u16;
        page[0..4].copy_from_slice(&((self.lsn >> 32) as u32).to_le_bytes());
        page[4..8].copy_from_slice(&(self.lsn as u32).to_le_bytes());
        page[12..14].copy_from_slice(&lower.to_le_bytes());
        page[14..16].copy_from_slice(&(upper as u16).to_le_bytes());
        page[16..18].copy_from_slice(&8192u16.to_le_bytes());
        page[18..20].copy_from_slice(&(8192u16 | 4).to_le_bytes());
        page
    }

    /// What a backend copies in a base scan.
    pub fn items(&self) -> Vec<BaseItem> {
        let item = |offnum, lp_flags| BaseItem {
            offnum,
            lp_flags,
            xmin: 0,
            xmax: 0,
            infomask: 0,
        };
        let items = (1..).zip(&self.lps).map(|(off, lp)| match lp {
            Lp::Unused => item(off, 0),
            Lp::Redirect(_) => item(off, 2),
            Lp::Dead => item(off, 3),
            Lp::Normal(tuple) => BaseItem {
                xmin: tuple.xmin,
                xmax: tuple.xmax,
                infomask: tuple.infomask,
                ..item(off, 1)
            },
        });
        items.collect()
    }
}

pub fn locked_only(infomask: u16) -> bool {
    infomask & HEAP_XMAX_LOCK_ONLY != 0
        || infomask & (HEAP_XMAX_IS_MULTI | HEAP_LOCK_MASK) == HEAP_XMAX_EXCL_LOCK
}

/// `compute_infobits`.
pub fn infobits(infomask: u16) -> u8 {
    let bit = |mask: u16, bit: u8| if infomask & mask != 0 { bit } else { 0 };
    bit(HEAP_XMAX_IS_MULTI, XLHL_XMAX_IS_MULTI)
        | bit(HEAP_XMAX_LOCK_ONLY, XLHL_XMAX_LOCK_ONLY)
        | bit(HEAP_XMAX_EXCL_LOCK, XLHL_XMAX_EXCL_LOCK)
        | bit(HEAP_XMAX_KEYSHR_LOCK, XLHL_XMAX_KEYSHR_LOCK)
}
