-- The functions. Those in C are in src/sql/.
--
-- Every operator here gets operands of exactly its own types, and every body
-- is parsed now: no operator or function that someone else has put into the
-- schema can take the place of what is meant.

CREATE FUNCTION garbage_summary(
    rel regclass,
    OUT rangeno int,
    OUT freespace bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_all_visible bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'garbage_summary_wrapper';

COMMENT ON FUNCTION garbage_summary(regclass) IS
    'garbage per garbagemap.summary_size blocks, by reading the table';

CREATE FUNCTION gs(
    rel regclass,
    OUT rangeno int,
    OUT freespace bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_all_visible bigint,
    OUT dead_tuple_ratio numeric)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT s.rangeno, s.freespace, s.n_tuples, s.n_dead_tuples, s.n_all_visible,
           (s.n_dead_tuples::numeric / nullif(s.n_tuples, 0)::numeric)::numeric(10,2)
    FROM garbage_summary(rel) AS s;
END;

COMMENT ON FUNCTION gs(regclass) IS
    'garbage_summary with the share of dead tuples in each range';

CREATE FUNCTION gs_rank(
    rel regclass,
    OUT rownum bigint,
    OUT percent_blocks numeric,
    OUT rangeno int,
    OUT freespace bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_all_visible bigint,
    OUT dead_tuple_ratio numeric,
    OUT percent numeric)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT row_number() OVER (ORDER BY g.n_dead_tuples DESC, g.rangeno),
           (percent_rank() OVER (ORDER BY g.n_dead_tuples DESC)
            * 100::double precision)::numeric(10,2),
           g.rangeno, g.freespace, g.n_tuples, g.n_dead_tuples, g.n_all_visible,
           g.dead_tuple_ratio,
           (sum(g.n_dead_tuples) OVER (ORDER BY g.n_dead_tuples DESC) * 100::numeric
            / nullif(sum(g.n_dead_tuples) OVER (), 0::numeric))::numeric(10,2)
    FROM gs(rel) AS g
    ORDER BY g.n_dead_tuples DESC, g.rangeno;
END;

COMMENT ON FUNCTION gs_rank(regclass) IS
    'ranges by dead tuples, most first, with the cumulated share';

CREATE FUNCTION garbage_map(
    rel regclass,
    range_blocks int DEFAULT NULL,
    OUT rangeno bigint,
    OUT start_block bigint,
    OUT end_block bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_dead_items bigint,
    OUT n_all_visible bigint,
    OUT freespace bigint,
    OUT exact boolean)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_map_wrapper';

COMMENT ON FUNCTION garbage_map(regclass, int) IS
    'garbage per block range, from the live map; the table is not read';

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

CREATE FUNCTION garbage_map_totals(
    rel oid,
    OUT blocks bigint,
    OUT n_tuples bigint,
    OUT n_dead_tuples bigint,
    OUT n_dead_items bigint,
    OUT exact boolean,
    OUT inexact_blocks bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'garbage_map_totals_wrapper';

COMMENT ON FUNCTION garbage_map_totals(oid) IS
    'implementation of the view garbage_tables';

CREATE FUNCTION garbage_map_status(
    OUT range_blocks bigint,
    OUT relations bigint,
    OUT known_blocks bigint,
    OUT garbage_blocks bigint,
    OUT n_dead_tuples bigint,
    OUT n_dead_items bigint,
    OUT pending_transactions bigint,
    OUT memory_used bigint,
    OUT memory_limit bigint,
    OUT degraded_relations bigint,
    OUT map_bytes bigint,
    OUT map_pages bigint,
    OUT map_pages_used bigint,
    OUT overflowed_relations bigint,
    OUT applied_lsn pg_lsn,
    OUT state_lsn pg_lsn,
    OUT state_saved_at timestamptz,
    OUT state_writes bigint,
    OUT state_bytes bigint,
    OUT state_write_longest_ms double precision,
    OUT images_checked bigint,
    OUT image_mismatches bigint,
    OUT unknown_records bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'garbage_map_status_wrapper';

COMMENT ON FUNCTION garbage_map_status() IS
    'implementation of the view garbage_status';

CREATE FUNCTION garbage_base_scan(rel regclass)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'garbage_base_scan_wrapper';

COMMENT ON FUNCTION garbage_base_scan(regclass) IS
    'learn the blocks of a table that the live map does not know';

CREATE FUNCTION garbage_base_scan()
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'garbage_base_scan_all_wrapper';

COMMENT ON FUNCTION garbage_base_scan() IS
    'learn the blocks of all tables of this database that the live map does not know';

CREATE FUNCTION garbage_base_scan_progress_rows(
    OUT pid int,
    OUT datid oid,
    OUT relid oid,
    OUT blocks_total bigint,
    OUT blocks_done bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'garbage_base_scan_progress_rows_wrapper';

COMMENT ON FUNCTION garbage_base_scan_progress_rows() IS
    'implementation of the view garbage_base_scan_progress';

CREATE FUNCTION garbage_map_horizon(
    rel oid,
    OUT n_removable bigint,
    OUT n_kept bigint,
    OUT n_uncertain bigint,
    OUT horizon xid)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'garbage_map_horizon_wrapper';

COMMENT ON FUNCTION garbage_map_horizon(oid) IS
    'implementation of the view garbage_horizon';

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
