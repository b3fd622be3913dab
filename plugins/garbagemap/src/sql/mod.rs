//! What the SQL functions do. Their declarations are in `sql/functions.sql`;
//! each Rust function here is reached as `<name>_wrapper`.

mod base_scan;
mod base_scans;
mod candidates;
mod counters;
mod horizon;
mod map;
mod pictures;
mod prune;
mod ranges;
mod report;
mod status;
mod summary;
mod totals;
mod verify;
