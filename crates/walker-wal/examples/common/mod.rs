//! What the examples share: arguments and segment files.

use std::error::Error;
use std::path::Path;
use walker_wal::{Lsn, Major, lsn::DEFAULT_SEGMENT_SIZE};

/// `MAJOR DIR FIRST_SEGMENT_FILE`: the version, the bytes of the segments from
/// the first on in one piece, and where they begin.
pub fn load(args: &[String]) -> Result<(Major, Vec<u8>, Lsn), Box<dyn Error>> {
    let [major, dir, first, ..] = args else {
        return Err("arguments: MAJOR DIR FIRST_SEGMENT_FILE".into());
    };
    let major = match major.as_str() {
        "15" => Major::V15,
        "16" => Major::V16,
        "17" => Major::V17,
        "18" => Major::V18,
        other => return Err(format!("unknown major version {other}").into()),
    };
    let dir = Path::new(dir);
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.len() == 24 && n >= first)
        .collect();
    names.sort();
    let mut bytes = Vec::new();
    for name in &names {
        bytes.extend(std::fs::read(dir.join(name))?);
    }
    let part = |range: std::ops::Range<usize>| {
        let digits = first.get(range).ok_or("not the name of a segment")?;
        u64::from_str_radix(digits, 16).map_err(|_| "not the name of a segment")
    };
    let start = (part(8..16)? << 32) + part(16..24)? * u64::from(DEFAULT_SEGMENT_SIZE);
    Ok((major, bytes, Lsn(start)))
}
