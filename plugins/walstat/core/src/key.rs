//! What WAL is counted by.

use walker_wal::{RelFileLocator, RmgrId};

/// Whose WAL it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// A relation, by its files. A rewrite (VACUUM FULL, TRUNCATE, ...) gives
    /// a relation new files, which begin at zero.
    Relation(RelFileLocator),
    /// Records without a block reference: commits, checkpoints, ...
    Nobody,
    /// All relations of this database whose files have been removed; 0 for
    /// shared relations and for relations of databases that were dropped.
    Dropped(u32),
    /// All relations for which there was no entry left.
    Other,
    /// What did not even find an entry by record type.
    Rest,
}

/// A record type: a resource manager and the bits of the info byte that are
/// its opcode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordType {
    /// The resource manager.
    pub rmid: RmgrId,
    /// The opcode, as `identify` takes it.
    pub op: u8,
}

/// Commit and abort records say with this bit of the info byte that they have
/// more to say (`XLOG_XACT_HAS_INFO`); it is not part of the type.
const XACT_OPMASK: u8 = 0x70;

impl RecordType {
    /// The type of a record with this info byte.
    #[inline]
    pub fn new(rmid: RmgrId, info: u8) -> RecordType {
        let mask = if rmid == RmgrId::XACT {
            XACT_OPMASK
        } else {
            0xF0
        };
        RecordType {
            rmid,
            op: info & mask,
        }
    }
}

/// An entry's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Whose WAL.
    pub owner: Owner,
    /// Of which type.
    pub record_type: RecordType,
}

const RELATION: u8 = 1;
const NOBODY: u8 = 2;
const DROPPED: u8 = 3;
const OTHER: u8 = 4;
const REST: u8 = 5;

/// The key of the entry that takes what finds no place.
pub(crate) const REST_KEY: Key = Key {
    owner: Owner::Rest,
    record_type: RecordType {
        rmid: RmgrId(u8::MAX),
        op: 0,
    },
};

impl Key {
    /// As two words; the second is never 0. From the highest bits down: the
    /// tablespace and the database; the relfilenode, the kind of owner, the
    /// resource manager and the opcode.
    pub fn to_words(self) -> [u64; 2] {
        let (kind, locator) = match self.owner {
            Owner::Relation(locator) => (RELATION, locator),
            Owner::Nobody => (NOBODY, RelFileLocator::default()),
            Owner::Dropped(db_oid) => (
                DROPPED,
                RelFileLocator {
                    db_oid,
                    ..RelFileLocator::default()
                },
            ),
            Owner::Other => (OTHER, RelFileLocator::default()),
            Owner::Rest => (REST, RelFileLocator::default()),
        };
        let RecordType { rmid, op } = self.record_type;
        [
            u64::from(locator.spc_oid) << 32 | u64::from(locator.db_oid),
            u64::from(locator.rel_number) << 32
                | u64::from(kind) << 16
                | u64::from(rmid.0) << 8
                | u64::from(op),
        ]
    }

    /// From what [`Key::to_words`] made; `None` for anything else.
    pub fn from_words(words: [u64; 2]) -> Option<Key> {
        let [place, rest] = words;
        let locator = RelFileLocator {
            spc_oid: (place >> 32) as u32,
            db_oid: place as u32,
            rel_number: (rest >> 32) as u32,
        };
        let owner = match (rest >> 16) as u8 {
            RELATION => Owner::Relation(locator),
            NOBODY => Owner::Nobody,
            DROPPED => Owner::Dropped(locator.db_oid),
            OTHER => Owner::Other,
            REST => Owner::Rest,
            _ => return None,
        };
        let key = Key {
            owner,
            record_type: RecordType::new(RmgrId((rest >> 8) as u8), rest as u8),
        };
        (key.to_words() == words).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_and_back(words: [u64; 2]) {
            // Whatever is a key is the same one again.
            if let Some(key) = Key::from_words(words) {
                prop_assert_eq!(key.to_words(), words);
            }
        }

        #[test]
        fn keys_and_back(spc: u32, db: u32, rel: u32, kind in 0..5, rmid: u8, info: u8) {
            let locator = RelFileLocator { spc_oid: spc, db_oid: db, rel_number: rel };
            let owner = match kind {
                0 => Owner::Relation(locator),
                1 => Owner::Nobody,
                2 => Owner::Dropped(db),
                3 => Owner::Other,
                _ => Owner::Rest,
            };
            let key = Key { owner, record_type: RecordType::new(RmgrId(rmid), info) };
            prop_assert_eq!(Key::from_words(key.to_words()), Some(key));
            prop_assert!(key.to_words()[1] != 0);
        }
    }

    #[test]
    fn the_type_of_a_commit_has_no_flag() {
        let plain = RecordType::new(RmgrId::XACT, 0x00);
        assert_eq!(RecordType::new(RmgrId::XACT, 0x80), plain);
        let init = RecordType::new(RmgrId::HEAP, 0x80);
        assert_ne!(init, RecordType::new(RmgrId::HEAP, 0x00));
        assert_eq!(RecordType::new(RmgrId::HEAP, 0x8F), init);
    }
}
