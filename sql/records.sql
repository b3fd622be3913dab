-- Records as pg_walinspect lists them, with their content as JSON.
CREATE FUNCTION walker_records(
    start_lsn pg_lsn,
    end_lsn pg_lsn,
    rmgr text DEFAULT NULL,
    relation regclass DEFAULT NULL,
    OUT start_lsn pg_lsn,
    OUT end_lsn pg_lsn,
    OUT prev_lsn pg_lsn,
    OUT xid xid,
    OUT rmgr text,
    OUT record_type text,
    OUT length int,
    OUT fpi_length int,
    OUT blocks jsonb,
    OUT data jsonb)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'walker_records_wrapper';

COMMENT ON FUNCTION walker_records(pg_lsn, pg_lsn, text, regclass) IS
    'the WAL records between two positions, decoded';

REVOKE ALL ON FUNCTION walker_records(pg_lsn, pg_lsn, text, regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION walker_records(pg_lsn, pg_lsn, text, regclass)
    TO pg_read_server_files;
