//! Every damage a file can take is noticed before its payload is believed.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use walker_state::{HEADER_LEN, Header, Identity, RecordId, StateError, check, write};

const HERE: Identity = Identity {
    major: 17,
    blcksz: 8192,
    system_identifier: 7_412_345_678_901_234_567,
};
const LAST: RecordId = RecordId {
    lsn: 0x1_2345_6780,
    end_lsn: 0x1_2345_67f8,
    crc: 0xdead_beef,
    tli: 3,
};

fn file(payload: &[u8]) -> Vec<u8> {
    let mut to = Cursor::new(Vec::new());
    write(&mut to, HERE, LAST, |to| to.write_all(payload)).expect("a file in memory");
    to.into_inner()
}

fn payload(len: usize) -> Vec<u8> {
    let mut random = Random(len as u64);
    (0..len).map(|_| random.next() as u8).collect()
}

fn load(bytes: &[u8]) -> Result<(Header, Vec<u8>), StateError> {
    let mut from = Cursor::new(bytes);
    let header = check(&mut from, bytes.len() as u64, HERE)?;
    let mut payload = Vec::new();
    from.read_to_end(&mut payload)?;
    Ok((header, payload))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn sealed(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_sound_file_is_read() {
    for len in [0, 1, 95, 96, 97, 8192, 600_000] {
        let payload = payload(len);
        let (header, read) = load(&file(&payload)).expect("a sound file");
        assert_eq!((header.last, read), (LAST, payload));
        assert_eq!(header.identity, HERE);
    }
}

#[test]
fn every_truncation_is_noticed() {
    let whole = file(&payload(4000));
    for len in 0..whole.len() {
        let result = load(&whole[..len]);
        assert!(
            matches!(result, Err(StateError::Damaged(_))),
            "{len}: {result:?}"
        );
    }
    for more in 1..100 {
        let mut longer = whole.clone();
        longer.resize(whole.len() + more, 0);
        assert!(load(&longer).is_err(), "{more} bytes more");
    }
}

#[test]
fn every_bit_of_the_header_counts() {
    let whole = file(&payload(1000));
    for bit in 0..HEADER_LEN * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(load(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn random_flips_are_noticed() {
    let whole = file(&payload(64 * 1024));
    let mut random = Random(5);
    for n in 0..10_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.next() % 8 {
            let bit = random.next() as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(bytes == whole || load(&bytes).is_err(), "flips {n}");
    }
}

#[test]
fn blocks_that_are_lost_or_swapped_are_noticed() {
    let whole = file(&payload(64 * 1024));
    for at in (0..whole.len() - 4096).step_by(512) {
        let mut zeroed = whole.clone();
        zeroed[at..at + 512].fill(0);
        assert!(load(&zeroed).is_err(), "a hole at {at}");
        let mut swapped = whole.clone();
        let (a, b) = swapped.split_at_mut(at + 2048);
        a[at..at + 512].swap_with_slice(&mut b[..512]);
        assert!(load(&swapped).is_err(), "swapped at {at}");
    }
}

#[test]
fn a_file_of_another_server_is_foreign() {
    let payload = payload(100);
    let header = load(&file(&payload)).expect("a file").0;
    let others = [
        Identity { major: 18, ..HERE },
        Identity { major: 0, ..HERE },
        Identity {
            blcksz: 4096,
            ..HERE
        },
        Identity {
            system_identifier: 0,
            ..HERE
        },
        Identity {
            system_identifier: HERE.system_identifier + 1,
            ..HERE
        },
    ];
    for identity in others {
        let result = load(&sealed(Header { identity, ..header }, &payload));
        assert!(
            matches!(result, Err(StateError::Foreign(_))),
            "{identity:?}: {result:?}"
        );
    }
}

/// Lengths that would overflow or exhaust memory, with checksums that are right.
#[test]
fn hostile_lengths_are_refused() {
    let payload = payload(100);
    let header = load(&file(&payload)).expect("a file").0;
    for payload_len in [0, 99, 101, u64::MAX, u64::MAX - 95, u64::MAX - 96, 1 << 40] {
        let result = load(&sealed(
            Header {
                payload_len,
                ..header
            },
            &payload,
        ));
        assert!(
            matches!(result, Err(StateError::Damaged(_))),
            "{payload_len}: {result:?}"
        );
    }
}

#[test]
fn what_is_no_state_file_is_refused() {
    for bytes in [
        &b""[..],
        &[0; 96],
        &[0; 10_000],
        &[0xff; 200],
        b"WALKSTAT",
        b"PK\x03\x04",
    ] {
        assert!(matches!(load(bytes), Err(StateError::Damaged(_))));
    }
}

/// Fails after so many bytes, as a full disk does.
struct Full(Cursor<Vec<u8>>, usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = self.1.saturating_sub(self.0.position() as usize);
        match bytes.len().min(room) {
            0 if !bytes.is_empty() => Err(std::io::ErrorKind::StorageFull.into()),
            n => self.0.write(&bytes[..n]),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_valid_file() {
    let payload = payload(2000);
    let size = file(&payload).len();
    for room in 0..size {
        let mut to = Full(Cursor::new(Vec::new()), room);
        let result = write(&mut to, HERE, LAST, |to| to.write_all(&payload));
        assert!(matches!(result, Err(StateError::Io(_))), "room for {room}");
        assert!(load(to.0.get_ref()).is_err());
    }
    let mut to = Full(Cursor::new(Vec::new()), size);
    write(&mut to, HERE, LAST, |to| to.write_all(&payload)).expect("room enough");
    assert!(load(to.0.get_ref()).is_ok());
}
