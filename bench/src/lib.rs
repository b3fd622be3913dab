//! What walker costs, and what else does that work: `make bench`.

pub mod cases;
pub mod cpu;
pub mod data;
pub mod hard;
pub mod instructions;
pub mod machine;
mod memory;
pub mod others;
pub mod profile;
pub mod prune;
pub mod queries;
pub mod real;
pub mod report;
pub mod rivals;
pub mod scaling;
pub mod stats;
pub mod stream;
pub mod tps;
pub mod walk;
pub mod workloads;
