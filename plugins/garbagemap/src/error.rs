//! What can be wrong with a call, as the user sees it.

use crate::privilege;
use pgrx::PgLogLevel;
use pgrx::PgSqlErrorCode::{self, *};
use pgrx::pg_sys::panic::ErrorReport;

/// Why a function refuses to answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("relation with OID {0} does not exist")]
    NoSuchRelation(u32),
    #[error("\"{name}\" is not a table")]
    NotATable {
        name: String,
        kind: &'static str,
        partitioned: bool,
    },
    #[error("table \"{name}\" does not use the access method \"heap\"")]
    NotHeap { name: String },
    #[error("temporary table \"{name}\" is not WAL-logged")]
    Temporary { name: String },
    #[error("unlogged table \"{name}\" is not WAL-logged")]
    Unlogged { name: String },
    #[error("table \"{name}\" is not WAL-logged before its transaction ends")]
    NotLoggedYet { name: String },
    #[error("cannot access temporary tables of other sessions")]
    OtherTemporary,
    #[error("walker must be loaded via \"shared_preload_libraries\"")]
    NotPreloaded,
    #[error("there is no garbage map on this server")]
    NoMap,
    #[error("permission denied for function {function}")]
    Denied {
        function: &'static str,
        roles: &'static str,
    },
    #[error("invalid range size: {got} blocks")]
    RangeBlocks { got: i32, recorded: u32 },
    #[error("too many base scans are running")]
    TooManyScans,
    #[error("the walker has no memory for a base scan")]
    NoMemory,
    #[error("the walker restarted during the base scan")]
    ScanLost,
    #[error("the live map forgot the table during the base scan")]
    ScanForgotten,
    #[error("the walker does not answer")]
    NoAnswer,
    #[error("range number out of range")]
    TooManyRanges,
    #[error("system catalog \"{name}\" cannot be pruned")]
    Catalog { name: String },
    #[error("permission denied for table \"{name}\"")]
    NotMaintainer { name: String },
    #[error("{parameter} must not be negative")]
    Negative { parameter: &'static str },
    #[error("invalid {what}: {got}")]
    PictureSize {
        what: &'static str,
        got: i32,
        least: u32,
        most: u32,
    },
    #[error("could not draw the picture: {0}")]
    Drawing(#[from] garbagemap_picture::DrawError),
    #[error("could not read what the report is about: {0}")]
    Report(#[from] pgrx::spi::Error),
    #[error("could not list the tables of this database: {0}")]
    Tables(pgrx::spi::Error),
}

impl Error {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Error::NoSuchRelation(_) => ERRCODE_UNDEFINED_TABLE,
            Error::NotATable { .. } => ERRCODE_WRONG_OBJECT_TYPE,
            // The server says the same of what needs WAL and finds none.
            Error::NotHeap { .. }
            | Error::Temporary { .. }
            | Error::Unlogged { .. }
            | Error::NotLoggedYet { .. }
            | Error::OtherTemporary
            | Error::Catalog { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            Error::NotPreloaded | Error::NoMap => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::TooManyScans => ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Error::NoMemory => ERRCODE_OUT_OF_MEMORY,
            Error::ScanLost | Error::ScanForgotten | Error::NoAnswer => {
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Error::Denied { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::NotMaintainer { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::RangeBlocks { .. } | Error::Negative { .. } | Error::PictureSize { .. } => {
                ERRCODE_INVALID_PARAMETER_VALUE
            }
            Error::TooManyRanges => ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            Error::Drawing(_) | Error::Report(_) | Error::Tables(_) => ERRCODE_INTERNAL_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Error::NotATable { kind, .. } => {
                format!("This operation is not supported for {kind}.")
            }
            Error::Denied { roles, .. } => {
                format!("Only roles with privileges of {roles} may call this function.")
            }
            Error::NotMaintainer { .. } => {
                format!("Only {} may prune a table.", privilege::MAINTAINERS)
            }
            Error::RangeBlocks { recorded, .. } => {
                format!("The map is kept in ranges of {recorded} blocks.")
            }
            Error::PictureSize { least, most, .. } => {
                format!("It must be between {least} and {most}.")
            }
            _ => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::NotATable {
                partitioned: true, ..
            } => "Name one of its partitions.".into(),
            Error::Temporary { .. } | Error::Unlogged { .. } => {
                "Use garbage_summary, which reads the table itself, to see its garbage, and VACUUM \
                 to remove it."
                    .into()
            }
            Error::NotLoggedYet { .. } => "With wal_level = minimal this is so where the table \
                                           was made or truncated in the same transaction."
                .into(),
            Error::NotPreloaded => "Add walker to shared_preload_libraries, and garbagemap to \
                                    walker.plugins, and restart the server."
                .into(),
            Error::NoMap => "Check that walker.plugins contains garbagemap; the view \
                             walker_plugins shows whether it is running. After a start of the \
                             server it has its state to load first."
                .into(),
            Error::TooManyScans => {
                "The view garbage_base_scan_progress shows them; wait for one to end.".into()
            }
            Error::RangeBlocks { recorded, .. } => {
                format!("Use {recorded} or a multiple of it.")
            }
            Error::NoMemory => "Increase garbagemap.max_memory.".into(),
            Error::ScanLost => "Call the function again; what was learned may have to be \
                                learned anew."
                .into(),
            Error::ScanForgotten => "If degraded_relations of garbage_status went up, increase \
                                     garbagemap.max_memory; else call the function again."
                .into(),
            Error::NoAnswer => "The view walker_status shows what it is doing.".into(),
            Error::Catalog { .. } => "VACUUM it.".into(),
            Error::TooManyRanges => "Use a larger garbagemap.summary_size.".into(),
            _ => return None,
        })
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        let mut report = ErrorReport::new(error.sqlstate(), error.to_string(), "");
        if let Some(detail) = error.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(hint);
        }
        report
    }
}

/// The end of every SQL function: an error becomes the server's ERROR. Nothing
/// that needs dropping is left when this is called.
pub fn or_raise<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            ErrorReport::from(error).report(PgLogLevel::ERROR);
            unreachable!("ereport(ERROR) does not return")
        }
    }
}
