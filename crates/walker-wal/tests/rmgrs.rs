//! Records of the other resource managers, made by hand from their headers.

mod common;

use common::*;
use walker_wal::misc::generic_regions;
use walker_wal::multixact::MultixactRecord;
use walker_wal::raw::{Decoder, RecordBuilder};
use walker_wal::standby::StandbyRecord;
use walker_wal::xact::{DroppedStat, XactRecord};
use walker_wal::xlog::{WalLevel, XlogRecord};
use walker_wal::{Described, Lsn, Major, Payload, Record, RmgrId, describe};

/// A commit with every chunk there is.
fn commit(major: Major, xinfo: u32) -> Vec<u8> {
    let b = Bytes::new().u64(1_000_000).u32(xinfo);
    let b = b.u32s(&[5, 1663]); // dbinfo
    let b = b.u32(2).u32s(&[701, 702]); // subxacts
    let b = b.u32(1).u32s(&[1663, 5, 16384]); // relfilelocators
    let b = b.u32(1).u32s(&[2, 5, 16384]); // dropped stats
    let b = if major >= Major::V18 { b.u32(1) } else { b };
    let b = b.u32(1).u8(55).pad(3).u32s(&[5, 0xABC]).pad(4); // invals
    let b = b.u32(690).raw(b"gid\0"); // twophase
    b.u64(0x1234).u64(99).0 // origin
}

#[test]
fn commit_with_everything() {
    for major in MAJORS {
        let main = commit(major, 0x1BF);
        for op in [0x80, 0xB0] {
            exact_main_data(major, RmgrId::XACT, op, &[], &main);
        }
        with_payload(
            major,
            &RecordBuilder::new(RmgrId::XACT, 0xB0).main_data(&main),
            |p| {
                let Ok(Payload::Xact(XactRecord::CommitPrepared(end))) = p else {
                    panic!("{p:?}")
                };
                assert_eq!((end.xid, end.db_oid, end.ts_oid), (690, 5, 1663));
                assert_eq!(end.xids().collect::<Vec<_>>(), [690, 701, 702]);
                assert_eq!(end.rels.get(0).unwrap().rel_number, 16384);
                let objid = if major >= Major::V18 {
                    1 << 32 | 16384
                } else {
                    16384
                };
                let stat = DroppedStat {
                    kind: 2,
                    db_oid: 5,
                    objid,
                };
                assert_eq!(end.stats.iter().collect::<Vec<_>>(), [stat]);
                assert_eq!((end.msgs.len(), end.gid.unwrap().0), (1, b"gid".as_slice()));
                assert_eq!(end.origin, Some((Lsn(0x1234), 99)));
            },
        );
    }
}

#[test]
fn plain_commit_and_abort() {
    for major in MAJORS {
        for (op, rec_xid) in [(0x00, 700), (0x20, 700)] {
            let main = Bytes::new().u64(1).0;
            exact_main_data(major, RmgrId::XACT, op, &[], &main);
            let builder = RecordBuilder::new(RmgrId::XACT, op)
                .xid(rec_xid)
                .main_data(&main);
            with_payload(major, &builder, |p| match p.unwrap() {
                Payload::Xact(XactRecord::Commit(end) | XactRecord::Abort(end)) => {
                    assert_eq!((end.xid, end.subxacts.len(), end.rels.len()), (700, 0, 0));
                }
                other => panic!("{other:?}"),
            });
        }
        // Counts that a C int cannot have.
        let negative = Bytes::new().u64(1).u32(2).u32(u32::MAX).0;
        let builder = RecordBuilder::new(RmgrId::XACT, 0x80).main_data(&negative);
        with_payload(major, &builder, |p| assert!(p.is_err()));
    }
}

#[test]
fn prepare() {
    for major in MAJORS {
        let b = Bytes::new()
            .u32s(&[0x57F9_4534, 0, 690, 5])
            .u64(1_000_000)
            .u32(10);
        let b = b
            .u32s(&[1, 1, 0, 1, 0, 1])
            .u8(1)
            .pad(1)
            .u16(4)
            .u64(0)
            .u64(0);
        let b = b.raw(b"gid\0").pad(4); // gid
        let b = b.u32(691).pad(4); // subxacts
        let b = b.u32s(&[1663, 5, 16384]).pad(4); // rels
        let b = b.u32s(&[2, 5, 16384]); // stats
        let b = if major >= Major::V18 {
            b.u32(0)
        } else {
            b.pad(4)
        };
        let b = b.u8(55).pad(3).u32s(&[5, 0xABC]).pad(4); // invals
        let main = b.pad(40).0; // records of other modules
        let builder = RecordBuilder::new(RmgrId::XACT, 0x10).main_data(&main);
        with_payload(major, &builder, |p| {
            let Ok(Payload::Xact(XactRecord::Prepare(p))) = p else {
                panic!("{p:?}")
            };
            assert_eq!(
                (p.xid, p.db_oid, p.gid.0, p.initfileinval),
                (690, 5, b"gid".as_slice(), true)
            );
            assert!(p.subxacts == [691][..]);
            assert_eq!(
                (p.commit_rels.len(), p.abort_rels.len(), p.msgs.len()),
                (1, 0, 1)
            );
            assert_eq!(p.commit_stats.iter().next().unwrap().objid, 16384);
        });
        for cut in 0..main.len() - 40 {
            let builder = RecordBuilder::new(RmgrId::XACT, 0x10).main_data(&main[..cut]);
            with_payload(major, &builder, |p| assert!(p.is_err(), "{cut}"));
        }
    }
}

#[test]
fn checkpoint() {
    for major in MAJORS {
        let b = Bytes::new()
            .u64(0x0100_0028)
            .u32s(&[2, 1])
            .u8(1)
            .pad(3)
            .u32(2);
        let b = b
            .u64(3 << 32 | 700)
            .u32s(&[24576, 1, 0, 716, 5, 1, 4])
            .pad(4);
        let main = b.u64(1_700_000_000).u32s(&[710, 699, 698]).pad(4).0;
        for op in [0x00, 0x10] {
            exact_main_data(major, RmgrId::XLOG, op, &[], &main);
        }
        with_payload(
            major,
            &RecordBuilder::new(RmgrId::XLOG, 0x10).main_data(&main),
            |p| {
                let Ok(Payload::Xlog(XlogRecord::CheckpointOnline(c))) = p else {
                    panic!("{p:?}")
                };
                assert_eq!((c.redo, c.this_tli, c.prev_tli), (Lsn(0x0100_0028), 2, 1));
                assert_eq!((c.next_xid, c.oldest_active_xid), (3 << 32 | 700, 698));
                assert_eq!(
                    (c.oldest_xid, c.oldest_xid_db, c.time),
                    (716, 5, 1_700_000_000)
                );
                let level = (major >= Major::V17).then_some(WalLevel::LOGICAL);
                assert_eq!((c.wal_level, c.full_page_writes), (level, true));
            },
        );
    }
}

#[test]
fn exact_layouts() {
    let b = Bytes::new;
    for major in MAJORS {
        let from_17 = major >= Major::V17;
        let page = if from_17 { b().u64(9) } else { b().u32(9) };
        let catcache = b().u8(55).pad(3).u32s(&[5, 0xABC]).pad(4).0;
        let end_of_recovery = b().u64(1).u32s(&[2, 1]);
        let end_of_recovery = if from_17 {
            end_of_recovery.u32(1).pad(4)
        } else {
            end_of_recovery
        };
        let cases = [
            (RmgrId::XLOG, 0x30, b().u32(24576)),
            (RmgrId::XLOG, 0x50, b().u64(0x0100_0028)),
            (
                RmgrId::XLOG,
                0x60,
                b().u32s(&[100, 8, 10, 0, 64, 1]).u8(0).u8(1).pad(2),
            ),
            (RmgrId::XLOG, 0x70, b().u64(1).raw(b"point\0").pad(58)),
            (RmgrId::XLOG, 0x80, b().u8(1)),
            (RmgrId::XLOG, 0x90, end_of_recovery),
            (RmgrId::XLOG, 0xD0, b().u64(0x0100_0028).u64(1)),
            (RmgrId::XACT, 0x50, b().u32(700).u32(1).u32(701)),
            (RmgrId::XACT, 0x60, b().u32(1).raw(&catcache)),
            (RmgrId::SMGR, 0x11, b().u32s(&[1663, 5, 16384, 3])),
            (RmgrId::SMGR, 0x21, b().u32s(&[10, 1663, 5, 16384, 7])),
            (RmgrId::CLOG, 0x00, page.clone()),
            (RmgrId::CLOG, 0x10, page.clone().u32s(&[700, 5])),
            (RmgrId::DBASE, 0x00, b().u32s(&[5, 1663, 1, 1663])),
            (RmgrId::DBASE, 0x10, b().u32s(&[5, 1663])),
            (RmgrId::DBASE, 0x20, b().u32s(&[5, 2, 1663, 16390])),
            (RmgrId::TBLSPC, 0x00, b().u32(16390).raw(b"/srv/ts\0")),
            (RmgrId::TBLSPC, 0x10, b().u32(16390)),
            (RmgrId::MULTIXACT, 0x00, page.clone()),
            (RmgrId::MULTIXACT, 0x10, page.clone()),
            (
                RmgrId::MULTIXACT,
                0x20,
                b().u32s(&[7, 1, 2, 700, 0, 701, 5]),
            ),
            (RmgrId::MULTIXACT, 0x30, b().u32s(&[5, 1, 2, 3, 4])),
            (RmgrId::RELMAP, 0x00, b().u32s(&[5, 1663, 4]).raw(b"map!")),
            (RmgrId::STANDBY, 0x00, b().u32(1).u32s(&[700, 5, 16384])),
            (
                RmgrId::STANDBY,
                0x10,
                b().u32s(&[1, 1])
                    .u8(1)
                    .pad(3)
                    .u32s(&[703, 700, 702, 700, 701]),
            ),
            (
                RmgrId::STANDBY,
                0x20,
                b().u32s(&[5, 1663]).u8(1).pad(3).u32(1).raw(&catcache),
            ),
            (RmgrId::COMMIT_TS, 0x00, page.clone()),
            (RmgrId::COMMIT_TS, 0x10, page.clone().u32(700)),
            (
                RmgrId::REPLORIGIN,
                0x00,
                b().u64(0x1234).u16(3).u8(1).pad(5),
            ),
            (RmgrId::REPLORIGIN, 0x10, b().u16(3)),
            (
                RmgrId::LOGICALMSG,
                0x00,
                b().u32(5).u8(1).pad(3).u64(4).u64(2).raw(b"pre\0hi"),
            ),
        ];
        for (rmid, info, main) in cases {
            exact_main_data(major, rmid, info, &[], &main.0);
            let bytes = RecordBuilder::new(rmid, info).main_data(&main.0).build();
            let mut decoder = Decoder::new();
            let record = decoder.decode(&bytes, Lsn(0x28), Lsn(0x80)).unwrap();
            assert!(!describe(major, &record).unwrap().to_string().is_empty());
            let json = serde_json::to_value(Described(major, &record)).unwrap();
            assert!(
                json["payload"].is_object() && json["lsn"] == "0/28",
                "{json}"
            );
        }
        if from_17 {
            exact_main_data(major, RmgrId::XLOG, 0xE0, &[], &[1, 0, 0, 0]);
        }
    }
}

#[test]
fn meanings() {
    let main = Bytes::new().u32s(&[7, 1, 2, 700, 0, 701, 5]).0;
    let builder = RecordBuilder::new(RmgrId::MULTIXACT, 0x20).main_data(&main);
    with_payload(Major::V15, &builder, |p| {
        let Ok(Payload::Multixact(MultixactRecord::CreateId(c))) = p else {
            panic!("{p:?}")
        };
        assert_eq!((c.mid, c.updater()), (7, Some(701)));
    });
    let main = Bytes::new()
        .u32s(&[2, 1])
        .u8(0)
        .pad(3)
        .u32s(&[703, 700, 702, 700, 702, 701])
        .0;
    let builder = RecordBuilder::new(RmgrId::STANDBY, 0x10).main_data(&main);
    with_payload(Major::V16, &builder, |p| {
        let Ok(Payload::Standby(StandbyRecord::RunningXacts(r))) = p else {
            panic!("{p:?}")
        };
        assert!(r.xids == [700, 702][..] && r.subxids == [701][..]);
        assert_eq!((r.next_xid, r.oldest_running_xid), (703, 700));
    });
}

#[test]
fn unknown_opcodes_are_values() {
    for (rmid, info) in [
        (RmgrId::XLOG, 0xC0),
        (RmgrId::XLOG, 0xF0),
        (RmgrId::XACT, 0x70),
        (RmgrId::SMGR, 0x00),
        (RmgrId::DBASE, 0x30),
        (RmgrId::STANDBY, 0x30),
        (RmgrId::MULTIXACT, 0x40),
    ] {
        with_payload(
            Major::V18,
            &RecordBuilder::new(rmid, info).main_data(b"?"),
            |p| {
                assert!(format!("{:?}", p.unwrap()).contains("Other"));
            },
        );
    }
    for rmid in [RmgrId::BTREE, RmgrId(22), RmgrId(128), RmgrId(255)] {
        with_payload(
            Major::V18,
            &RecordBuilder::new(rmid, 0).main_data(b"?"),
            |p| {
                assert!(matches!(p, Ok(Payload::Opaque(b"?"))));
            },
        );
    }
    // 0xE0 is the redo record from 17 on only.
    let redo = RecordBuilder::new(RmgrId::XLOG, 0xE0).main_data(&[1, 0, 0, 0]);
    with_payload(Major::V16, &redo, |p| {
        assert!(matches!(
            p,
            Ok(Payload::Xlog(XlogRecord::Other { op: 0xE0 }))
        ));
    });
}

#[test]
fn generic_delta() {
    let delta = Bytes::new()
        .u16(24)
        .u16(2)
        .raw(b"ab")
        .u16(8190)
        .u16(2)
        .raw(b"yz")
        .0;
    let regions = |delta: &[u8]| {
        let bytes = RecordBuilder::new(RmgrId::GENERIC, 0)
            .block(block(0, 7).data(delta))
            .build();
        let mut decoder = Decoder::new();
        let record = decoder.decode(&bytes, Lsn(8), Lsn(16)).unwrap();
        let found: Vec<_> = generic_regions(&record.block(0).unwrap())
            .map(|r| r.map(|r| (r.offset, r.bytes.to_vec())))
            .collect();
        found
    };
    assert_eq!(
        regions(&delta),
        [Ok((24, b"ab".to_vec())), Ok((8190, b"yz".to_vec()))]
    );
    for cut in (1..delta.len()).filter(|cut| *cut != 6) {
        assert!(regions(&delta[..cut]).last().unwrap().is_err());
        let builder = RecordBuilder::new(RmgrId::GENERIC, 0).block(block(0, 7).data(&delta[..cut]));
        with_payload(Major::V17, &builder, |p| assert!(p.is_err()));
    }
    let outside = Bytes::new().u16(8191).u16(2).raw(b"ab").0;
    assert!(regions(&outside)[0].is_err());
}
