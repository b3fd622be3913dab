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

mod new;
mod polite;
mod publish;

use crate::services::services;
pub use new::{NewState, make_directory};
use pgrx::pg_sys;
pub use polite::Polite;
pub use publish::SealedState;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use walker_state::{Identity, RecordId, check};
pub use walker_state::{SHORTAGES, StateError, is_shortage};
use walker_wal::{BLCKSZ, Lsn};

/// Directory of all state files, in the data directory.
pub const DIRECTORY: &str = "pg_walker";

/// Bytes read between two barriers.
const READ_BYTES: usize = 256 << 10;

/// A plugin's state file, by the plugin's name.
pub struct StateFile {
    path: PathBuf,
}

/// A state that was found and proven.
pub struct SavedState {
    /// The state contains all WAL up to here.
    pub lsn: Lsn,
    /// Where its payload is read from.
    pub payload: BufReader<io::Take<Polite>>,
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
    /// file stays until the new one is durable, which nobody waits for here:
    /// ask what is returned.
    ///
    /// With `upto` ahead of the last record (none was delivered yet) nothing
    /// is written.
    pub fn save(
        &self,
        upto: Lsn,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Option<SealedState>, StateError> {
        if !self.can_save(upto) {
            return Ok(None);
        }
        let mut state = self.begin()?;
        write(&mut state)?;
        state.seal(upto)
    }

    /// Whether a state of everything up to `upto` can be proven later: not
    /// before a record was delivered.
    pub fn can_save(&self, upto: Lsn) -> bool {
        new::is_last(upto)
    }

    /// Begin a new state that is written piece by piece, so that records can
    /// be taken between the pieces. The old file stays until
    /// [`NewState::seal`] and some time more.
    pub fn begin(&self) -> Result<NewState, StateError> {
        NewState::create(self.with_suffix(".tmp"), self.path.clone())
    }

    /// Find the state that was saved last, and prove it. `None` if there is
    /// none.
    pub fn load(&self) -> Result<Option<SavedState>, StateError> {
        self.load_if(|last| services().is_some_and(|s| s.check_record(last)))
    }

    /// The same for whoever decides by the last record whether the state is
    /// to be believed.
    pub fn load_if(
        &self,
        believe: impl FnOnce(&RecordId) -> bool,
    ) -> Result<Option<SavedState>, StateError> {
        let _ = fs::remove_file(self.with_suffix(".tmp"));
        // What is no plain file must neither be followed nor waited for.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(StateError::Damaged("it is not a plain file"));
        }
        let mut polite = Polite::new(file);
        let header = check(&mut polite, meta.len(), identity())?;
        if !believe(&header.last) {
            return Err(StateError::Foreign(
                "its last record does not stand in this server's WAL history",
            ));
        }
        Ok(Some(SavedState {
            lsn: Lsn(header.last.end_lsn),
            payload: BufReader::with_capacity(READ_BYTES, polite.take(header.payload_len)),
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

/// A new file of this name beside the state files, in the place of any that is
/// there, with the mode that the server gives its files; and its path.
pub fn new_file(name: &str) -> io::Result<(File, PathBuf)> {
    let path = Path::new(DIRECTORY).join(name);
    new::make_directory()?;
    Ok((new::create(&path)?, path))
}

/// In the worker: it leaves, so what is not saved now is read again by the next
/// one, if that WAL is still there.
pub fn leaving() -> bool {
    // SAFETY: a flag of the process (postmaster/interrupt.c).
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

/// So long a worker that leaves waits for the disk. The server's own checkpoint
/// waits for the same disk, so it answers, as a rule; and WAL of before that
/// checkpoint may go, so that an older state is of little use.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The redo pointer of the last checkpoint or restartpoint: WAL from here on is
/// still there, and every page changed since has its image in it. The server
/// may let go of WAL before it, and does not need it after a crash.
pub fn redo_pointer() -> Lsn {
    // SAFETY: reads shared memory under its spinlock (access/transam/xlog.c).
    Lsn(unsafe { pg_sys::GetRedoRecPtr() })
}

/// Whether a checkpoint overtook a state of `saved` that arrived when all WAL
/// up to `upto` was read: it was that checkpoint, perhaps, that asked for a
/// state meanwhile. One that was not read yet will ask.
pub fn overtaken(saved: Lsn, upto: Lsn) -> bool {
    let redo = redo_pointer();
    saved < redo && redo <= upto
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
