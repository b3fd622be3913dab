//! The directories of clusters: they come and go with the tests.

use crate::poll::poll_for;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A new directory, named after this process. One of the same name may be
/// there: what a test that failed left to be looked at, from when the process
/// ID was another one's.
pub(crate) fn create(parent: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("walker-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return path,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => panic!("{}: {e}", path.display()),
        }
    }
}

/// Removes a directory with all that is in it. The processes of a killed
/// server may still write there until they notice.
pub(crate) fn remove(path: &Path) {
    let removed = poll_for(Duration::from_secs(10), || match fs::remove_dir_all(path) {
        Ok(()) => Some(()),
        Err(e) if e.kind() == ErrorKind::NotFound && !path.exists() => Some(()),
        Err(_) => None,
    });
    if removed.is_none() {
        eprintln!("{} could not be removed", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_in_nobodys_way() {
        let parent = create(&std::env::temp_dir());
        let pid = std::process::id();
        for number in 0..100 {
            fs::create_dir(parent.join(format!("walker-{pid}-{number}"))).expect("a directory");
        }
        let base = create(&parent);
        assert!(fs::read_dir(&base).expect("a directory").next().is_none());
        remove(&parent);
        assert!(!parent.exists());
    }
}
