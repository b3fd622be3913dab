//! Any bytes as a state file: refused, unless it is one of this server.
#![no_main]

use std::io::Cursor;
use walker_state::{Identity, check};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let here = Identity {
        major: 17,
        blcksz: 8192,
        system_identifier: 1,
    };
    let _ = check(&mut Cursor::new(data), data.len() as u64, here);
});
