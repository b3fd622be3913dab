//! Any bytes as a record of any resource manager and major version: decoding
//! and describing either works or says why not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| walker_wal::fuzz::fuzz_one(data));
