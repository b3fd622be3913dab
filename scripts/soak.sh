#!/usr/bin/env bash
# A long run: pgbench traffic with rollbacks, deletes, vacuum and checkpoints,
# and how the worker fares: memory, lag, state written, wake-ups. At the end
# the map of every table must equal a scan.
#
# usage: scripts/soak.sh [MAJOR]        15 if none is given
#   MINUTES=30   how long
#   CLIENTS=4    sessions of pgbench
#   RATE=0       transactions per second to aim at, 0 for as many as there are
#   SCALE=10     of pgbench's tables
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

major=${1:-15}
minutes=${MINUTES:-30} clients=${CLIENTS:-4} rate=${RATE:-0} scale=${SCALE:-10}
pg_config=${WALKER_PG_CONFIG:-$(pg_config_of "$major")}
bin=$("$pg_config" --bindir)
soak=${TMPDIR:-/tmp}/walker-soak-$(id -u)
owner=()
[ "$(id -u)" != 0 ] || owner=(runuser -u postgres --)

run() { (cd / && LC_ALL=C "${owner[@]}" "$bin/$1" "${@:2}"); }
sql() { run psql -X -q -A -t -h "$soak" -U postgres -d postgres -v ON_ERROR_STOP=1 "$@"; }

stop() {
  [ -z "${traffic:-}" ] || kill "$traffic" 2>/dev/null || true
  ! server_runs "$soak/data" || run pg_ctl -D "$soak/data" -m immediate -s stop || true
}
trap stop EXIT

stop
rm -rf "$soak"
mkdir -p "$soak"
[ "$(id -u)" != 0 ] || chown postgres "$soak"
run initdb -D "$soak/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$soak/initdb.log"
cat >>"$soak/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$soak'
shared_buffers = '256MB'
checkpoint_timeout = '1min'
max_wal_size = '1GB'
autovacuum_naptime = '10s'
shared_preload_libraries = 'walker'
walker.plugins = 'garbagemap'
EOF
run pg_ctl -D "$soak/data" -l "$soak/server.log" -w -s start || die "see $soak/server.log"
sql -c 'CREATE EXTENSION walker' -c 'CREATE EXTENSION garbagemap'
run pgbench -i -q -s "$scale" -h "$soak" -U postgres postgres >>"$soak/pgbench.log" 2>&1
cat >"$soak/rollback.sql" <<'EOF'
\set aid random(1, 100000 * :scale)
BEGIN;
UPDATE pgbench_accounts SET abalance = 0, filler = 'undone' WHERE aid BETWEEN :aid AND :aid + 20;
ROLLBACK;
EOF
cat >"$soak/delete.sql" <<'EOF'
\set aid random(1, 100000 * :scale)
BEGIN;
DELETE FROM pgbench_accounts WHERE aid = :aid;
DELETE FROM pgbench_history WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgbench_history LIMIT 20));
COMMIT;
INSERT INTO pgbench_accounts VALUES (:aid, 1, 0, 'again') ON CONFLICT DO NOTHING;
EOF

pid() { sql -c 'SELECT pid FROM walker_status'; }
anon() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status"; }
switches() { awk '/^voluntary/ { print $2 }' "/proc/$1/status"; }
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

seconds=$((minutes * 60))
worker=$(pid)
[ -n "$worker" ] || die "the worker does not run, see $soak/server.log"
first_switches=$(switches "$worker") first_cpu=$(cpu "$worker") first_lsn=$(sql -c 'SELECT pg_current_wal_lsn()')
options=(-n -c "$clients" -j 2 -T "$seconds" --max-tries=100 -h "$soak" -U postgres)
[ "$rate" = 0 ] || options+=(-R "$rate")
run pgbench "${options[@]}" -b tpcb-like@8 -f "$soak/rollback.sql@1" -f "$soak/delete.sql@1" postgres \
  >"$soak/traffic.log" 2>&1 &
traffic=$!

say "soaking for $minutes minutes on PostgreSQL $major"
began=$SECONDS
: >"$soak/samples"
while kill -0 "$traffic" 2>/dev/null; do
  # How long what is flushed takes to be applied, and how far behind it is.
  sql -F ' ' -c "
    WITH t AS MATERIALIZED (SELECT clock_timestamp() AS t0, pg_current_wal_flush_lsn() AS lsn,
                                   (SELECT lag_bytes FROM walker_status) AS behind),
         w AS MATERIALIZED (SELECT t0, behind, walker_wait(lsn, '60 s') AS ok FROM t)
    SELECT round(extract(epoch FROM clock_timestamp() - t0) * 1000, 3), behind, ok FROM w" \
    >"$soak/sample" || die "the server does not answer, see $soak/server.log"
  now=$(pid)
  [ -z "$now" ] || worker=$now
  echo "$((SECONDS - began)) $(anon "$worker") $(cat "$soak/sample")" >>"$soak/samples"
  sleep 1
done
wait "$traffic" || die "pgbench failed, see $soak/traffic.log"
traffic=
took=$((SECONDS - began))
load_switches=$(($(switches "$worker") - first_switches)) load_cpu=$(($(cpu "$worker") - first_cpu))
wal=$(sql -c "SELECT pg_size_pretty(pg_current_wal_lsn() - '$first_lsn')")

# At rest: nothing but the last checkpoint and autovacuum may wake it.
rest=$((minutes > 2 ? 60 : 10))
sql -c "ALTER SYSTEM SET autovacuum = off" -c "SELECT pg_reload_conf()" -c "CHECKPOINT" >/dev/null
sleep 3
rest_switches=$(switches "$worker")
sleep "$rest"
rest_switches=$(($(switches "$worker") - rest_switches))

reached=$(sql -c "SELECT walker_wait(pg_current_wal_insert_lsn(), '60 s')")
different=$(sql -c "SELECT count(*) FROM pg_class c, LATERAL garbage_verify(c.oid) v
  WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p' AND v.exact")
inexact=$(sql -c "SELECT count(*) FROM garbage_tables WHERE NOT exact AND relid >= 16384")

column_of() { awk -v n="$1" '{ print $n }' "$soak/samples" | sort -n; }
percentile() { column_of "$1" | awk -v p="$2" '{ a[NR] = $1 } END { i = int(NR * p / 100 + 0.5); if (i < 1) i = 1; print a[i] }'; }
after_start=$(awk -v t="$((took / 10))" '$1 >= t { print $2; exit }' "$soak/samples")
row() { printf '%-34s %s\n' "$1" "$2"; }

echo
row "PostgreSQL, minutes, clients" "$("$bin/postgres" --version | sed 's/.*) //'), $minutes, $clients"
row "transactions per second" "$(awk '/^tps = / { printf "%.0f", $3 }' "$soak/traffic.log")"
row "WAL" "$wal"
row "lag, ms: p50, p99, max" "$(percentile 3 50), $(percentile 3 99), $(percentile 3 100)"
row "lag, bytes: p50, p99, max" "$(percentile 4 50), $(percentile 4 99), $(percentile 4 100)"
row "private memory, kB: 10 %, end, max" "$after_start, $(tail -n 1 "$soak/samples" | cut -d ' ' -f 2), $(percentile 2 100)"
row "CPU of the worker, % of a core" "$((load_cpu * 100 / $(getconf CLK_TCK) / took))"
row "wake-ups per second: load, rest" "$((load_switches / took)), $(awk -v n="$rest_switches" -v s="$rest" 'BEGIN { printf "%.1f", n / s }')"
row "state: writes, bytes, longest ms" "$(sql -F ', ' -c 'SELECT state_writes, state_bytes, state_write_longest_ms FROM garbage_status')"
row "restarts, gaps, last error" "$(sql -F ', ' -c "SELECT restarts, gaps, coalesce(last_error, 'none') FROM walker_status")"
row "image checks, mismatches" "$(sql -F ', ' -c 'SELECT images_checked, image_mismatches FROM garbage_status')"
row "ranges that differ, tables inexact" "$different, $inexact"
[ "$reached" = t ] || die "walker did not catch up, see $soak"
[ "$different" = 0 ] || die "the map is wrong, see $soak"
[ "$inexact" = 0 ] || die "$inexact tables are not known, see $soak"
lost=$(sql -c "SELECT restarts + gaps + image_mismatches FROM walker_status, garbage_status")
[ "$lost" = 0 ] || die "restarts, gaps or mismatches, see $soak"
[ "$(grep -E ' (ERROR|PANIC):' "$soak/server.log" | grep -vc 'canceling autovacuum task')" = 0 ] || die "errors in $soak/server.log"
run pg_ctl -D "$soak/data" -m fast -s stop
rm -rf "$soak"
