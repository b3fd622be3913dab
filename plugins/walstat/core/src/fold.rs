//! Relations that are gone: their entries are added to one entry per database
//! and record type, so that the sums stay and the table does not fill up.

use crate::key::{Key, Owner};
use crate::ledger::Ledger;
use walker_wal::RelFileLocator;

impl Ledger<'_> {
    /// The files of these relations have been removed.
    pub(crate) fn drop_relations(&mut self, locators: impl Iterator<Item = RelFileLocator>) {
        self.table.begin_change();
        for locator in locators {
            self.fold(Owner::Relation(locator), Owner::Dropped(locator.db_oid));
        }
        self.table.end_change();
    }

    /// A directory of a database has been removed: with the database, or
    /// because it moved to another tablespace.
    pub(crate) fn drop_database(&mut self, db_oid: u32, ts_oids: impl Iterator<Item = u32>) {
        let gone: Vec<u32> = ts_oids.collect();
        let of = |owner: &Owner| match owner {
            Owner::Relation(l) if l.db_oid == db_oid => Some(*l),
            _ => None,
        };
        let owners = self
            .owners
            .keys()
            .filter(|o| of(o).is_some_and(|locator| gone.contains(&locator.spc_oid)));
        let owners: Vec<Owner> = owners.copied().collect();
        self.table.begin_change();
        for owner in owners {
            self.fold(owner, Owner::Dropped(0));
        }
        if db_oid != 0 && !self.owners.keys().any(|o| of(o).is_some()) {
            self.fold(Owner::Dropped(db_oid), Owner::Dropped(0));
        }
        self.table.end_change();
    }

    fn fold(&mut self, from: Owner, to: Owner) {
        let Some(entries) = self.owners.remove(&from) else {
            return;
        };
        for (record_type, index) in entries {
            let counters = self.table.counters(index);
            self.release(index);
            let owner = to;
            let target = self.entry(Key { owner, record_type });
            self.table.add(target, counters);
        }
    }
}
