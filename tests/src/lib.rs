//! Real PostgreSQL clusters for tests, with the names of
//! `PostgreSQL::Test::Cluster`, and what walker's tests share: workloads,
//! sessions that may block, and the comparison of the garbage map with a scan.
//!
//! `WALKER_PG_CONFIG` names the `pg_config` of the server to test and
//! `WALKER_PG_MAJOR` its major version; `make check` sets both. Nothing here
//! waits for a fixed time: see [`poll`].

pub mod browser;
pub mod cluster;
pub mod crash;
mod directory;
pub mod faults;
pub mod history;
pub mod launch;
pub mod markdown;
pub mod oracle;
pub mod pgbench;
pub mod player;
pub mod plugins;
pub mod poll;
pub mod process;
pub mod psql;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod script;
pub mod server;
pub mod session;
pub mod skip;
pub mod standby;
pub mod tap;
pub mod wal;
pub mod waldump;
pub mod walker;

pub use cluster::{Cluster, Mode};
pub use server::Server;
pub use session::{Session, SqlError};
