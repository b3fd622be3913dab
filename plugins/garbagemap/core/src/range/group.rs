//! What a running transaction did in a range, if that is much.

use walker_wal::TransactionId;

use super::change::Change;
use crate::mem::{Mem, NoMemory};
use crate::sets::{Sets, Which};

/// In a group's sets.
pub(crate) const DELETED: Which = Which::One;
pub(crate) const INSERTED: Which = Which::Other;

/// What a running transaction did in a range.
pub(crate) struct Group {
    pub xid: TransactionId,
    /// What it [`DELETED`] and [`INSERTED`].
    pub sets: Sets,
    /// How many of the deletions were updates, about: what is taken out of the
    /// sets does not tell.
    pub updated: u16,
}

impl Group {
    pub(crate) fn new(xid: TransactionId) -> Self {
        Group {
            xid,
            sets: Sets::default(),
            updated: 0,
        }
    }

    pub(super) fn add(&mut self, change: Change, mem: &mut Mem) -> Result<(), NoMemory> {
        if let Some(pos) = change.inserted() {
            self.sets.insert(INSERTED, pos, mem)?;
        }
        if let Some(pos) = change.deleted() {
            self.sets.insert(DELETED, pos, mem)?;
        }
        self.updated = self.updated.saturating_add(change.updated.into());
        Ok(())
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = u16> {
        self.sets.iter(DELETED).chain(self.sets.iter(INSERTED))
    }

    /// What it has, one by one.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        let (inserted, deleted) = (self.sets.iter(INSERTED), self.sets.iter(DELETED));
        Change::each(self.xid, inserted, deleted, self.updated)
    }
}
