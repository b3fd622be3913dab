-- The functions. They are written in Rust, see src/sql.rs.

CREATE FUNCTION wal_by_relation_rows(
    OUT kind text,
    OUT reltablespace oid,
    OUT reldatabase oid,
    OUT relfilenode oid,
    OUT rmgr text,
    OUT record_type text,
    OUT records bigint,
    OUT bytes bigint,
    OUT fpi_bytes bigint,
    OUT aborted_bytes bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'wal_by_relation_rows_wrapper';

COMMENT ON FUNCTION wal_by_relation_rows() IS
    'implementation of the view wal_by_relation';

CREATE FUNCTION walstat_status_row(
    OUT counted_from_lsn pg_lsn,
    OUT applied_lsn pg_lsn,
    OUT state_lsn pg_lsn,
    OUT entries bigint,
    OUT max_entries bigint,
    OUT open_transactions bigint,
    OUT untracked_bytes bigint,
    OUT gaps bigint,
    OUT malformed_records bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'walstat_status_row_wrapper';

COMMENT ON FUNCTION walstat_status_row() IS
    'implementation of the view walstat_status';

CREATE FUNCTION walstat_reset()
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'walstat_reset_wrapper';

COMMENT ON FUNCTION walstat_reset() IS
    'ask the walker to set the counters of wal_by_relation to zero';
