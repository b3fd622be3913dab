//! Names and text between the server's encoding and Rust's.

use core::ffi::{CStr, c_char};
use pgrx::pg_sys;
use pgrx::spi::quote_identifier;

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;
const SQL_ASCII: i32 = pg_sys::pg_enc::PG_SQL_ASCII as i32;
/// Bytes of UTF-8 that a byte of any encoding becomes at most
/// (`MAX_CONVERSION_GROWTH` in mb/pg_wchar.h).
const GROWTH: usize = 4;

/// The database's encoding, and what converts from it to UTF-8, if that is needed
/// and there is one.
fn conversion() -> Option<(i32, pg_sys::Oid)> {
    // SAFETY: GetDatabaseEncoding (utils/mb/mbutils.c) only reads;
    // FindDefaultConversionProc (catalog/namespace.c) looks into the catalog, in the
    // transaction of the function that is being called.
    unsafe {
        let encoding = pg_sys::GetDatabaseEncoding();
        let conversion = match encoding {
            UTF8 | SQL_ASCII => pg_sys::InvalidOid,
            _ => pg_sys::FindDefaultConversionProc(encoding, UTF8),
        };
        (conversion != pg_sys::InvalidOid).then_some((encoding, conversion))
    }
}

/// Text of the server as Rust text. What cannot be said in Unicode is replaced:
/// this is for showing, and no name may make a page fail.
pub fn from_server(bytes: &[u8]) -> String {
    let Some((encoding, conversion)) = conversion() else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let (mut text, mut at) = (String::new(), 0);
    let mut from = bytes.to_vec();
    from.push(0);
    while at < bytes.len() {
        let left = bytes.len() - at;
        let mut room = vec![0u8; left * GROWTH + 1];
        // SAFETY: pg_do_encoding_conversion_buf (utils/mb/mbutils.c) reads as many
        // bytes as it is told, writes as many at most, the last of them a 0, and
        // stops at what it cannot convert, which it says by how far it came.
        let done = unsafe {
            pg_sys::pg_do_encoding_conversion_buf(
                conversion,
                encoding,
                UTF8,
                from[at..].as_mut_ptr(),
                left as i32,
                room.as_mut_ptr(),
                room.len() as i32,
                true,
            )
        };
        if let Ok(converted) = CStr::from_bytes_until_nul(&room) {
            text.push_str(&converted.to_string_lossy());
        }
        at += usize::try_from(done).unwrap_or(0);
        if at < bytes.len() {
            text.push(char::REPLACEMENT_CHARACTER);
            // SAFETY: pg_encoding_mblen (common/wchar.c) looks at the first bytes of
            // a terminated text.
            let length = unsafe {
                pg_sys::pg_encoding_mblen(encoding, from[at..].as_ptr().cast::<c_char>())
            };
            at += usize::try_from(length).unwrap_or(1).max(1);
        }
    }
    text
}

/// A name of the server as an SQL identifier, for a query: in ASCII, if the
/// database's text is not Rust's.
pub fn identifier(name: &[u8]) -> String {
    if conversion().is_none() {
        return quote_identifier(String::from_utf8_lossy(name));
    }
    let mut quoted = String::from("U&\"");
    for c in from_server(name).chars() {
        match c {
            '"' | '\\' => quoted.extend([c, c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push_str(&format!("\\+{:06X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether the database can hold any character.
pub fn is_unicode() -> bool {
    // SAFETY: GetDatabaseEncoding (utils/mb/mbutils.c) only reads.
    unsafe { pg_sys::GetDatabaseEncoding() == UTF8 }
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
