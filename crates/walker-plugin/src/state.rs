//! A plugin's state file: a payload, the position it belongs to, and proof
//! that both belong to this server's history.
//!
//! State and position are one file, replaced atomically, so that no crash can
//! separate them. What is read is treated as hostile until it is proven: magic,
//! versions, block size, system identifier, checksum of header and payload,
//! and the last record, which must stand in this server's WAL with the same
//! checksum on the timeline of the server's own history. That refuses files of
//! another cluster, of another branch of history (promotion, pg_rewind,
//! restored snapshots, point-in-time recovery), and of before pg_resetwal.
//!
//! A file that is refused is set aside as `NAME.bad` and never stops a start.

mod polite;

use crate::abi::RecordId;
use crate::services::services;
use pgrx::pg_sys;
use polite::Polite;
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
pub use walker_state::StateError;
use walker_state::{Identity, check, write};
use walker_wal::{BLCKSZ, Lsn};

/// Directory of all state files, in the data directory.
pub const DIRECTORY: &str = "pg_walker";

unsafe extern "C" {
    /// `common/file_perm.c`: 0700, or 0750 with group access.
    static pg_dir_create_mode: core::ffi::c_int;
    /// `common/file_perm.c`: 0600, or 0640 with group access.
    static pg_file_create_mode: core::ffi::c_int;
}

const O_NOFOLLOW: i32 = 0o400000;
const O_NONBLOCK: i32 = 0o4000;

/// A plugin's state file, by the plugin's name.
pub struct StateFile {
    path: PathBuf,
}

/// A state that was found and proven.
pub struct SavedState {
    /// The state contains all WAL up to here.
    pub lsn: Lsn,
    /// Where its payload is read from.
    pub payload: BufReader<io::Take<File>>,
}

impl StateFile {
    /// The state file of the named plugin. `name` must be a plugin name, so it
    /// has no path part.
    pub fn new(name: &str) -> StateFile {
        StateFile {
            path: Path::new(DIRECTORY).join(name),
        }
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Write a new state: everything up to the last record delivered. The old
    /// file stays until the new one is durable. Returns the position.
    ///
    /// With `upto` ahead of the last record (none was delivered yet) nothing
    /// is written.
    pub fn save(
        &self,
        upto: Lsn,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Option<Lsn>, StateError> {
        let Some(last) = services().and_then(|s| s.last_record()) else {
            return Ok(None);
        };
        if last.end_lsn != upto.0 {
            return Ok(None);
        }
        let temp = self.with_suffix(".tmp");
        make_directory()?;
        let result = write_file(&temp, last, write).and_then(|()| rename(&temp, &self.path));
        if result.is_err() {
            let _ = fs::remove_file(&temp);
        }
        result.map(|()| Some(upto))
    }

    /// Find the state that was saved last, and prove it. `None` if there is
    /// none.
    pub fn load(&self) -> Result<Option<SavedState>, StateError> {
        let _ = fs::remove_file(self.with_suffix(".tmp"));
        // What is no plain file must neither be followed nor waited for.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(&self.path);
        let mut file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(StateError::Damaged("it is not a plain file"));
        }
        let header = check(&mut Polite::new(&mut file), meta.len(), identity())?;
        if !services().is_some_and(|s| s.check_record(&header.last)) {
            return Err(StateError::Foreign(
                "its last record does not stand in this server's WAL history",
            ));
        }
        Ok(Some(SavedState {
            lsn: Lsn(header.last.end_lsn),
            payload: BufReader::new(file.take(header.payload_len)),
        }))
    }

    /// Set a refused file aside; the one before it is dropped.
    pub fn set_aside(&self) {
        let bad = self.with_suffix(".bad");
        if fs::rename(&self.path, &bad).is_err() {
            // A file cannot take the place of a directory, nor the reverse.
            let _ = fs::remove_file(&bad).or_else(|_| fs::remove_dir(&bad));
            let _ = fs::rename(&self.path, &bad);
        }
    }
}

fn make_directory() -> io::Result<()> {
    // SAFETY: set once when the data directory was opened (common/file_perm.c).
    let mode = unsafe { pg_dir_create_mode } as u32;
    match DirBuilder::new().mode(mode).create(DIRECTORY) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

fn write_file(
    path: &Path,
    last: RecordId,
    payload: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StateError> {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    // SAFETY: as in make_directory.
    let mode = unsafe { pg_file_create_mode } as u32;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(O_NOFOLLOW)
        .open(path)?;
    write(Polite::new(&mut file), identity(), last, payload)?;
    file.sync_all()?;
    Ok(())
}

/// Replace the old file durably, as the server does with its own.
fn rename(from: &Path, to: &Path) -> Result<(), StateError> {
    let c = |p: &Path| {
        CString::new(p.as_os_str().as_encoded_bytes()).map_err(|_| StateError::Damaged("bad name"))
    };
    let (from, to) = (c(from)?, c(to)?);
    // SAFETY: durable_rename (storage/file/fd.c) returns -1 after reporting a
    // failure at the level it is given, which is below ERROR.
    let failed = unsafe {
        pg_sys::durable_rename(
            from.as_ptr(),
            to.as_ptr(),
            pg_sys::elog::PgLogLevel::LOG as i32,
        )
    };
    if failed != 0 {
        Err(io::Error::last_os_error().into())
    } else {
        Ok(())
    }
}

/// This server.
fn identity() -> Identity {
    Identity {
        major: pg_sys::PG_VERSION_NUM / 100,
        blcksz: BLCKSZ as u32,
        // SAFETY: reads shared memory (access/transam/xlog.c).
        system_identifier: unsafe { pg_sys::GetSystemIdentifier() },
    }
}
