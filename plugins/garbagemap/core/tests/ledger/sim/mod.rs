//! A naive server that writes real WAL records, for tests of the ledger.

pub mod ops;
pub mod page;
pub mod server;
pub mod sink;
pub mod upkeep;
pub mod xacts;
