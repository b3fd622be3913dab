//! Plugins: loading their libraries, their callback tables, dispatch.

pub mod dispatch;
mod load;
mod table;

pub use load::{LoadedPlugin, load};
pub use table::DispatchTable;
