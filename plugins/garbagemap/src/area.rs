//! Where the map is: a part of walker's shared memory.

use crate::error::Error;
use core::ffi::CStr;
use garbagemap_core::map::MapReader;
use std::sync::atomic::AtomicU64;
use walker_wal::Lsn;

/// The name under which the plugin reserves its part.
pub const AREA_NAME: &CStr = c"garbagemap";

/// The plugin's part of walker's shared memory, as any process sees it.
fn map_area() -> Result<&'static [AtomicU64], Error> {
    let services = walker_plugin::services().ok_or(Error::NotPreloaded)?;
    services
        .area_of_running(AREA_NAME)
        .map(|area| area.words())
        .ok_or(Error::NoMap)
}

/// The map, ready to be read.
pub fn map() -> Result<MapReader<'static>, Error> {
    MapReader::open(map_area()?).ok_or(Error::NoMap)
}

/// The position up to which the map stands for the WAL. It says so itself: the
/// plugin may have seen more, which it shows at the end of a batch, or never if
/// the worker fails before.
pub fn applied_lsn() -> Result<Lsn, Error> {
    let services = walker_plugin::services().ok_or(Error::NotPreloaded)?;
    let told = services.applied_lsn(AREA_NAME).ok_or(Error::NoMap)?;
    let status = map()?.status().map(|status| Lsn(status.applied_lsn));
    // Before the first batch it is where the worker began.
    Ok(status.filter(|lsn| lsn.0 != 0).unwrap_or(told))
}
