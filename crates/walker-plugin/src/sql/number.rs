//! OIDs and transaction IDs of which 0 is a value: pgrx's own types make NULL
//! of it.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum as BorrowedDatum;
use pgrx::prelude::*;
use pgrx::{IntoDatum, pg_sys};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $sql:literal, $oid:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub struct $name(pub u32);

        impl_sql_translatable!($name, $sql);

        impl IntoDatum for $name {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                // Passed by value, 32 bits (catalog/pg_type.dat).
                Some(pg_sys::Datum::from(self.0))
            }

            fn type_oid() -> pg_sys::Oid {
                pg_sys::$oid
            }
        }

        // SAFETY: the result is of that type, by value.
        unsafe impl BoxRet for $name {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> BorrowedDatum<'fcx> {
                // SAFETY: the caller promises that the types match.
                unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0)) }
            }
        }
    };
}

number! {
    /// An `oid`; 0 is the database of shared relations, for one.
    PgOid, "oid", OIDOID
}

number! {
    /// An `xid`; 0 is no transaction, as pg_waldump shows it.
    PgXid, "xid", XIDOID
}
