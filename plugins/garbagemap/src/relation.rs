//! From a regclass to the relation, with and without a lock.

use crate::compat;
use crate::error::Error;
use core::ffi::CStr;
use pgrx::pg_sys;
use walker_wal::RelFileLocator;

/// What the catalog says of a table, read without locking it.
#[derive(Debug)]
pub struct Table {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub locator: RelFileLocator,
    /// Of all databases.
    pub shared: bool,
    persistence: u8,
}

impl Table {
    /// Look a table up. Not a lock is taken on it, so this never queues behind
    /// a VACUUM FULL; nor does anything else in a transaction tell the session's
    /// caches of one.
    pub fn look_up(oid: pg_sys::Oid) -> Result<Table, Error> {
        // SAFETY: AcceptInvalidationMessages (utils/cache/inval.c) is called within a
        // transaction, with no entry of a cache at hand: as by whoever takes a lock.
        // SearchSysCache1 returns a tuple of pg_class, or NULL; what
        // is needed of it is copied before ReleaseSysCache. GETSTRUCT of such
        // a tuple is a Form_pg_class.
        let (form, name) = unsafe {
            pg_sys::AcceptInvalidationMessages();
            let tuple =
                pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, oid.into());
            if tuple.is_null() {
                return Err(Error::NoSuchRelation(oid.to_u32()));
            }
            let form = *pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
            let name = CStr::from_ptr(form.relname.data.as_ptr())
                .to_string_lossy()
                .into_owned();
            pg_sys::ReleaseSysCache(tuple);
            (form, name)
        };
        let kind = form.relkind as u8;
        if let Some(kind_name) = unsuitable(kind) {
            return Err(Error::NotATable {
                name,
                kind: kind_name,
                partitioned: kind == b'p',
            });
        }
        if form.relam != pg_sys::HEAP_TABLE_AM_OID {
            return Err(Error::NotHeap { name });
        }
        let number = match form.relfilenode.to_u32() {
            0 => compat::mapped_number(oid, form.relisshared),
            number => number,
        };
        // SAFETY: set once when the session connects to its database.
        let (my_db, my_spc) = unsafe {
            (
                pg_sys::MyDatabaseId.to_u32(),
                pg_sys::MyDatabaseTableSpace.to_u32(),
            )
        };
        let (spc_oid, db_oid) = match form.reltablespace.to_u32() {
            _ if form.relisshared => (pg_sys::GLOBALTABLESPACE_OID.to_u32(), 0),
            0 => (my_spc, my_db),
            spc => (spc, my_db),
        };
        let locator = RelFileLocator {
            spc_oid,
            db_oid,
            rel_number: number,
        };
        Ok(Table {
            oid,
            name,
            locator,
            shared: form.relisshared,
            persistence: form.relpersistence as u8,
        })
    }

    /// The map knows only what is in the WAL.
    pub fn require_wal_logged(&self) -> Result<(), Error> {
        let name = self.name.clone();
        match self.persistence {
            b't' => Err(Error::Temporary { name }),
            b'u' => Err(Error::Unlogged { name }),
            _ => Ok(()),
        }
    }

    /// Catalogs are read without their owner's doing by every statement.
    pub fn require_no_catalog(&self) -> Result<(), Error> {
        // SAFETY: compares numbers (catalog/catalog.c).
        if unsafe { pg_sys::IsCatalogRelationOid(self.oid) } {
            let name = self.name.clone();
            return Err(Error::Catalog { name });
        }
        Ok(())
    }

    /// Lock the table against being dropped or rewritten, waiting if need be.
    pub fn open(&self) -> Result<OpenTable, Error> {
        // SAFETY: try_relation_open (access/common/relation.c) returns an open
        // relation or NULL.
        let rel = unsafe { pg_sys::try_relation_open(self.oid, pg_sys::AccessShareLock as i32) };
        let table = OpenTable::new(rel).ok_or(Error::NoSuchRelation(self.oid.to_u32()))?;
        // SAFETY: it is open.
        if self.persistence == b't' && unsafe { !(*table.rel).rd_islocaltemp } {
            return Err(Error::OtherTemporary);
        }
        Ok(table)
    }

    /// The same if it needs no waiting, else `None`.
    pub fn open_unless_locked(&self) -> Option<OpenTable> {
        // SAFETY: the lock is taken before the relation is opened without one,
        // as relation_open demands. OpenTable gives it back. If the relation
        // is gone by now, the lock goes with the transaction.
        unsafe {
            let mode = pg_sys::AccessShareLock as i32;
            if !pg_sys::ConditionalLockRelationOid(self.oid, mode) {
                return None;
            }
            OpenTable::new(pg_sys::try_relation_open(self.oid, pg_sys::NoLock as i32))
        }
    }

    /// Look a table up, and how many blocks it has according to its files, without
    /// any lock.
    ///
    /// They may be cut meanwhile. Whoever replaces a table's files tells so before he
    /// cuts the old ones (CommitTransaction; xact_redo_commit on a standby): so if
    /// after a look at them nobody has told of others, they were whole.
    pub fn look_up_with_blocks(oid: pg_sys::Oid) -> Result<(Table, u32), Error> {
        let mut table = Table::look_up(oid)?;
        loop {
            let blocks = table.blocks_on_disk();
            let now = Table::look_up(oid)?;
            if now.locator == table.locator {
                return Ok((now, blocks));
            }
            table = now;
            pgrx::check_for_interrupts!();
        }
    }

    /// The table, open if that needs no waiting; where it is and how many blocks it
    /// has.
    pub fn size(&self) -> Result<(Option<OpenTable>, RelFileLocator, u32), Error> {
        match self.open_unless_locked() {
            Some(open) => {
                let blocks = open.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
                let locator = open.locator();
                Ok((Some(open), locator, blocks))
            }
            None => {
                let (table, blocks) = Self::look_up_with_blocks(self.oid)?;
                Ok((None, table.locator, blocks))
            }
        }
    }

    /// The table's size according to its files.
    fn blocks_on_disk(&self) -> u32 {
        let first = compat::relation_path(self.locator, pg_sys::ForkNumber::MAIN_FORKNUM);
        let segment_blocks = u64::from(pg_sys::RELSEG_SIZE);
        let mut blocks = 0;
        for segno in 0u32.. {
            let path = if segno == 0 {
                first.clone()
            } else {
                format!("{first}.{segno}")
            };
            let Ok(file) = std::fs::metadata(path) else {
                break;
            };
            let size = file.len() / u64::from(pg_sys::BLCKSZ);
            blocks += size.min(segment_blocks);
            if size < segment_blocks {
                break;
            }
        }
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }
}

/// What a relation is if it cannot hold garbage of its own; as in
/// errdetail_relkind_not_supported().
fn unsuitable(kind: u8) -> Option<&'static str> {
    Some(match kind {
        b'r' | b'm' | b't' => return None,
        b'i' => "indexes",
        b'I' => "partitioned indexes",
        b'S' => "sequences",
        b'v' => "views",
        b'c' => "composite types",
        b'f' => "foreign tables",
        b'p' => "partitioned tables",
        _ => "relations of this kind",
    })
}

/// A table that is open and locked in AccessShareLock mode.
pub struct OpenTable {
    rel: pg_sys::Relation,
}

impl OpenTable {
    fn new(rel: pg_sys::Relation) -> Option<OpenTable> {
        // Not `then_some`: it would make one of NULL, and drop it.
        (!rel.is_null()).then(|| OpenTable { rel })
    }

    /// The open relation.
    pub fn rel(&self) -> pg_sys::Relation {
        self.rel
    }

    /// Its physical address as of the lock.
    pub fn locator(&self) -> RelFileLocator {
        // SAFETY: the relation is open.
        unsafe { compat::locator_of(self.rel) }
    }

    /// Whether its changes are in the WAL only when its transaction commits, as
    /// they are then.
    pub fn is_not_logged_yet(&self) -> bool {
        // SAFETY: a setting; the relation is open.
        unsafe {
            pg_sys::wal_level < pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32
                && compat::is_file_new(self.rel)
        }
    }

    /// Blocks in one of its forks, 0 if it has no such fork.
    pub fn blocks(&self, fork: pg_sys::ForkNumber::Type) -> u32 {
        // SAFETY: the relation is open and its storage locked against removal.
        unsafe {
            if fork != pg_sys::ForkNumber::MAIN_FORKNUM
                && !pg_sys::smgrexists(compat::smgr_of(self.rel), fork)
            {
                return 0;
            }
            pg_sys::RelationGetNumberOfBlocksInFork(self.rel, fork)
        }
    }
}

impl Drop for OpenTable {
    fn drop(&mut self) {
        // On an error the transaction's resource owner does it.
        if !std::thread::panicking() {
            // SAFETY: opened by us, with this lock.
            unsafe { pg_sys::relation_close(self.rel, pg_sys::AccessShareLock as i32) };
        }
    }
}
