\echo Use "ALTER EXTENSION walker UPDATE" to load this file. \quit

-- Nothing else has changed but the library.
COMMENT ON FUNCTION walker_status() IS 'implementation of the view walker_status';
COMMENT ON FUNCTION walker_plugins() IS 'implementation of the view walker_plugins';
COMMENT ON FUNCTION walker_rmgr_stats() IS 'implementation of the view walker_rmgr_stats';
COMMENT ON FUNCTION walker_wait(pg_lsn, interval) IS
    'have WAL up to a position written, and wait until plugins have seen it; false on timeout';
COMMENT ON FUNCTION walker_restart() IS 'lift quarantines and restart the walker';
