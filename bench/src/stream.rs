//! WAL made by hand: records as the server would write them, with fixed
//! contents, so that a count of instructions is the same on every run.

use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RawRecord, RecordBuilder};
use walker_wal::{BLCKSZ, Lsn, Major, RmgrId};

/// The version whose records are made.
pub const MAJOR: Major = Major::V17;
const DATABASE: (u32, u32) = (1663, 5);
/// `XLHP_HAS_NOW_UNUSED_ITEMS`, of access/heapam_xlog.h
pub const UNUSED: u8 = 1 << 7;
/// `XLHP_HAS_DEAD_ITEMS`
pub const DEAD_ITEMS: u8 = 1 << 6;
/// Rows of a page that were there from the beginning.
pub const ROWS: u16 = 60;

/// Records one after the other, without the pages around them.
pub struct Stream {
    /// Whose records they are.
    pub major: Major,
    bytes: Vec<u8>,
    records: Vec<Place>,
}

/// A record's place in a stream.
struct Place {
    at: usize,
    len: usize,
    lsn: Lsn,
    end_lsn: Lsn,
}

impl Default for Stream {
    fn default() -> Self {
        Self::of(MAJOR)
    }
}

/// A record of a stream.
pub struct Record<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it begins,
    pub lsn: Lsn,
    /// and where the next one does.
    pub end_lsn: Lsn,
}

impl Stream {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// An empty one.
    pub fn of(major: Major) -> Self {
        Self {
            major,
            bytes: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Adds a record as it stands in WAL.
    pub fn add(&mut self, record: &[u8], lsn: Lsn, end_lsn: Lsn) {
        self.records.push(Place {
            at: self.bytes.len(),
            len: record.len(),
            lsn,
            end_lsn,
        });
        self.bytes.extend(record);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    fn push(&mut self, record: &RecordBuilder) {
        let record = record.build();
        // Positions need only ascend.
        let lsn = |at: usize| Lsn(0x100_0000 + at as u64);
        let at = self.bytes.len();
        let end = at + record.len();
        self.add(&record, lsn(at), lsn(end.next_multiple_of(8)));
    }

    /// The records as they stand in WAL.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|place| Record {
            bytes: &self.bytes[place.at..place.at + place.len],
            lsn: place.lsn,
            end_lsn: place.end_lsn,
        })
    }

    /// Shows every record, decoded, to `see`.
    pub fn each(&self, mut see: impl FnMut(&RawRecord<'_>)) {
        let mut decoder = Decoder::new();
        for record in self.iter() {
            let record = decoder
                .decode(record.bytes, record.lsn, record.end_lsn)
                .expect("our own record");
            see(&record);
        }
    }

    fn record(&mut self, rmid: RmgrId, info: u8, xid: u32, block: Option<BlockSpec>, main: &[u8]) {
        let mut record = RecordBuilder::new(rmid, info).xid(xid).main_data(main);
        if let Some(block) = block {
            record = record.block(block);
        }
        self.push(&record);
    }

    /// Tables of so many pages of so many rows, all filled by transaction 900.
    pub fn filled(rels: std::ops::Range<u32>, blocks: u32, rows: u16) -> Self {
        let mut stream = Self::default();
        for rel in rels {
            stream.create(rel);
            for blkno in 0..blocks {
                (1..=rows).for_each(|off| stream.insert(900, rel, blkno, off));
            }
        }
        stream.commit(900, &[]);
        stream
    }

    /// `XLOG_SMGR_CREATE`: from here on all blocks of the relation are known.
    pub fn create(&mut self, rel: u32) {
        let main = [DATABASE.0, DATABASE.1, rel, 0].map(u32::to_le_bytes);
        self.record(RmgrId::SMGR, 0x10, 0, None, &main.concat());
    }

    /// `XLOG_HEAP_INSERT`, on a new page for the first line pointer.
    pub fn insert(&mut self, xid: u32, rel: u32, blkno: u32, off: u16) {
        let [low, high] = off.to_le_bytes();
        let info = if off == 1 { 0x80 } else { 0 };
        let mut block = block(rel, blkno).data(&[1, 0, 0, 8, 24, 1]);
        if off == 1 {
            block = block.will_init();
        }
        self.record(RmgrId::HEAP, info, xid, Some(block), &[low, high, 0]);
    }

    /// `XLOG_HEAP_DELETE`
    pub fn delete(&mut self, xid: u32, rel: u32, blkno: u32, off: u16) {
        let mut main = xid.to_le_bytes().to_vec();
        main.extend(off.to_le_bytes());
        main.extend([0, 0]);
        self.record(RmgrId::HEAP, 0x10, xid, Some(block(rel, blkno)), &main);
    }

    /// `XLOG_HEAP_HOT_UPDATE`
    pub fn update(&mut self, xid: u32, rel: u32, blkno: u32, (old, new): (u16, u16)) {
        let mut main = xid.to_le_bytes().to_vec();
        main.extend(old.to_le_bytes());
        main.extend([0, 0, 0, 0, 0, 0]);
        main.extend(new.to_le_bytes());
        let block = block(rel, blkno).data(&[1, 0, 0, 8, 24, 1, 2, 3]);
        self.record(RmgrId::HEAP, 0x40, xid, Some(block), &main);
    }

    /// `XLOG_HEAP2_PRUNE_ON_ACCESS` that makes line pointers [`UNUSED`] or [`DEAD_ITEMS`].
    pub fn prune(&mut self, rel: u32, blkno: u32, what: u8, items: &[u16]) {
        let data = [items.len() as u16];
        let data = data.iter().chain(items).flat_map(|n| n.to_le_bytes());
        let block = block(rel, blkno).data(&data.collect::<Vec<_>>());
        self.record(RmgrId::HEAP2, 0x10, 0, Some(block), &[0, what]);
    }

    /// `XLOG_XACT_COMMIT`, with subtransactions.
    pub fn commit(&mut self, xid: u32, subxacts: &[u32]) {
        let mut main = vec![0; 8];
        if !subxacts.is_empty() {
            // XACT_XINFO_HAS_SUBXACTS
            main.extend(2u32.to_le_bytes());
            main.extend((subxacts.len() as u32).to_le_bytes());
            main.extend(subxacts.iter().flat_map(|xid| xid.to_le_bytes()));
        }
        let info = if subxacts.is_empty() { 0 } else { 0x80 };
        self.record(RmgrId::XACT, info, xid, None, &main);
    }

    /// `XLOG_FPI_FOR_HINT` of a page of `rows` live rows.
    pub fn image(&mut self, rel: u32, blkno: u32, rows: u16) {
        let block = block(rel, blkno).image(ImageSpec::of_page(&page(blkno, rows)));
        self.record(RmgrId::XLOG, 0xA0, 0, Some(block), &[]);
    }
}

fn block(rel: u32, blkno: u32) -> BlockSpec {
    BlockSpec::new(0, (DATABASE.0, DATABASE.1, rel), blkno)
}

/// A heap page of rows of 100 bytes that an old transaction inserted.
fn page(blkno: u32, rows: u16) -> Vec<u8> {
    const TUPLE: usize = 104;
    let mut page = vec![0u8; BLCKSZ];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let lower = 24 + 4 * rows;
    let upper = BLCKSZ - TUPLE * usize::from(rows);
    put(12, &lower.to_le_bytes());
    put(14, &(upper as u16).to_le_bytes());
    put(16, &(BLCKSZ as u16).to_le_bytes());
    // The page size, and version 4 of the layout.
    put(18, &(BLCKSZ as u16 | 4).to_le_bytes());
    for row in 0..usize::from(rows) {
        let at = BLCKSZ - TUPLE * (row + 1);
        // LP_NORMAL
        let item = at as u32 | 1 << 15 | 100 << 17;
        put(24 + 4 * row, &item.to_le_bytes());
        put(at, &700u32.to_le_bytes());
        put(at + 12, &((blkno >> 16) as u16).to_le_bytes());
        put(at + 14, &(blkno as u16).to_le_bytes());
        put(at + 16, &(row as u16 + 1).to_le_bytes());
        put(at + 18, &[3, 0]);
        // HEAP_XMIN_COMMITTED, HEAP_XMAX_INVALID
        put(at + 20, &0x0900u16.to_le_bytes());
        put(at + 22, &[24]);
    }
    page
}

/// Numbers that look random and are the same every time.
pub struct Numbers(u64);

impl Numbers {
    /// From the beginning.
    pub fn new() -> Self {
        Self(1)
    }

    /// The next number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::new()
    }
}
