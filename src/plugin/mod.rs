//! Plugins: loading their libraries, their callback tables, dispatch.

pub mod current;
pub mod dispatch;
mod load;
pub mod stats;
mod table;

pub use load::{LoadError, LoadedPlugin, is_shortage, load, message_of, sqlstate_of};
pub use table::DispatchTable;
