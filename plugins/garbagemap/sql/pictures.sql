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
