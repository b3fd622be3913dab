//! Which replication slots are walker's own, for the worker of another day.
//!
//! `walker.slot_name` can be changed while the server is down. Nobody would advance
//! the slot of before, and what nobody advances keeps WAL until the disk is full.
//! So each slot that is made is noted in a file beside the state files, with what
//! tells it from another of that name: a base backup has the note and not the
//! slot, and somebody may have dropped it and made one of his own. What is not
//! certain to be a slot that was noted is left alone.

use super::server::guarded;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use pgrx::prelude::*;
use walker_plugin::state::{DIRECTORY, new_file};

/// No plugin has such a name, so it is nobody's state file.
const NOTE: &str = "walker.slot";
/// Until it takes the place of the other.
const NEW_NOTE: &str = "walker.slot.tmp";
/// Where the server keeps slots (replication/slot.c).
const SLOTS: &str = "pg_replslot";
/// A note is much shorter.
const MAX_BYTES: u64 = 64 * 1024;

/// A slot, and the directory the server keeps it in: that is made with the slot,
/// and stays as long as it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Own {
    name: String,
    inode: u64,
    /// When it was made, since the Epoch.
    born: Duration,
}

impl Own {
    /// The slot that has this name now. `None` also where the file system does not
    /// say when a directory was made.
    fn now(name: &str) -> Option<Own> {
        // What ReplicationSlotValidateName lets pass.
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || !name.bytes().all(good) {
            return None;
        }
        let meta = fs::metadata(Path::new(SLOTS).join(name)).ok()?;
        Some(Own {
            name: name.to_owned(),
            inode: meta.ino(),
            born: meta.created().ok()?.duration_since(UNIX_EPOCH).ok()?,
        })
    }

    fn is_there(&self) -> bool {
        Own::now(&self.name).as_ref() == Some(self)
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// What is noted, whether it is still there or not.
fn read() -> Vec<Own> {
    // What is no plain file must neither be followed nor waited for.
    let read = || {
        let path = path(NOTE);
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let (mut text, file) = (String::new(), File::open(path).ok()?);
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    };
    read().unwrap_or_default()
}

/// The slots that were noted and are still there.
pub fn noted() -> Vec<String> {
    let there = read().into_iter().filter(Own::is_there);
    there.map(|own| own.name).collect()
}

/// Whether a slot of this name was noted, and this is another.
pub fn is_another(name: &str) -> bool {
    let mut noted = read().into_iter().filter(|own| own.name == name);
    noted.any(|own| !own.is_there())
}

/// The worker made this slot: note that, durably.
pub fn note(name: &str) -> Result<(), String> {
    let Some(own) = Own::now(name) else {
        return Ok(());
    };
    let mut all = read();
    if all.contains(&own) {
        return Ok(());
    }
    all.retain(|other| other.is_there() && other.name != own.name);
    all.push(own);
    write(&all)
}

/// This slot is gone. If the note outlives it, it is of a slot that is not there.
pub fn forget(name: &str) {
    let mut all = read();
    let before = all.len();
    all.retain(|own| own.name != name);
    if all.is_empty() {
        let _ = fs::remove_file(path(NOTE));
    } else if all.len() < before {
        let _ = write(&all);
    }
}

fn write(all: &[Own]) -> Result<(), String> {
    let written = || -> io::Result<PathBuf> {
        let (mut file, new) = new_file(NEW_NOTE)?;
        file.write_all(&serde_json::to_vec(all)?)?;
        Ok(new)
    };
    let new = written().map_err(|e| e.to_string())?;
    let c_path = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
    let (Ok(new), Ok(note)) = (c_path(&new), c_path(&path(NOTE))) else {
        return Err("a path with a zero byte".to_owned());
    };
    // SAFETY: two paths; what fails is logged at this level, for it is tried again
    // and again, or an ERROR, which `guarded` makes a message of (durable_rename in
    // storage/file/fd.c).
    let renamed = guarded(|| unsafe {
        pg_sys::durable_rename(new.as_ptr(), note.as_ptr(), PgLogLevel::DEBUG1 as i32)
    })?;
    match renamed {
        0 => Ok(()),
        _ => Err("the file could not be put in its place".to_owned()),
    }
}
