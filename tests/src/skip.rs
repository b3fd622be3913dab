//! What is not tried, because something is missing here.

use std::fs::OpenOptions;
use std::io::Write;

/// Says what is not tried and why: for who reads the test's own output, and in the
/// file that `WALKER_SKIPPED` names, for `scripts/check.sh` to say at the end.
pub fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
    if let Some(path) = std::env::var_os("WALKER_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let said = file.and_then(|mut file| writeln!(file, "{what}"));
        said.expect("the file of what is skipped");
    }
}
