//! Tests of the ledger from outside: records in, counters out.

mod hostile;
mod large;
mod limits;
mod model;
mod order;
mod scenarios;
mod sim;
mod state;
