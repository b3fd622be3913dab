#!/usr/bin/env bash
# A scratch cluster with walker, real traffic, and what the garbage map shows.
#
# usage: scripts/demo.sh start|stop [MAJOR]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

action=${1:-start}
major=${2:-15}
pg_config=$(pg_config_of "$major")
# PostgreSQL does not run as root, and a socket's path has to be short.
demo=${TMPDIR:-/tmp}/walker-demo-$(id -u)/$major
owner=()
[ "$(id -u)" != 0 ] || owner=(runuser -u postgres --)

run() { (cd / && LC_ALL=C "${owner[@]}" "$bin/$1" "${@:2}"); }
sql() { run psql -X -q -h "$demo" -U postgres -d demo -v ON_ERROR_STOP=1 "$@"; }
bench() { run pgbench -h "$demo" -U postgres "$@" demo >>"$demo/pgbench.log" 2>&1; }

stop() {
  server_runs "$demo/data" || return 0
  run pg_ctl -D "$demo/data" -m immediate stop >/dev/null 2>&1 || true
}

cluster() {
  stop
  rm -rf "$demo"
  mkdir -p "$demo"
  [ "$(id -u)" != 0 ] || chown postgres "$demo"
  run initdb -D "$demo/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$demo/initdb.log"
  cat >>"$demo/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$demo'
max_wal_size = '4GB'
shared_buffers = '256MB'
shared_preload_libraries = 'walker'
walker.plugins = 'garbagemap'
EOF
  run pg_ctl -D "$demo/data" -l "$demo/server.log" -w -s start ||
    { tail -n 20 "$demo/server.log" >&2; die "the server did not start, see $demo/server.log"; }
  run createdb -h "$demo" -U postgres demo
  sql -c 'CREATE EXTENSION walker' -c 'CREATE EXTENSION garbagemap'
  ! contrib || sql -c 'CREATE EXTENSION pgstattuple'
}

contrib() { [ -e "$("$pg_config" --sharedir)/extension/pgstattuple.control" ]; }

# Updates that favour some rows, inserts, rollbacks and deletes.
traffic() {
  cat >"$demo/favoured.sql" <<'EOF'
\set aid random_gaussian(1, 100000 * :scale, 20)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, now());
END;
EOF
  cat >"$demo/rollback.sql" <<'EOF'
\set aid random_exponential(1, 100000 * :scale, 20)
BEGIN;
UPDATE pgbench_accounts SET abalance = 0, filler = 'undone' WHERE aid BETWEEN :aid AND :aid + 20;
ROLLBACK;
EOF
  bench -n -c 4 -j 2 -T 4 -b tpcb-like@2 -f "$demo/favoured.sql@6" -f "$demo/rollback.sql@1"
}

caught_up() {
  [ "$(sql -A -t -c "SELECT walker_wait(pg_current_wal_insert_lsn(), '30 s')")" = t ] ||
    die "walker is behind, see walker_status"
}

map() {
  caught_up
  local colour=0 width=64
  if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then colour=1; fi
  sql -A -t -F ' ' -c "
    SELECT rangeno, start_block, coalesce(n_tuples, 0),
           coalesce(n_dead_tuples, 0), exact
    FROM garbage_map('$1') ORDER BY rangeno" |
    awk -v colour="$colour" -v width="$width" -f scripts/demo-map.awk
}

# The independent truth: a full scan of every heap of the database. Reading the
# catalogs prunes them, so the first answer may be older than the second.
proof() {
  local attempt
  for attempt in 1 2 3 4 5; do
    proof_once >"$demo/proof"
    grep -q DIFFERENT "$demo/proof" || break
  done
  cat "$demo/proof"
}

proof_once() {
  local scan='pgstattuple(c.oid::regclass)' column=dead_tuple_count note=pgstattuple
  caught_up
  if ! contrib; then
    # garbage_verify lists only what differs.
    scan="(SELECT m.dead + coalesce(sum(scan_dead - map_dead), 0) AS n
           FROM garbage_verify(c.oid::regclass))"
    column=n note="garbage_verify (this server has no pgstattuple)"
  fi
  sql -P "title=Dead tuples by the map, and by a scan with $note" -P footer=off -c "
    WITH counted AS MATERIALIZED (
      SELECT c.oid, c.relname, m.dead AS map, m.exact, s.$column AS scan
      FROM pg_class c
      JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap',
      LATERAL (SELECT coalesce(sum(n_dead_tuples), 0), coalesce(bool_and(exact), true)
               FROM garbage_map(c.oid::regclass)) m (dead, exact),
      LATERAL $scan s
      WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p')
    SELECT relname AS relation, map, scan, CASE WHEN map = scan THEN 'equal' ELSE 'DIFFERENT' END AS verdict
    FROM counted WHERE relname LIKE 'pgbench%'
    UNION ALL
    SELECT format('all %s heap relations, %s of them exact', count(*), count(*) FILTER (WHERE exact)),
           sum(map) FILTER (WHERE exact), sum(scan) FILTER (WHERE exact),
           CASE WHEN bool_and(map = scan) FILTER (WHERE exact) THEN 'equal' ELSE 'DIFFERENT' END
    FROM counted"
}

start() {
  scripts/setup.sh "$major"
  . scripts/env.sh
  scripts/install.sh install "$pg_config" dev >/dev/null

  say "a PostgreSQL $major of its own in $demo"
  cluster
  say "pgbench: 500,000 accounts, then updates, inserts and rollbacks for 4 seconds"
  bench -i -q -s 5
  traffic
  sql -c 'DELETE FROM pgbench_accounts WHERE aid BETWEEN 400000 AND 430000'
  caught_up
  say "what walker has read"
  sql -x -c 'SELECT * FROM walker_status'
  say "tables by garbage"
  sql -c 'SELECT * FROM garbage_tables LIMIT 6'
  say "where the garbage is: pgbench_accounts, one cell per 32 blocks"
  map pgbench_accounts
  proof
  say "VACUUM pgbench_accounts, then 4 seconds of traffic"
  sql -c 'VACUUM pgbench_accounts'
  traffic
  map pgbench_accounts
  proof
  caught_up
  sql -A -t -c 'SELECT garbage_report()' >"$demo/report.html"
  cat <<EOF

look:     $demo/report.html (the whole database, in a browser)
connect:  $bin/psql -h $demo -U postgres demo
try:      SELECT * FROM garbage_map('pgbench_accounts') ORDER BY n_dead_tuples DESC LIMIT 5;
stop:     make demo-stop PG=$major
EOF
}

bin=$([ ! -x "$pg_config" ] || "$pg_config" --bindir)
case "$action" in
  start)
    bin=${bin:-$(dirname "$pg_config")}
    start
    ;;
  stop)
    stop
    rm -rf "$demo"
    ;;
  *) die "usage: scripts/demo.sh start|stop [MAJOR]" ;;
esac
