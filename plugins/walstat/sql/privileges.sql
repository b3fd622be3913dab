-- How much which table writes is nobody's business by default. The functions
-- check the same roles themselves; see src/sql.rs.

REVOKE ALL ON FUNCTION wal_by_relation_rows() FROM PUBLIC;
REVOKE ALL ON FUNCTION walstat_status_row() FROM PUBLIC;
REVOKE ALL ON FUNCTION walstat_reset() FROM PUBLIC;
REVOKE ALL ON wal_by_relation, walstat_status FROM PUBLIC;

GRANT EXECUTE ON FUNCTION wal_by_relation_rows() TO pg_monitor;
GRANT EXECUTE ON FUNCTION walstat_status_row() TO pg_monitor;
GRANT SELECT ON wal_by_relation, walstat_status TO pg_monitor;
