-- The views.

CREATE VIEW garbage_tables AS
    SELECT c.oid::pg_catalog.regclass AS relid,
           t.blocks, t.n_tuples, t.n_dead_tuples, t.n_dead_items, t.exact, t.inexact_blocks
    FROM pg_catalog.pg_class AS c
         CROSS JOIN LATERAL garbage_map_totals(c.oid) AS t
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm', 't']::"char"[])
      AND c.relpersistence OPERATOR(pg_catalog.=) 'p'
    ORDER BY t.n_dead_tuples DESC NULLS LAST, t.blocks DESC, c.oid;

COMMENT ON VIEW garbage_tables IS
    'garbage per table of this database, from the live map, most first';

CREATE VIEW garbage_status AS
    SELECT s.*, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.state_saved_at AS state_age
    FROM garbage_map_status() AS s;

COMMENT ON VIEW garbage_status IS 'how the live map itself is doing';

CREATE VIEW garbage_base_scan_progress AS
    SELECT p.pid, p.datid, d.datname, p.relid, p.blocks_total, p.blocks_done
    FROM garbage_base_scan_progress_rows() AS p
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = p.datid;

COMMENT ON VIEW garbage_base_scan_progress IS 'one row per running garbage_base_scan';
