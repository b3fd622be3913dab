//! An error for plugins that need no error type of their own.

use core::fmt::Display;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;

/// Any error, as the message it shows; `?` makes one of everything that has a
/// message.
#[derive(Debug)]
pub struct Error(String);

// `Error` itself shows nothing, or this would clash with `From<T> for T`.
impl<E: Display> From<E> for Error {
    fn from(error: E) -> Self {
        Error(error.to_string())
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            error.0,
            "walker_plugin",
        )
    }
}
