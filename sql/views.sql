-- Views over the functions of the same names, and who may use them.

CREATE VIEW walker_status AS SELECT * FROM walker_status();
CREATE VIEW walker_plugins AS SELECT * FROM walker_plugins();
CREATE VIEW walker_rmgr_stats AS SELECT * FROM walker_rmgr_stats();

COMMENT ON VIEW walker_status IS 'one row about the walker background worker';
COMMENT ON VIEW walker_plugins IS 'one row per plugin in walker.plugins';
COMMENT ON VIEW walker_rmgr_stats IS 'WAL read so far, by resource manager';

COMMENT ON FUNCTION walker_status() IS 'implementation of the view walker_status';
COMMENT ON FUNCTION walker_plugins() IS 'implementation of the view walker_plugins';
COMMENT ON FUNCTION walker_rmgr_stats() IS 'implementation of the view walker_rmgr_stats';
COMMENT ON FUNCTION walker_wait(pg_lsn, interval) IS
    'have WAL up to a position written, and wait until plugins have seen it; false on timeout';
COMMENT ON FUNCTION walker_restart() IS 'lift quarantines and restart the walker';

REVOKE ALL ON FUNCTION walker_status() FROM PUBLIC;
REVOKE ALL ON FUNCTION walker_plugins() FROM PUBLIC;
REVOKE ALL ON FUNCTION walker_rmgr_stats() FROM PUBLIC;
REVOKE ALL ON FUNCTION walker_wait(pg_lsn, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION walker_restart() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION walker_status() TO pg_monitor;
GRANT EXECUTE ON FUNCTION walker_plugins() TO pg_monitor;
GRANT EXECUTE ON FUNCTION walker_rmgr_stats() TO pg_monitor;
GRANT EXECUTE ON FUNCTION walker_wait(pg_lsn, interval) TO pg_monitor;
GRANT SELECT ON walker_status, walker_plugins, walker_rmgr_stats TO pg_monitor;
