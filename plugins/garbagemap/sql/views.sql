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

CREATE VIEW garbage_prune_progress AS
    SELECT p.pid, p.datid, d.datname, p.relid, p.ranges_total, p.ranges_done,
           p.pages_visited, p.pages_pruned, p.tuples_removed, p.bytes_freed
    FROM garbage_prune_progress_rows() AS p
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = p.datid;

COMMENT ON VIEW garbage_prune_progress IS 'one row per running garbage_prune';

-- What keeps garbage from being removed: whoever holds the oldest transaction
-- that concerns the table. Snapshots of other databases concern shared tables
-- only, a slot's catalog_xmin concerns catalogs only. A running VACUUM does not
-- count, and mostly its snapshot is older than the horizon. Of equals the one is
-- named whose own transaction it is: the others look back to that.
CREATE VIEW garbage_horizon AS
    WITH holders AS (
        SELECT 'backend'::text AS kind, a.pid::text AS name, a.pid, x.xmin, x.own,
               a.datid, false AS catalogs_only
        FROM pg_catalog.pg_stat_activity AS a,
             LATERAL (VALUES (a.backend_xmin, false), (a.backend_xid, true)) AS x (xmin, own)
        -- Whose session it is decides who sees its type, but all see its horizon.
        WHERE a.pid <> pg_catalog.pg_backend_pid()
          AND a.backend_type IS DISTINCT FROM 'walsender'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
        UNION ALL
        SELECT 'prepared transaction', p.gid, NULL, p.transaction, true, d.oid, false
        FROM pg_catalog.pg_prepared_xacts AS p
        JOIN pg_catalog.pg_database AS d ON d.datname = p.database
        UNION ALL
        SELECT 'replication slot', s.slot_name::text, s.active_pid, s.xmin, true, NULL, false
        FROM pg_catalog.pg_replication_slots AS s
        UNION ALL
        SELECT 'replication slot', s.slot_name::text, s.active_pid, s.catalog_xmin, true, NULL, true
        FROM pg_catalog.pg_replication_slots AS s
        UNION ALL
        SELECT 'standby feedback', r.application_name, r.pid, r.backend_xmin, true, NULL, false
        FROM pg_catalog.pg_stat_replication AS r
    )
    SELECT c.oid::pg_catalog.regclass AS relid,
           h.n_removable + h.n_kept AS n_dead_tuples,
           h.n_removable, h.n_kept, h.n_uncertain, h.horizon,
           o.kind AS held_by, o.name AS holder, o.pid AS holder_pid,
           o.xmin AS holder_xmin, pg_catalog.age(o.xmin) AS holder_age
    FROM pg_catalog.pg_class AS c
         CROSS JOIN LATERAL garbage_map_horizon(c.oid) AS h
         LEFT JOIN LATERAL (
             SELECT q.kind, q.name, q.pid, q.xmin
             FROM holders AS q
             WHERE h.n_kept > 0 AND q.xmin IS NOT NULL
               AND pg_catalog.age(q.xmin) <= pg_catalog.age(h.horizon)
               AND (q.datid IS NULL OR c.relisshared OR q.datid = (
                       SELECT d.oid FROM pg_catalog.pg_database AS d
                       WHERE d.datname = pg_catalog.current_database()))
               AND (NOT q.catalogs_only OR c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid)
             ORDER BY pg_catalog.age(q.xmin) DESC, q.own DESC
             LIMIT 1
         ) AS o ON true
    WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p'
    ORDER BY h.n_kept DESC, h.n_removable DESC, c.oid;

COMMENT ON VIEW garbage_horizon IS
    'dead tuples a vacuum may remove now, those it may not, and who holds them back';

CREATE VIEW garbage_counters AS
    SELECT c.oid::pg_catalog.regclass AS relid, n.*
    FROM pg_catalog.pg_class AS c
         CROSS JOIN LATERAL garbage_map_counters(c.oid) AS n
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm', 't']::"char"[])
      AND c.relpersistence OPERATOR(pg_catalog.=) 'p';

COMMENT ON VIEW garbage_counters IS
    'how dead tuples came and went, per table, counted once whatever crashes; and how fast';
