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
