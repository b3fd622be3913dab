//! message_log: writes every logical message to the server log.
//!
//! The model of a plugin in Rust: which records it wants, and what it does.

use std::ffi::CString;
use walker_plugin::wal::misc::{LogicalmsgRecord, decode_logicalmsg};
use walker_plugin::wal::{Record, RmgrId};
use walker_plugin::{Error, Plugin, RmgrSet, WalRecord, services};

pgrx::pg_module_magic!();
walker_plugin::export_plugin!(MessageLog);

struct MessageLog;

impl Plugin for MessageLog {
    type Error = Error;
    const RMGRS: RmgrSet = RmgrSet::of(&[RmgrId::LOGICALMSG]);

    fn startup() -> Result<Self, Error> {
        Ok(MessageLog)
    }

    fn record(&mut self, record: &WalRecord<'_>) -> Result<(), Error> {
        if let LogicalmsgRecord::Message { prefix, .. } = decode_logicalmsg(record)? {
            let text = CString::new(format!("message \"{prefix}\" at {}", record.lsn()))?;
            services().ok_or("no walker")?.log(c"message_log", &text);
        }
        Ok(())
    }
}
