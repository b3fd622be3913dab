//! Targeted reclaim: prune the pages of the ranges that hold garbage, and no
//! other page, and no index.

pub mod page;
pub mod progress;
pub mod run;
