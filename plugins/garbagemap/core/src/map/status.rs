//! The ledger's statistics, for `garbage_status`.

use super::layout::{STATUS_AT, STATUS_WORDS};
use super::writer::{begin, end};
use std::sync::atomic::{AtomicU64, Ordering::*, fence};
use walker_wal::Lsn;

macro_rules! status_words {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What the ledger says of itself. All of it is of one moment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct MapStatus {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl MapStatus {
            fn to_words(self) -> [u64; STATUS_WORDS] {
                let mut words = [0; STATUS_WORDS];
                for (to, from) in words.iter_mut().zip([$(self.$field),*]) {
                    *to = from;
                }
                words
            }

            fn from_words(words: [u64; STATUS_WORDS]) -> Self {
                let mut words = words.into_iter();
                MapStatus { $($field: words.next().unwrap_or(0),)* }
            }
        }

        const _: () = assert!([$(stringify!($field)),*].len() <= STATUS_WORDS);
    };
}

status_words! {
    /// Relations the ledger follows.
    relations,
    /// Blocks whose state it knows.
    known_blocks,
    /// Blocks that hold dead tuples or dead items.
    garbage_blocks,
    /// Dead tuples, in all databases.
    dead_tuples,
    /// Dead line pointers, in all databases.
    dead_items,
    /// Transactions that have written and not ended.
    pending_transactions,
    /// Private memory in use, in bytes.
    memory_used,
    /// The most it may use, in bytes.
    memory_limit,
    /// The position up to which WAL has been applied.
    applied_lsn,
    /// The position the state file stands for, 0 if there is none.
    state_lsn,
    /// When it was written, in microseconds since 2000-01-01, as timestamptz.
    state_saved_at,
    /// Times the state file was written since the worker started.
    state_writes,
    /// Size of its payload, in bytes.
    state_bytes,
    /// The longest write, in microseconds: the worker reads nothing meanwhile.
    state_write_longest,
    /// Page images compared with what the ledger knew of their block.
    images_checked,
    /// Those that differed, in what is dead or in how many tuples there are. Not 0
    /// is a fault.
    image_mismatches,
    /// Relations given up because the memory was not enough.
    degraded_relations,
    /// Records whose meaning is not known.
    unknown_records,
    /// Relations that the map had no room for, when that was last looked at.
    unpublished_relations,
}

impl MapStatus {
    /// The position up to which WAL has been applied, if there is one.
    pub fn applied(&self) -> Option<Lsn> {
        Some(Lsn(self.applied_lsn)).filter(|lsn| lsn.is_valid())
    }

    /// The position the state file stands for, if there is one.
    pub fn state(&self) -> Option<Lsn> {
        Some(Lsn(self.state_lsn)).filter(|lsn| lsn.is_valid())
    }
}

pub(super) fn store(area: &[AtomicU64], status: &MapStatus) {
    begin(&area[STATUS_AT]);
    for (i, word) in status.to_words().into_iter().enumerate() {
        area[STATUS_AT + 1 + i].store(word, Relaxed);
    }
    end(&area[STATUS_AT]);
}

/// `None` if the writer is at it, or died at it.
pub(super) fn load(area: &[AtomicU64]) -> Option<MapStatus> {
    let seq = area[STATUS_AT].load(Acquire);
    let mut words = [0; STATUS_WORDS];
    for (i, word) in words.iter_mut().enumerate() {
        *word = area[STATUS_AT + 1 + i].load(Relaxed);
    }
    fence(Acquire);
    (seq & 1 == 0 && area[STATUS_AT].load(Relaxed) == seq).then(|| MapStatus::from_words(words))
}
