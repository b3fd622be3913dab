\echo Use "CREATE EXTENSION rmgr_counter" to load this file. \quit

CREATE FUNCTION rmgr_counts() RETURNS bigint[]
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL SAFE;

CREATE VIEW rmgr_counter AS
SELECT rm_id, rm_name, counts[rm_id + 1] AS records
FROM pg_get_wal_resource_managers(), rmgr_counts() AS counts
WHERE counts[rm_id + 1] > 0;
