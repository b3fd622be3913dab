//! A state file that is being written.

use super::polite::Polite;
use super::publish::{SealedState, is_at_work};
use super::{DIRECTORY, StateError, identity};
use crate::services::services;
use pgrx::pg_sys;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use walker_state::{RecordId, Writer};
use walker_wal::Lsn;

unsafe extern "C" {
    /// `common/file_perm.c`: 0700, or 0750 with group access.
    static pg_dir_create_mode: core::ffi::c_int;
    /// `common/file_perm.c`: 0600, or 0640 with group access.
    static pg_file_create_mode: core::ffi::c_int;
}

/// A state that is being written to a file beside the old one. Dropped before
/// it is finished it leaves nothing behind.
pub struct NewState {
    writer: Option<Writer<Polite>>,
    temp: PathBuf,
    path: PathBuf,
}

impl NewState {
    pub(super) fn create(temp: PathBuf, path: PathBuf) -> Result<NewState, StateError> {
        if is_at_work(&temp) {
            let why = "the disk has not yet taken the state before";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, why).into());
        }
        make_directory()?;
        let mut state = NewState {
            writer: None,
            temp,
            path,
        };
        let file = create(&state.temp)?;
        state.writer = Some(Writer::new(Polite::new(file))?);
        Ok(state)
    }

    /// All is written, and contains everything up to `upto`: have it made
    /// durable and put in the place of the old one. Nobody waits for that here:
    /// ask [`SealedState::published`].
    ///
    /// `None`, and the old file stays, if `upto` is not the end of the last
    /// record that was delivered: there is no proof then.
    pub fn seal(mut self, upto: Lsn) -> Result<Option<SealedState>, StateError> {
        let (Some(last), Some(writer)) = (last_record(), self.writer.take()) else {
            return Ok(None);
        };
        if last.end_lsn != upto.0 {
            return Ok(None);
        }
        let file = writer.finish(identity(), last)?.into_inner();
        let sealed = SealedState::new(file, &self.temp, &self.path, upto)?;
        // From here on the temporary file is another's to remove.
        self.temp.clear();
        Ok(Some(sealed))
    }

    /// Bytes of payload written so far.
    pub fn written(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::written)
    }
}

impl Write for NewState {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }
}

impl Drop for NewState {
    fn drop(&mut self) {
        // It has no name any more if it was sealed.
        if !self.temp.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temp);
        }
    }
}

fn last_record() -> Option<RecordId> {
    services()?.last_record()
}

/// Whether `upto` is the end of the last record that was delivered.
pub(super) fn is_last(upto: Lsn) -> bool {
    last_record().is_some_and(|last| last.end_lsn == upto.0)
}

/// Make the directory of the state files, if it is not there.
pub fn make_directory() -> io::Result<()> {
    // SAFETY: set once when the data directory was opened (common/file_perm.c).
    let mode = unsafe { pg_dir_create_mode } as u32;
    match DirBuilder::new().mode(mode).create(DIRECTORY) {
        Ok(()) => sync_data_directory().inspect_err(|_| {
            let _ = fs::remove_dir(DIRECTORY);
        }),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// A new directory is durable when the one that has its name is.
fn sync_data_directory() -> io::Result<()> {
    // SAFETY: a setting, read on the main thread.
    if unsafe { pg_sys::enableFsync } {
        File::open(".")?.sync_all()?;
    }
    Ok(())
}

pub(super) fn create(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    // SAFETY: as in make_directory.
    let mode = unsafe { pg_file_create_mode } as u32;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}
