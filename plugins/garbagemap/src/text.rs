//! Names and text between the server's encoding and Rust's.

use core::ffi::{CStr, c_char};
use pgrx::pg_sys;

/// Text of the server as Rust text. What cannot be said in Unicode is replaced:
/// this is for showing.
pub fn from_server(bytes: &[u8]) -> String {
    let mut text = bytes.to_vec();
    text.push(0);
    // SAFETY: pg_server_to_any (utils/mb/mbutils.c) reads as many bytes as it
    // is told, and returns its argument or a palloc'd, terminated string. It is
    // not asked where it would only validate, and raise errors.
    unsafe {
        let encoding = pg_sys::GetDatabaseEncoding();
        if encoding != pg_sys::pg_enc::PG_UTF8 as i32
            && encoding != pg_sys::pg_enc::PG_SQL_ASCII as i32
        {
            let converted = pg_sys::pg_server_to_any(
                text.as_ptr().cast::<c_char>(),
                bytes.len() as i32,
                pg_sys::pg_enc::PG_UTF8 as i32,
            );
            return CStr::from_ptr(converted).to_string_lossy().into_owned();
        }
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the database can hold any character.
pub fn is_unicode() -> bool {
    // SAFETY: GetDatabaseEncoding (utils/mb/mbutils.c) only reads.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// A table's name with its schema, quoted as it would be in SQL.
pub fn qualified_name(oid: pg_sys::Oid) -> String {
    // SAFETY: get_rel_name, get_rel_namespace and get_namespace_name
    // (utils/cache/lsyscache.c) look into the catalog caches and return NULL
    // or 0 if the table is gone; quote_qualified_identifier
    // (utils/adt/ruleutils.c) takes NULL for the schema, not for the name.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return oid.to_u32().to_string();
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        let quoted = pg_sys::quote_qualified_identifier(schema, name);
        from_server(CStr::from_ptr(quoted).to_bytes())
    }
}

/// Now, to the second, as the session writes time.
pub fn now() -> String {
    // SAFETY: timestamptz_to_str (utils/adt/timestamp.c) returns a static
    // buffer, which is copied.
    unsafe {
        let now = pg_sys::GetCurrentTimestamp();
        let text = pg_sys::timestamptz_to_str(now - now.rem_euclid(1_000_000));
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
