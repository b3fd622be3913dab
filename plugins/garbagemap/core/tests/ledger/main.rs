//! Tests of the ledger from outside: records in, counters out.

mod base_scans;
mod cold;
mod hostile;
mod images;
mod large;
mod limits;
mod model;
mod order;
mod scenarios;
mod sim;
mod state;
mod told;
