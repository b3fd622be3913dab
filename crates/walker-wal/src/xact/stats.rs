//! Statistics dropped with the end of a transaction.

use crate::bytes::{Fixed, List, Reader};
use crate::{Major, WalError};
use serde::Serialize;

/// One entry of dropped statistics: `xl_xact_stats_item`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct DroppedStat {
    /// `PgStat_Kind`
    pub kind: i32,
    /// The database.
    pub db_oid: u32,
    /// The object: an OID up to 17.
    pub objid: u64,
}

#[derive(Clone, Copy)]
struct StatsItemV15(DroppedStat);
#[derive(Clone, Copy)]
struct StatsItemV18(DroppedStat);

impl Fixed for StatsItemV15 {
    const SIZE: usize = 12;
    fn read(b: &[u8]) -> Option<Self> {
        let (kind, db_oid, objid) = (
            u32::read(b)?,
            u32::read(b.get(4..)?)?,
            u32::read(b.get(8..)?)?,
        );
        Some(StatsItemV15(DroppedStat {
            kind: kind.cast_signed(),
            db_oid,
            objid: objid.into(),
        }))
    }
}

impl Fixed for StatsItemV18 {
    const SIZE: usize = 16;
    fn read(b: &[u8]) -> Option<Self> {
        let StatsItemV15(stat) = StatsItemV15::read(b)?;
        let hi = u64::from(u32::read(b.get(12..)?)?);
        Some(StatsItemV18(DroppedStat {
            objid: hi << 32 | stat.objid,
            ..stat
        }))
    }
}

/// Dropped statistics, whose items grew in 18.
#[derive(Clone, Copy)]
pub struct DroppedStats<'a>(StatsLayout<'a>);

#[derive(Clone, Copy)]
enum StatsLayout<'a> {
    V15(List<'a, StatsItemV15>),
    V18(List<'a, StatsItemV18>),
}

impl<'a> DroppedStats<'a> {
    pub(super) const EMPTY: DroppedStats<'static> = DroppedStats(StatsLayout::V15(List::EMPTY));

    pub(super) fn read(
        major: Major,
        r: &mut Reader<'a>,
        n: usize,
    ) -> Result<DroppedStats<'a>, WalError> {
        Ok(DroppedStats(if major >= Major::V18 {
            StatsLayout::V18(r.list(n)?)
        } else {
            StatsLayout::V15(r.list(n)?)
        }))
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        match self.0 {
            StatsLayout::V15(l) => l.len(),
            StatsLayout::V18(l) => l.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = DroppedStat> + 'a {
        let (v15, v18) = match self.0 {
            StatsLayout::V15(l) => (l, List::EMPTY),
            StatsLayout::V18(l) => (List::EMPTY, l),
        };
        v15.iter().map(|i| i.0).chain(v18.iter().map(|i| i.0))
    }
}

impl std::fmt::Debug for DroppedStats<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for DroppedStats<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}
