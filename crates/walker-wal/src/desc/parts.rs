//! Pieces that several descriptions are made of.

use crate::xact::TimestampTz;
use crate::{ForkNumber, Major, RelFileLocator};
use std::fmt::{self, Display, Formatter};

/// Items with a separator between them.
pub(super) fn separated<T>(
    f: &mut Formatter<'_>,
    separator: &str,
    items: impl Iterator<Item = T>,
    mut item: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, it) in items.enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item(f, it)?;
    }
    Ok(())
}

/// `timestamptz_to_str` in time zone UTC.
pub(super) struct Timestamp(pub TimestampTz);

impl Display for Timestamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        // Years are counted from March, so that the leap day is the last one.
        let from_march_0 = days + 730_425;
        let era = from_march_0.div_euclid(146_097);
        let day_of_era = from_march_0.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let seconds = micros / 1_000_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06} UTC",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            micros % 1_000_000
        )
    }
}

/// `relpathperm`.
pub(super) struct RelPath(pub Major, pub RelFileLocator, pub ForkNumber);

impl Display for RelPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let RelPath(major, locator, fork) = self;
        let RelFileLocator {
            spc_oid,
            db_oid,
            rel_number,
        } = locator;
        match spc_oid {
            1664 => write!(f, "global/{rel_number}")?,
            1663 => write!(f, "base/{db_oid}/{rel_number}")?,
            _ => {
                // TABLESPACE_VERSION_DIRECTORY
                let version = match major {
                    Major::V15 => "PG_15_202209061",
                    Major::V16 => "PG_16_202307071",
                    Major::V17 => "PG_17_202406281",
                    Major::V18 => "PG_18_202506291",
                };
                write!(f, "pg_tblspc/{spc_oid}/{version}/{db_oid}/{rel_number}")?;
            }
        }
        match *fork {
            ForkNumber::MAIN => Ok(()),
            ForkNumber::FSM => f.write_str("_fsm"),
            ForkNumber::VISIBILITYMAP => f.write_str("_vm"),
            ForkNumber::INIT => f.write_str("_init"),
            ForkNumber(other) => write!(f, "_{other}"),
        }
    }
}

pub(super) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
