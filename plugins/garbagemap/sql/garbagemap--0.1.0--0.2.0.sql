\echo Use "ALTER EXTENSION garbagemap UPDATE" to load this file. \quit

CREATE PROCEDURE garbage_prune(
    rel regclass,
    max_pages bigint DEFAULT NULL,
    max_time interval DEFAULT NULL,
    min_dead int DEFAULT 1,
    INOUT pages_visited bigint DEFAULT NULL,
    INOUT pages_pruned bigint DEFAULT NULL,
    INOUT tuples_removed bigint DEFAULT NULL,
    INOUT bytes_freed bigint DEFAULT NULL,
    INOUT pages_held bigint DEFAULT NULL,
    INOUT pages_busy bigint DEFAULT NULL,
    INOUT stopped_by text DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'garbage_prune_wrapper';

COMMENT ON PROCEDURE garbage_prune IS
    'free the space of dead tuples in the ranges that the live map names, most first';

DROP FUNCTION garbage_verify(regclass);

CREATE FUNCTION garbage_verify(
    rel regclass,
    OUT rangeno bigint,
    OUT start_block bigint,
    OUT end_block bigint,
    OUT map_dead bigint,
    OUT scan_dead bigint,
    OUT map_items bigint,
    OUT scan_items bigint,
    OUT map_tuples bigint,
    OUT scan_tuples bigint,
    OUT exact boolean)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_verify_wrapper';

COMMENT ON FUNCTION garbage_verify(regclass) IS
    'ranges in which the live map and the table differ; writers and what walker_wait has not seen make differences';

REVOKE ALL ON FUNCTION garbage_verify(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_verify(regclass) TO pg_stat_scan_tables;

-- What a temporary table holds only its own process sees.
ALTER FUNCTION garbage_summary(regclass) PARALLEL RESTRICTED;
ALTER FUNCTION gs(regclass) PARALLEL RESTRICTED;
ALTER FUNCTION gs_rank(regclass) PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION garbage_base_scan()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'garbage_base_scan_all_wrapper';

CREATE FUNCTION garbage_prune_progress_rows(
    OUT pid int,
    OUT datid oid,
    OUT relid oid,
    OUT ranges_total bigint,
    OUT ranges_done bigint,
    OUT pages_visited bigint,
    OUT pages_pruned bigint,
    OUT tuples_removed bigint,
    OUT bytes_freed bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'garbage_prune_progress_rows_wrapper';

COMMENT ON FUNCTION garbage_prune_progress_rows() IS
    'implementation of the view garbage_prune_progress';

CREATE FUNCTION garbage_map_counters(
    rel oid,
    OUT dead_by_delete bigint,
    OUT dead_by_update bigint,
    OUT dead_by_abort bigint,
    OUT removed_by_pruning bigint,
    OUT removed_by_vacuum bigint,
    OUT hot_updates bigint,
    OUT other_updates bigint,
    OUT all_visible_lost bigint,
    OUT created_per_second_5m double precision,
    OUT removed_per_second_5m double precision,
    OUT created_per_second_1h double precision,
    OUT removed_per_second_1h double precision)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'garbage_map_counters_wrapper';

COMMENT ON FUNCTION garbage_map_counters(oid) IS
    'implementation of the view garbage_counters';

CREATE FUNCTION garbage_map_facts(
    rel oid,
    OUT blocks bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_dead_items bigint,
    OUT known_share double precision,
    OUT share_in_1_percent double precision,
    OUT share_in_5_percent double precision,
    OUT share_in_20_percent double precision,
    OUT ranges bigint,
    OUT prune_ranges bigint,
    OUT prune_min_dead bigint,
    OUT prune_dead bigint,
    OUT pages_to_vacuum bigint,
    OUT tuple_bytes bigint,
    OUT analyzed boolean,
    OUT tail_blocks bigint,
    OUT tail_tuples bigint,
    OUT n_undated bigint,
    OUT undated_xid xid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'garbage_map_facts_wrapper';

COMMENT ON FUNCTION garbage_map_facts(oid) IS
    'implementation of the view garbage_candidates';

CREATE VIEW garbage_prune_progress AS
    SELECT p.pid, p.datid, d.datname, p.relid, p.ranges_total, p.ranges_done,
           p.pages_visited, p.pages_pruned, p.tuples_removed, p.bytes_freed
    FROM garbage_prune_progress_rows() AS p
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = p.datid;

COMMENT ON VIEW garbage_prune_progress IS 'one row per running garbage_prune';

CREATE VIEW garbage_counters AS
    SELECT c.oid::pg_catalog.regclass AS relid, n.*
    FROM pg_catalog.pg_class AS c
         CROSS JOIN LATERAL garbage_map_counters(c.oid) AS n
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm', 't']::"char"[])
      AND c.relpersistence OPERATOR(pg_catalog.=) 'p';

COMMENT ON VIEW garbage_counters IS
    'how dead tuples came and went, per table, counted once whatever crashes; and how fast';

GRANT EXECUTE ON PROCEDURE garbage_prune TO PUBLIC;

REVOKE ALL ON FUNCTION garbage_prune_progress_rows() FROM PUBLIC;
REVOKE ALL ON garbage_prune_progress FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_prune_progress_rows() TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_prune_progress TO pg_stat_scan_tables, pg_read_all_stats;

REVOKE ALL ON FUNCTION garbage_map_counters(oid) FROM PUBLIC;
REVOKE ALL ON garbage_counters FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map_counters(oid) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_counters TO pg_stat_scan_tables, pg_read_all_stats;

-- A running VACUUM holds nothing back.
CREATE OR REPLACE VIEW garbage_horizon AS
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

-- What to do about each table's garbage, and why.
--
-- One recommendation per table, the first that holds of:
--   release   most of what is dead is needed by somebody, who is named
--   vacuum    autovacuum's own threshold is passed, or the end of the table is
--             empty and VACUUM would cut it off
--   prune     less than that, but close together: garbage_prune gets it
--             without reading the rest of the table or an index
--   rewrite   half of the table or more is room that nobody uses, and live
--             tuples at its end keep VACUUM from cutting it off
--   nothing   none of these, or too little is known

CREATE VIEW garbage_candidates AS
    WITH facts AS (
        SELECT c.oid AS relid, c.oid::pg_catalog.regclass::text AS name,
               c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AS catalog,
               f.*, f.n_dead_tuples * f.tuple_bytes AS dead_bytes,
               f.n_dead_tuples + f.n_dead_items AS n_garbage,
               a.threshold, a.enabled, m.oid AS toast_of,
               n.created_per_second_5m, n.removed_per_second_5m,
               n.created_per_second_1h, n.removed_per_second_1h,
               coalesce(h.n_removable, 0::bigint) AS n_removable,
               coalesce(h.n_kept, 0::bigint) AS n_kept,
               -- How old those are that pages or a saved state told of nobody knows.
               coalesce(h.n_kept - CASE
                   WHEN pg_catalog.age(f.undated_xid) <= pg_catalog.age(h.horizon)
                       THEN least(h.n_kept, f.n_undated)
                   ELSE 0 END, 0::bigint) AS n_surely_kept,
               h.held_by, h.holder, h.holder_pid, h.holder_age
        FROM pg_catalog.pg_class AS c
             CROSS JOIN LATERAL garbage_map_facts(c.oid) AS f
             LEFT JOIN LATERAL garbage_map_counters(c.oid) AS n ON true
             LEFT JOIN garbage_horizon AS h ON h.relid::pg_catalog.oid = c.oid
             -- As autovacuum reckons: a TOAST table without options of its own
             -- goes by those of its table.
             LEFT JOIN pg_catalog.pg_class AS m ON c.relkind = 't' AND m.reltoastrelid = c.oid
             CROSS JOIN LATERAL (
                 SELECT pg_catalog.max(o.option_value)
                            FILTER (WHERE o.option_name = 'autovacuum_enabled') AS enabled,
                        pg_catalog.max(o.option_value)
                            FILTER (WHERE o.option_name = 'autovacuum_vacuum_threshold') AS base,
                        pg_catalog.max(o.option_value)
                            FILTER (WHERE o.option_name = 'autovacuum_vacuum_scale_factor') AS scale,
                        pg_catalog.max(o.option_value)
                            FILTER (WHERE o.option_name = 'autovacuum_vacuum_max_threshold') AS most
                 FROM pg_catalog.pg_options_to_table(coalesce(c.reloptions, m.reloptions)) AS o
             ) AS o
             CROSS JOIN LATERAL (
                 SELECT coalesce(o.base, pg_catalog.current_setting('autovacuum_vacuum_threshold'))::double precision AS base,
                        coalesce(o.scale, pg_catalog.current_setting('autovacuum_vacuum_scale_factor'))::double precision AS scale,
                        nullif(coalesce(o.most, pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true), '-1'), '-1')::double precision AS most
             ) AS s
             CROSS JOIN LATERAL (
                 SELECT least(s.base + s.scale * greatest(c.reltuples, 0::real)::double precision,
                              s.most, 9e18::double precision)::bigint AS threshold,
                        coalesce(o.enabled, 'true')::boolean
                            AND pg_catalog.current_setting('autovacuum')::boolean AS enabled
             ) AS a
        WHERE c.relkind = ANY (ARRAY['r', 'm', 't']::"char"[])
          AND c.relpersistence = 'p'
    ), judged AS (
        SELECT f.*,
               -- Else 0 would only mean that nothing is known.
               f.known_share > 0::double precision OR f.n_garbage > 0 OR f.blocks = 0 AS known,
               CASE
                   WHEN f.n_garbage > f.threshold
                        AND f.n_surely_kept * 2 > f.n_removable + f.n_kept
                        AND f.held_by IS NOT NULL THEN 'release'
                   WHEN f.n_garbage > f.threshold THEN 'vacuum'
                   WHEN f.tail_tuples = 0 AND f.tail_blocks >= 1000
                        AND f.tail_blocks * 2 >= f.blocks THEN 'vacuum'
                   WHEN NOT f.catalog AND f.n_removable * f.tuple_bytes >= 65536
                        AND f.n_removable >= f.n_kept
                        AND f.share_in_20_percent >= 0.6::double precision THEN 'prune'
                   WHEN f.tail_tuples > 0 AND f.tail_blocks >= 1000
                        AND f.tail_blocks * 2 >= f.blocks THEN 'rewrite'
                   ELSE 'nothing'
               END AS recommendation,
               CASE
                   WHEN f.n_garbage > f.threshold THEN '0'::interval
                   WHEN f.created_per_second_5m - f.removed_per_second_5m > 0.001::double precision
                       THEN pg_catalog.make_interval(secs => least(1e8::double precision,
                            (f.threshold - f.n_garbage)::double precision
                            / (f.created_per_second_5m - f.removed_per_second_5m)))
               END AS threshold_in
        FROM facts AS f
    )
    SELECT j.relid::pg_catalog.regclass AS relid,
           j.recommendation,
           CASE j.recommendation
               WHEN 'release' THEN pg_catalog.format(
                   '%s of %s dead tuples are needed by %s %s, which is %s transactions old; until it ends no VACUUM can remove them',
                   j.n_surely_kept, j.n_dead_tuples, j.held_by, j.holder, j.holder_age)
               WHEN 'vacuum' THEN CASE
                   WHEN j.n_garbage > j.threshold THEN pg_catalog.format(
                       '%s dead tuples (about %s) and %s dead line pointers are past autovacuum''s threshold of %s%s; VACUUM visits %s of %s pages',
                       j.n_dead_tuples, pg_catalog.pg_size_pretty(j.dead_bytes), j.n_dead_items,
                       j.threshold,
                       CASE WHEN j.enabled THEN '' ELSE ', and autovacuum is off' END,
                       j.pages_to_vacuum, j.blocks)
                   ELSE pg_catalog.format(
                       'the last %s of %s pages hold no live tuple; VACUUM gives %s back to the file system',
                       j.tail_blocks, j.blocks, pg_catalog.pg_size_pretty(j.tail_blocks * 8192))
               END
               WHEN 'prune' THEN pg_catalog.format(
                   '%s%% of %s dead tuples (about %s) are in %s of %s ranges; pruning them reads no index, VACUUM visits %s pages%s',
                   j.prune_dead * 100 / j.n_dead_tuples,
                   j.n_dead_tuples, pg_catalog.pg_size_pretty(j.dead_bytes), j.prune_ranges,
                   j.ranges, j.pages_to_vacuum,
                   CASE
                       WHEN NOT j.enabled THEN ' and autovacuum is off'
                       WHEN j.threshold_in IS NULL THEN ' and autovacuum is not due in sight'
                       WHEN j.threshold_in < '1 min'::interval THEN ' and autovacuum is due within a minute at this rate'
                       ELSE pg_catalog.format(' and autovacuum is due in %s at this rate', pg_catalog.date_trunc('minute', j.threshold_in))
                   END)
               WHEN 'rewrite' THEN pg_catalog.format(
                   'live tuples would fill %s of %s pages; the last ranges hold %s of them, so VACUUM cannot cut off %s. VACUUM FULL locks the table',
                   j.blocks - j.tail_blocks, j.blocks, j.tail_tuples,
                   pg_catalog.pg_size_pretty(j.tail_blocks * 8192))
               ELSE CASE
                   WHEN j.known_share < 0.5::double precision THEN pg_catalog.format(
                       'only %s%% of its pages are known; they become known as they are written, or by a base scan',
                       pg_catalog.floor(j.known_share * 100::double precision))
                   WHEN j.n_garbage = 0 THEN 'no garbage is known'
                   ELSE pg_catalog.format(
                       '%s dead tuples and %s dead line pointers are below autovacuum''s threshold of %s, and %s',
                       j.n_dead_tuples, j.n_dead_items, j.threshold,
                       CASE WHEN j.n_surely_kept * 2 > j.n_removable + j.n_kept THEN 'most may not go yet'
                            WHEN j.n_kept > j.n_removable THEN 'how many may not go yet is not known'
                            ELSE 'too few or too far apart to prune' END)
               END
           END || coalesce(' (TOAST table of ' || j.toast_of::pg_catalog.regclass::text || ')', '') AS reason,
           CASE j.recommendation
               WHEN 'release' THEN CASE j.held_by
                   WHEN 'backend' THEN pg_catalog.format('SELECT pg_catalog.pg_terminate_backend(%s)', j.holder_pid)
                   WHEN 'prepared transaction' THEN pg_catalog.format('ROLLBACK PREPARED %L', j.holder)
                   WHEN 'replication slot' THEN pg_catalog.format('SELECT pg_catalog.pg_drop_replication_slot(%L)', j.holder)
               END
               -- TRUNCATE, for the table may have it off.
               WHEN 'vacuum' THEN pg_catalog.format('VACUUM %s%s',
                   CASE WHEN j.n_garbage <= j.threshold THEN '(TRUNCATE) ' ELSE '' END, j.name)
               WHEN 'prune' THEN pg_catalog.format('CALL %s.garbage_prune(%L::pg_catalog.regclass, min_dead => %s)', '@extschema@', j.name, j.prune_min_dead)
               WHEN 'rewrite' THEN pg_catalog.format('VACUUM FULL %s', j.name)
               ELSE CASE WHEN j.known_share < 0.5::double precision
                   THEN pg_catalog.format('SELECT %s.garbage_base_scan(%L::pg_catalog.regclass)', '@extschema@', j.name) END
           END AS command,
           j.blocks, j.n_tuples,
           CASE WHEN j.known THEN j.n_dead_tuples END AS n_dead_tuples,
           CASE WHEN j.known THEN j.n_dead_items END AS n_dead_items,
           CASE WHEN j.known THEN j.dead_bytes END AS dead_bytes,
           CASE WHEN j.known_share < 1::double precision THEN 'at least'
                WHEN j.analyzed THEN 'good' ELSE 'fair' END AS dead_bytes_quality,
           j.known_share,
           j.share_in_1_percent, j.share_in_5_percent, j.share_in_20_percent,
           j.pages_to_vacuum,
           j.created_per_second_5m, j.removed_per_second_5m,
           j.created_per_second_1h, j.removed_per_second_1h,
           j.threshold AS autovacuum_threshold,
           CASE WHEN j.enabled THEN j.threshold_in END AS autovacuum_in,
           CASE WHEN j.known THEN j.n_removable END AS n_removable,
           CASE WHEN j.known THEN j.n_kept END AS n_kept,
           j.held_by, j.holder,
           j.tail_blocks, j.tail_tuples
    FROM judged AS j
    ORDER BY j.recommendation = 'nothing', j.dead_bytes + j.n_dead_items * 4 DESC, j.relid;

COMMENT ON VIEW garbage_candidates IS
    'what to do about each table''s garbage, and why: worst first';

REVOKE ALL ON FUNCTION garbage_map_facts(oid) FROM PUBLIC;
REVOKE ALL ON garbage_candidates FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_map_facts(oid) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT SELECT ON garbage_candidates TO pg_stat_scan_tables, pg_read_all_stats;

-- Pictures of the map, and who may see them: whoever may read the map.

CREATE FUNCTION garbage_heatmap(rel regclass, width int DEFAULT 900, height int DEFAULT 500)
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_heatmap_wrapper';

COMMENT ON FUNCTION garbage_heatmap(regclass, int, int) IS
    'SVG: the blocks of a table, dark where the dead tuples are, hatched where nothing is known';

CREATE FUNCTION garbage_histogram(rel regclass, width int DEFAULT 900, height int DEFAULT 500)
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_histogram_wrapper';

COMMENT ON FUNCTION garbage_histogram(regclass, int, int) IS
    'SVG: dead tuples by block range';

CREATE FUNCTION garbage_sorted_histogram(rel regclass, width int DEFAULT 900, height int DEFAULT 500)
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_sorted_histogram_wrapper';

COMMENT ON FUNCTION garbage_sorted_histogram(regclass, int, int) IS
    'SVG: dead tuples by block range, most first, with the cumulative share';

CREATE FUNCTION garbage_bar(rel regclass, width int DEFAULT 60)
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_bar_wrapper';

COMMENT ON FUNCTION garbage_bar(regclass, int) IS
    'the map of a table in one line of text';

CREATE FUNCTION garbage_report()
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'garbage_report_wrapper';

COMMENT ON FUNCTION garbage_report() IS
    'HTML: the tables of this database by garbage, what holds it back, and how the walker is doing';

REVOKE ALL ON FUNCTION garbage_heatmap(regclass, int, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_histogram(regclass, int, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_sorted_histogram(regclass, int, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_bar(regclass, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION garbage_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION garbage_heatmap(regclass, int, int) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION garbage_histogram(regclass, int, int) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION garbage_sorted_histogram(regclass, int, int) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION garbage_bar(regclass, int) TO pg_stat_scan_tables, pg_read_all_stats;
GRANT EXECUTE ON FUNCTION garbage_report() TO pg_stat_scan_tables, pg_read_all_stats;
