//! Which callbacks a record goes to: a table look-up by resource manager ID.

use super::LoadedPlugin;
use walker_plugin::wal::RmgrId;
use walker_plugin::{InPlaceCallback, RecordCallback};

/// One callback to call for a record.
#[derive(Clone, Copy)]
pub struct Call {
    /// Index of the plugin.
    pub plugin: u32,
    /// Its callback.
    pub callback: RecordCallback,
    /// Its callback for records as they stand in WAL, tried first.
    pub in_place: Option<InPlaceCallback>,
}

/// For each resource manager ID the calls to make, in the order of
/// `walker.plugins`.
pub struct DispatchTable {
    calls: Vec<Call>,
    /// First call of an ID and the first that is no longer its own.
    spans: [(u32, u32); 256],
}

impl DispatchTable {
    /// Build the table of the given plugins; `index` is the plugin's place.
    pub fn build<'a>(plugins: impl Iterator<Item = (u32, &'a LoadedPlugin)> + Clone) -> Self {
        let mut calls = Vec::new();
        let mut spans = [(0, 0); 256];
        for (id, span) in (0u8..=255).zip(spans.iter_mut()) {
            let first = calls.len() as u32;
            for (index, plugin) in plugins.clone() {
                if let Some(callback) = callback_for(plugin, RmgrId(id)) {
                    calls.push(Call {
                        plugin: index,
                        callback,
                        in_place: plugin.callbacks.in_place_cb,
                    });
                }
            }
            *span = (first, calls.len() as u32);
        }
        DispatchTable { calls, spans }
    }

    /// The calls to make for a record of this resource manager.
    #[inline]
    pub fn calls(&self, rmid: u8) -> &[Call] {
        let (first, end) = self.spans[usize::from(rmid)];
        self.calls.get(first as usize..end as usize).unwrap_or(&[])
    }
}

/// A plugin's callback for a resource manager: by number, else by registered
/// name, else by the member with its name.
fn callback_for(plugin: &LoadedPlugin, rmid: RmgrId) -> Option<RecordCallback> {
    let table = &plugin.callbacks;
    let by_number = table.rmgr_cb[usize::from(rmid.0)];
    let by_name = || plugin.named.iter().find(|(id, _)| *id == rmid.0);
    by_number.or_else(|| by_name().map(|n| n.1)).or(match rmid {
        RmgrId::HEAP => table.heap_cb,
        RmgrId::HEAP2 => table.heap2_cb,
        RmgrId::XLOG => table.xlog_cb,
        RmgrId::XACT => table.xact_cb,
        RmgrId::SMGR => table.smgr_cb,
        _ => None,
    })
}
