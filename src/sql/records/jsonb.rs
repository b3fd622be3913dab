//! Serialized values as `jsonb`.
//!
//! A record may hold text in the encoding of any database, and bytes that are
//! no text at all. What comes out must be valid in this one.

use core::ffi::CStr;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::prelude::*;
use pgrx::{IntoDatum, direct_function_call_as_datum};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use std::ffi::CString;
use std::io::{self, Write};

/// Most bytes of a value as text. `jsonb` itself ends at 256 MB a string, a
/// record at 1 GB.
const MAX_TEXT: usize = 64 * 1024 * 1024;

/// A value of type `jsonb`, still as text.
pub struct Jsonb(CString);

impl Jsonb {
    /// A value; what is larger than [`MAX_TEXT`] is said to be so instead.
    pub fn of(value: &impl Serialize) -> Jsonb {
        let mut text = Limited(Vec::new());
        let formatter = Plain {
            utf8: database_is_utf8(),
        };
        match value.serialize(&mut Serializer::with_formatter(&mut text, formatter)) {
            // No NUL: the formatter escapes it.
            Ok(()) => Jsonb(CString::new(text.0).unwrap_or_default()),
            Err(_) => Jsonb::error("too large to be shown"),
        }
    }

    /// In place of a value that cannot be had.
    pub fn error(message: &str) -> Jsonb {
        let text = serde_json::json!({ "error": message }).to_string();
        Jsonb(CString::new(text).unwrap_or_default())
    }
}

/// A buffer that refuses to grow without end.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn database_is_utf8() -> bool {
    // SAFETY: GetDatabaseEncodingName (utils/mb/mbutils.c) returns a static
    // string.
    unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) == c"UTF8" }
}

/// Writes no character that `jsonb` or the database's encoding may refuse:
/// such characters are shown as the text of their escape.
struct Plain {
    utf8: bool,
}

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if self.utf8 || fragment.is_ascii() {
            return to.write_all(fragment.as_bytes());
        }
        fragment.chars().try_for_each(|c| {
            if c.is_ascii() {
                write!(to, "{c}")
            } else {
                write!(to, "\\\\u{{{:x}}}", u32::from(c))
            }
        })
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Quote => to.write_all(b"\\\""),
            CharEscape::ReverseSolidus => to.write_all(b"\\\\"),
            CharEscape::Solidus => to.write_all(b"/"),
            CharEscape::Backspace => to.write_all(b"\\b"),
            CharEscape::FormFeed => to.write_all(b"\\f"),
            CharEscape::LineFeed => to.write_all(b"\\n"),
            CharEscape::CarriageReturn => to.write_all(b"\\r"),
            CharEscape::Tab => to.write_all(b"\\t"),
            // text has no NUL, so jsonb refuses \u0000.
            CharEscape::AsciiControl(0) => to.write_all(b"\\\\0"),
            CharEscape::AsciiControl(c) => write!(to, "\\u{c:04x}"),
        }
    }
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: jsonb_in (utils/adt/jsonb.c) takes a C string and keeps
        // nothing of it.
        unsafe { direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(self.0.as_ptr().into())]) }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: the result is a jsonb, as IntoDatum makes it.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: the caller promises that the types match.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

impl_sql_translatable!(Jsonb, "jsonb");
