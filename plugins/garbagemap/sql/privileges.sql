-- Where in a table the hot spots are is nobody's business by default. The
-- functions check the same roles themselves; see src/privilege.rs.

REVOKE ALL ON FUNCTION garbage_summary(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION gs(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION gs_rank(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_verify(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_summary(regclass) TO pg_stat_scan_tables;
GRANT EXECUTE ON FUNCTION gs(regclass) TO pg_stat_scan_tables;
GRANT EXECUTE ON FUNCTION gs_rank(regclass) TO pg_stat_scan_tables;
GRANT EXECUTE ON FUNCTION garbage_verify(regclass) TO pg_stat_scan_tables;

REVOKE ALL ON FUNCTION garbage_map(regclass, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_map_totals(oid) FROM PUBLIC;
REVOKE ALL ON garbage_tables FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map(regclass, int) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION garbage_map_totals(oid) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_tables TO pg_stat_scan_tables, pg_read_all_stats;

REVOKE ALL ON FUNCTION garbage_map_status() FROM PUBLIC;
REVOKE ALL ON garbage_status FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map_status() TO pg_monitor;
GRANT SELECT ON garbage_status TO pg_monitor;

REVOKE ALL ON FUNCTION garbage_base_scan(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_base_scan() FROM PUBLIC;

REVOKE ALL ON FUNCTION garbage_base_scan_progress_rows() FROM PUBLIC;
REVOKE ALL ON garbage_base_scan_progress FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_base_scan_progress_rows()
    TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_base_scan_progress TO pg_stat_scan_tables, pg_read_all_stats;

REVOKE ALL ON FUNCTION garbage_map_horizon(oid) FROM PUBLIC;
REVOKE ALL ON garbage_horizon FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map_horizon(oid) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_horizon TO pg_stat_scan_tables, pg_read_all_stats;

-- As the server's own maintenance functions (gin_clean_pending_list): anybody
-- may call it, and it lets those through who may VACUUM the table.
GRANT EXECUTE ON PROCEDURE garbage_prune TO PUBLIC;

REVOKE ALL ON FUNCTION garbage_prune_progress_rows() FROM PUBLIC;
REVOKE ALL ON garbage_prune_progress FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_prune_progress_rows() TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_prune_progress TO pg_stat_scan_tables, pg_read_all_stats;

REVOKE ALL ON FUNCTION garbage_map_counters(oid) FROM PUBLIC;
REVOKE ALL ON garbage_counters FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map_counters(oid) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_counters TO pg_stat_scan_tables, pg_read_all_stats;
