//! Heap pages, whole and through images with a hole.

mod common;

use common::*;
use proptest::prelude::*;
use walker_wal::heap::Infomask;
use walker_wal::raw::{BKPIMAGE_APPLY, BKPIMAGE_COMPRESS_LZ4, BKPIMAGE_HAS_HOLE};
use walker_wal::raw::{Decoder, ImageSpec, RecordBuilder};
use walker_wal::{BLCKSZ, HeapPage, LinePointer, Lsn, Record, RmgrId, WalError};

/// lp_off, lp_flags and lp_len as `ItemIdData` packs them.
fn line_pointer(off: u32, flags: u32, len: u32) -> [u8; 4] {
    (off | flags << 15 | len << 17).to_le_bytes()
}

fn tuple(xmin: u32, xmax: u32, infomask: u16) -> Vec<u8> {
    let head = Bytes::new().u32(xmin).u32(xmax).u32(0).u16s(&[1, 2, 3]);
    head.u16(2).u16(infomask).u8(24).pad(9).0
}

/// A page of two tuples of 32 bytes, a redirection, a dead and an unused line
/// pointer.
fn sample() -> Vec<u8> {
    let mut page = Bytes::new()
        .u32(1)
        .u32(0x0100_0028)
        .u16(0xC0C0)
        .u16(4)
        .u16(24 + 5 * 4)
        .u16(8192 - 64)
        .u16(8192)
        .u16(0x2004)
        .u32(690)
        .raw(&line_pointer(8192 - 32, 1, 32))
        .raw(&line_pointer(5, 2, 0))
        .raw(&line_pointer(0, 3, 0))
        .raw(&line_pointer(0, 0, 0))
        .raw(&line_pointer(8192 - 64, 1, 32))
        .0;
    page.resize(BLCKSZ - 64, 0);
    page.extend(tuple(702, 0, 0x0802));
    page.extend(tuple(701, 703, 0x0102));
    page
}

fn check(page: &HeapPage<'_>) {
    assert!(page.is_heap() && !page.is_new() && page.is_all_visible());
    assert_eq!(
        (page.lsn(), page.max_offset_number()),
        (Lsn(0x1_0100_0028), 5)
    );
    assert_eq!(usize::from(page.free_space()), BLCKSZ - 64 - 44);
    let items: Vec<_> = page.items().map(Result::unwrap).collect();
    let LinePointer::Normal(first) = items[0].1 else {
        panic!("{items:?}")
    };
    assert_eq!(
        (first.xmin, first.xmax, first.infomask),
        (701, 703, Infomask(0x0102))
    );
    assert_eq!(
        (first.ctid.blkno, first.ctid.offnum, first.hoff),
        (0x1_0002, 3, 24)
    );
    assert_eq!(items[1], (2, LinePointer::Redirect(5)));
    assert_eq!(items[2], (3, LinePointer::Dead));
    assert_eq!(items[3], (4, LinePointer::Unused));
    assert!(matches!(items[4], (5, LinePointer::Normal(t)) if t.xmin == 702));
    assert_eq!(items.len(), 5);
}

/// Reads a page by way of a record with its image.
fn with_image<T>(image: ImageSpec, read: impl FnOnce(Result<HeapPage<'_>, WalError>) -> T) -> T {
    let bytes = RecordBuilder::new(RmgrId::XLOG, 0xB0)
        .block(block(0, 7).image(image))
        .build();
    let mut decoder = Decoder::new();
    let record = decoder.decode(&bytes, Lsn(8), Lsn(16)).unwrap();
    read(HeapPage::from_image(
        &record.block(0).unwrap().image.unwrap(),
    ))
}

#[test]
fn whole_and_with_a_hole() {
    let page = sample();
    check(&HeapPage::from_bytes(&page).unwrap());
    with_image(ImageSpec::of_page(&page), |p| check(&p.unwrap()));
    let whole = ImageSpec::stored(&page, 0, 0, BKPIMAGE_APPLY);
    with_image(whole, |p| check(&p.unwrap()));
}

#[test]
fn new_page() {
    let zeroes = vec![0; BLCKSZ];
    with_image(ImageSpec::of_page(&zeroes), |p| {
        let page = p.unwrap();
        assert!(page.is_new() && !page.is_heap());
        assert_eq!((page.items().count(), page.max_offset_number()), (0, 0));
    });
    let mut dirty = zeroes;
    dirty[5000] = 1;
    assert!(HeapPage::from_bytes(&dirty).is_err());
}

#[test]
fn compressed_images_are_refused() {
    let info = BKPIMAGE_HAS_HOLE | BKPIMAGE_APPLY | BKPIMAGE_COMPRESS_LZ4;
    with_image(ImageSpec::stored(&[1; 100], 44, 8000, info), |p| {
        assert_eq!(p.map(drop).unwrap_err(), WalError::CompressedImage);
    });
}

#[test]
fn special_space_is_no_heap() {
    let mut page = sample();
    page[16..18].copy_from_slice(&(8192u16 - 16).to_le_bytes());
    page[14..16].copy_from_slice(&(8192u16 - 64).to_le_bytes());
    assert!(!HeapPage::from_bytes(&page).unwrap().is_heap());
}

#[test]
fn bad_headers() {
    for (at, value) in [
        (10, 0x0008u16), // an unknown flag
        (12, 23),        // pd_lower within the header
        (12, 8192),      // pd_lower above pd_upper
        (14, 8193),      // pd_upper above pd_special
        (16, 8200),      // pd_special above the page
        (16, 8190),      // pd_special not aligned
        (18, 0x2005),    // layout version
        (18, 0x1004),    // page size
    ] {
        let mut page = sample();
        page[at..at + 2].copy_from_slice(&value.to_le_bytes());
        let result = HeapPage::from_bytes(&page).map(drop);
        assert!(
            matches!(result, Err(WalError::Invalid { .. })),
            "{at}: {result:?}"
        );
    }
    assert!(HeapPage::from_bytes(&sample()[1..]).is_err());
}

#[test]
fn bad_line_pointers_are_errors_of_their_own() {
    for bad in [
        line_pointer(8192 - 32, 1, 40),  // behind the end
        line_pointer(8192 - 33, 1, 32),  // not aligned
        line_pointer(8192 - 32, 1, 22),  // shorter than its header
        line_pointer(8192 - 128, 1, 32), // in free space
        line_pointer(0, 1, 32),          // in the page header
        line_pointer(0x7FF8, 1, 0x7FFF), // far outside
    ] {
        let mut page = sample();
        page[24..28].copy_from_slice(&bad);
        for image in [
            ImageSpec::of_page(&page),
            ImageSpec::stored(&page, 0, 0, BKPIMAGE_APPLY),
        ] {
            with_image(image, |p| {
                let items: Vec<_> = p.unwrap().items().collect();
                assert!(items[0].is_err(), "{:?}", items[0]);
                assert_eq!(items.iter().filter(|i| i.is_ok()).count(), 4);
            });
        }
    }
    // t_hoff behind the tuple's end.
    let mut page = sample();
    page[8192 - 32 + 22] = 33;
    assert!(
        HeapPage::from_bytes(&page)
            .unwrap()
            .items()
            .next()
            .unwrap()
            .is_err()
    );
}

#[test]
fn a_hole_elsewhere_hides_what_is_in_it() {
    // The hole covers the line pointers: an error, not an empty page.
    let page = sample();
    let bytes = [&page[..30], &page[4030..]].concat();
    let image = ImageSpec::stored(&bytes, 30, 4000, BKPIMAGE_HAS_HOLE | BKPIMAGE_APPLY);
    with_image(image, |p| {
        let items: Vec<_> = p.unwrap().items().collect();
        assert!(items.len() == 1 && items[0].is_err());
    });
}

/// A page of tuples of 32 bytes with these bits in `t_infomask`.
fn page_of(infomasks: &[u16]) -> Vec<u8> {
    let n = infomasks.len();
    let mut page = sample();
    page[12..14].copy_from_slice(&(24 + 4 * n as u16).to_le_bytes());
    page[14..16].copy_from_slice(&((BLCKSZ - 32 * n) as u16).to_le_bytes());
    for (i, infomask) in infomasks.iter().enumerate() {
        let at = BLCKSZ - 32 * (i + 1);
        page[24 + 4 * i..][..4].copy_from_slice(&line_pointer(at as u32, 1, 32));
        page[at..at + 32].copy_from_slice(&tuple(700, 0, *infomask));
    }
    page
}

/// Whether it is a tuple that all see, if this transaction has committed.
fn is_live(item: &Result<(u16, LinePointer), WalError>, committed: u32) -> bool {
    let Ok((_, LinePointer::Normal(tuple))) = item else {
        return false;
    };
    let mask = tuple.infomask;
    let unsaid = !mask.xmin_committed() && !mask.xmin_invalid() && !mask.moved();
    let known = unsaid && committed != 0 && tuple.xmin == committed;
    mask.xmax_invalid() && (mask.xmin_committed() || known)
}

proptest! {
    /// What is passed over is what the iterator would have given, and nothing
    /// but tuples that all see; whatever the page is like.
    #[test]
    fn live_tuples_are_passed_over(
        infomasks in prop::collection::vec(
            prop_oneof![4 => Just(0x0902u16), 4 => Just(0x0802), 1 => any::<u16>()], 0..200,
        ),
        committed in prop_oneof![Just(0u32), Just(700), Just(701)],
        damage in prop::collection::vec((0usize..8192, any::<u8>()), 0..4),
        hole in any::<bool>(),
    ) {
        let mut page = page_of(&infomasks);
        for (at, byte) in damage {
            // Half of it where the line pointers are.
            let at = if byte % 2 == 0 { 24 + at % 800 } else { at };
            page[at] = byte;
        }
        let image = match hole {
            true => ImageSpec::of_page(&page),
            false => ImageSpec::stored(&page, 0, 0, BKPIMAGE_APPLY),
        };
        with_image(image, |p| {
            let Ok(p) = p else { return };
            let all: Vec<_> = p.items().collect();
            let (mut items, mut at) = (p.items(), 0);
            loop {
                let passed = usize::from(items.pass_live(committed));
                let live = |item| is_live(item, committed);
                assert!(all[at..at + passed].iter().all(live));
                at += passed;
                // All that come next, up to the last offset there can be.
                assert!(at >= 291 || !all.get(at).is_some_and(live));
                let Some(item) = items.next() else { break };
                assert_eq!(&item, &all[at]);
                at += 1;
            }
            assert_eq!(at, all.len());
        });
    }
}

#[test]
fn no_more_are_passed_over_than_a_page_can_have() {
    let mut page = page_of(&[0x0902]);
    let pointer: [u8; 4] = page[24..28].try_into().unwrap();
    page[12..14].copy_from_slice(&(24 + 4 * 300u16).to_le_bytes());
    page[24..24 + 4 * 300].copy_from_slice(&pointer.repeat(300));
    let page = HeapPage::from_bytes(&page).unwrap();
    let mut items = page.items();
    assert_eq!(items.pass_live(0), 291);
    let next = items.next();
    assert!(is_live(next.as_ref().unwrap(), 0) && matches!(next, Some(Ok((292, _)))));
    assert_eq!((items.pass_live(0), items.count()), (0, 8));
}
