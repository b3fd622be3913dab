//! A function's result set, row by row.
//!
//! Rows go into the server's tuplestore, which spills to disk beyond
//! `work_mem`: the result of a large table costs the session no memory.

use crate::compat;
use pgrx::pg_sys::{self, Datum};

/// The result set of the function being called.
pub struct Rows {
    info: *mut pg_sys::ReturnSetInfo,
}

impl Rows {
    /// # Safety
    /// `fcinfo` must be the call being executed, of a function that returns a
    /// set of rows.
    pub unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Rows {
        // SAFETY: the caller's promise. It raises an error unless resultinfo
        // is a ReturnSetInfo that accepts a tuplestore.
        unsafe { compat::init_result_set(fcinfo) };
        // SAFETY: so it is one.
        let info = unsafe { (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>() };
        Rows { info }
    }

    /// How many columns the function was declared with.
    pub fn columns(&self) -> usize {
        // SAFETY: setDesc was set by `of`.
        unsafe { (*(*self.info).setDesc).natts as usize }
    }

    /// Add a row. There must be a value or NULL for each column.
    pub fn add<const N: usize>(&mut self, columns: [Option<Datum>; N]) {
        let mut values = columns.map(|c| c.unwrap_or(Datum::from(0)));
        let mut nulls = columns.map(|c| c.is_none());
        // SAFETY: setResult and setDesc were set by `of`. tuplestore_putvalues
        // reads natts values, which the assertion compares with ours.
        unsafe {
            let desc = (*self.info).setDesc;
            assert_eq!((*desc).natts, N as i32, "wrong number of columns");
            pg_sys::tuplestore_putvalues(
                (*self.info).setResult,
                desc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }
}

/// A count as `bigint`.
pub fn bigint(n: u64) -> Option<Datum> {
    Some(Datum::from(i64::try_from(n).unwrap_or(i64::MAX)))
}

/// A truth value.
pub fn boolean(b: bool) -> Option<Datum> {
    Some(Datum::from(b))
}
