//! Records as they stand against decoded ones.

use proptest::prelude::*;
use walker_wal::raw::{BlockSpec, Decoder, FlatRecord, ImageSpec, RecordBuilder, image_bytes};
use walker_wal::{ForkNumber, Lsn, Record, RmgrId};

const LSN: Lsn = Lsn(0x0100_0028);
const END: Lsn = Lsn(0x0100_2000);

/// What a record is made of.
#[derive(Clone, Debug)]
struct Parts {
    blocks: Vec<Part>,
    main: usize,
    origin: bool,
    toplevel: bool,
}

#[derive(Clone, Debug)]
struct Part {
    id: u8,
    rel: u32,
    fork: u8,
    data: usize,
    image: Option<u16>,
}

fn part() -> impl Strategy<Value = Part> {
    let image = prop::option::weighted(0.1, 1..8192u16);
    (0..4u8, 1..3u32, 0..4u8, 0..300usize, image).prop_map(|(id, rel, fork, data, image)| Part {
        id,
        rel,
        fork,
        data,
        image,
    })
}

fn parts() -> impl Strategy<Value = Parts> {
    let odd = || prop::bool::weighted(0.1);
    let main = prop_oneof![9 => 1..256usize, 1 => 256..70_000usize, 1 => Just(0)];
    (
        prop::collection::vec(part(), 0..4),
        main,
        odd(),
        odd(),
        odd(),
    )
        .prop_map(|(mut blocks, main, gaps, origin, toplevel)| {
            blocks.sort_by_key(|part| part.id);
            blocks.dedup_by_key(|part| part.id);
            if !gaps {
                // As nearly all records have them.
                let rel = blocks.first().map_or(1, |part| part.rel);
                for (id, part) in (0..).zip(&mut blocks) {
                    (part.id, part.rel) = (id, rel);
                }
            }
            Parts {
                blocks,
                main,
                origin,
                toplevel,
            }
        })
}

fn build(parts: &Parts) -> Vec<u8> {
    let mut record = RecordBuilder::new(RmgrId::HEAP2, 0x10)
        .xid(700)
        .prev(Lsn(8));
    for part in &parts.blocks {
        let mut block = BlockSpec::new(part.id, (1663, 5, part.rel), 7 + u32::from(part.id))
            .fork(ForkNumber(part.fork))
            .data(&vec![part.id; part.data]);
        if let Some(len) = part.image {
            block = block.image(ImageSpec::stored(
                &vec![9; len.into()],
                if len == 8192 { 0 } else { 24 },
                0,
                if len == 8192 { 0 } else { 1 },
            ));
        }
        record = record.block(block);
    }
    if parts.origin {
        record = record.origin(3);
    }
    if parts.toplevel {
        record = record.toplevel_xid(699);
    }
    record.main_data(&vec![5; parts.main]).build()
}

fn same(flat: &FlatRecord<'_>, whole: &impl Record) {
    let ends = |r: &dyn Record| (r.lsn(), r.end_lsn(), r.prev_lsn(), r.total_len());
    assert_eq!(ends(flat), ends(whole));
    let head = |r: &dyn Record| (r.xid(), r.rmid(), r.info(), r.origin());
    assert_eq!(head(flat), head(whole));
    assert_eq!(flat.max_block_id(), whole.max_block_id());
    assert_eq!(flat.main_data(), whole.main_data());
    for id in 0..=40 {
        let show = |r: &dyn Record| (format!("{:?}", r.block(id)), format!("{:?}", r.tag(id)));
        assert_eq!(show(flat), show(whole), "block {id}");
    }
}

proptest! {
    #[test]
    fn like_a_decoded_record(parts in parts()) {
        let bytes = build(&parts);
        let mut decoder = Decoder::new();
        let whole = decoder.decode(&bytes, LSN, END).unwrap();
        prop_assert_eq!(image_bytes(&bytes), u64::from(whole.fpi_len()));
        let flat = FlatRecord::new(&bytes, LSN, END);
        if let Some(flat) = &flat {
            same(flat, &whole);
        }
        let blocks = &parts.blocks;
        let frequent = blocks.len() <= 2
            && parts.main > 0
            && !parts.origin
            && !parts.toplevel
            && (0..).zip(blocks).all(|(id, part)| {
                part.id == id && part.image.is_none() && part.rel == blocks[0].rel
            });
        prop_assert_eq!(flat.is_some(), frequent);
    }

    /// What a decoder refuses is refused, and what it reads is read alike.
    #[test]
    fn changed_and_cut_records(parts in parts(), changes in prop::collection::vec((0..80usize, any::<u8>()), 0..4), cut in 0..200usize) {
        let mut bytes = build(&parts);
        for (at, to) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
        }
        if cut < bytes.len() && cut % 3 == 0 {
            bytes.truncate(bytes.len() - cut);
        }
        if cut % 2 == 0 && bytes.len() >= 4 {
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
        }
        let mut decoder = Decoder::new();
        let whole = decoder.decode(&bytes, LSN, END);
        match (FlatRecord::new(&bytes, LSN, END), &whole) {
            (Some(flat), Ok(whole)) => same(&flat, whole),
            (flat, _) => prop_assert!(flat.is_none(), "{:?}", whole),
        }
        let images = image_bytes(&bytes);
        if let Ok(whole) = &whole {
            prop_assert_eq!(images, u64::from(whole.fpi_len()));
        }
    }
}
