//! What the address of a WAL byte says about pages and segments
//! (`access/xlog_internal.h`, `access/xlogdefs.h`).

use crate::Lsn;

/// Size of a WAL page (`XLOG_BLCKSZ`). What is built for a server with another
/// one does not compile (in `walker-plugin`, which has the server's header files).
pub const XLOG_BLCKSZ: usize = 8192;
/// `SizeOfXLogShortPHD`: header of a page.
pub const SIZE_OF_XLOG_SHORT_PHD: usize = 24;
/// `SizeOfXLogLongPHD`: header of the first page of a segment.
pub const SIZE_OF_XLOG_LONG_PHD: usize = 40;
/// `DEFAULT_XLOG_SEG_SIZE`.
pub const DEFAULT_SEGMENT_SIZE: u32 = 16 * 1024 * 1024;

const PAGE: u64 = XLOG_BLCKSZ as u64;

impl Lsn {
    /// The offset within the WAL page.
    pub fn page_offset(self) -> usize {
        (self.0 % PAGE) as usize
    }

    /// Where the WAL page begins.
    pub fn page_start(self) -> Lsn {
        Lsn(self.0 - self.0 % PAGE)
    }

    /// The offset within the segment. A segment size of 0 makes everything
    /// one segment.
    pub fn segment_offset(self, segment_size: u32) -> u64 {
        self.0.checked_rem(segment_size.into()).unwrap_or(self.0)
    }

    /// The number of the segment (`XLByteToSeg`).
    pub fn segment_number(self, segment_size: u32) -> u64 {
        self.0.checked_div(segment_size.into()).unwrap_or(0)
    }

    /// Length of the header of the page this position is on.
    pub fn page_header_size(self, segment_size: u32) -> usize {
        if self.page_start().segment_offset(segment_size) == 0 {
            SIZE_OF_XLOG_LONG_PHD
        } else {
            SIZE_OF_XLOG_SHORT_PHD
        }
    }

    /// `MAXALIGN`: where the next record can begin.
    pub fn align(self) -> Lsn {
        Lsn(self.0.saturating_add(7) & !7)
    }

    /// Whether WAL up to `self` includes everything up to `target`.
    ///
    /// One position has two names at a page boundary: the end of a record
    /// that fills its page is the boundary, but the insert position after it
    /// is behind the next page's header. Both count as the same.
    pub fn reaches(self, target: Lsn, segment_size: u32) -> bool {
        let plain = |lsn: Lsn| {
            if lsn.page_offset() <= lsn.page_header_size(segment_size) {
                lsn.page_start()
            } else {
                lsn
            }
        };
        plain(self) >= plain(target)
    }
}

/// The name of a WAL segment file (`XLogFileName`).
pub fn segment_file_name(tli: crate::TimeLineId, segno: u64, segment_size: u32) -> String {
    let per_id = (1u64 << 32)
        .checked_div(segment_size.into())
        .filter(|n| *n > 0)
        .unwrap_or(1);
    format!("{tli:08X}{:08X}{:08X}", segno / per_id, segno % per_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEG: u32 = DEFAULT_SEGMENT_SIZE;

    #[test]
    fn two_names_of_one_position() {
        let (boundary, behind) = (Lsn(0x1002000), Lsn(0x1002018));
        assert!(boundary.reaches(behind, SEG) && behind.reaches(boundary, SEG));
        assert!(!boundary.reaches(Lsn(0x1002020), SEG));
        assert!(!Lsn(0x1001FF8).reaches(boundary, SEG));
        let (segment, behind) = (Lsn(0x2000000), Lsn(0x2000028));
        assert!(segment.reaches(behind, SEG));
        assert!(!segment.reaches(Lsn(0x2000030), SEG));
        assert!(Lsn(0x1002048).reaches(Lsn(0x1002048), SEG));
    }

    #[test]
    fn pages_and_segments() {
        let lsn = Lsn(0x1_0300_2018);
        assert_eq!(lsn.page_offset(), 0x18);
        assert_eq!(lsn.page_start(), Lsn(0x1_0300_2000));
        assert_eq!(lsn.segment_number(SEG), 0x103);
        assert_eq!(lsn.segment_offset(SEG), 0x2018);
        assert_eq!(segment_file_name(1, 0x103, SEG), "000000010000000100000003");
        assert_eq!(lsn.page_header_size(SEG), 24);
        assert_eq!(Lsn(0x3000010).page_header_size(SEG), 40);
        assert_eq!(Lsn(9).align(), Lsn(16));
    }
}
