-- The views.

-- A relation is found by the files it has now. The OIDs of another database
-- mean nothing here, and what was dropped has no name any more.
CREATE VIEW wal_by_relation AS
    SELECT c.oid::pg_catalog.regclass AS relid,
           r.kind, r.relfilenode, r.reltablespace, r.reldatabase,
           r.rmgr, r.record_type, r.records, r.bytes, r.fpi_bytes, r.aborted_bytes
    FROM wal_by_relation_rows() AS r
         CROSS JOIN (SELECT d.oid, d.dattablespace FROM pg_catalog.pg_database AS d
                     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS here
         LEFT JOIN pg_catalog.pg_class AS c
             ON pg_catalog.pg_relation_filenode(c.oid) OPERATOR(pg_catalog.=) r.relfilenode
            AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
            AND r.reldatabase OPERATOR(pg_catalog.=)
                CASE WHEN c.relisshared THEN 0::oid ELSE here.oid END
            AND r.reltablespace OPERATOR(pg_catalog.=)
                CASE WHEN c.reltablespace OPERATOR(pg_catalog.=) 0::oid
                     THEN here.dattablespace ELSE c.reltablespace END
    ORDER BY r.bytes DESC, r.reldatabase, r.relfilenode, r.rmgr, r.record_type;

COMMENT ON VIEW wal_by_relation IS
    'WAL by relation, resource manager and record type, most bytes first';

CREATE VIEW walstat_status AS
    SELECT * FROM walstat_status_row();

COMMENT ON VIEW walstat_status IS 'from where to where WAL is counted, and how that is doing';
