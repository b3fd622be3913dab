#!/usr/bin/env bash
# What walker costs, side by side with whoever else does that work: one table.
#
# usage: scripts/bench.sh [SERVER...]     15 and 18r (a release build of 18)
#   BENCH_QUICK=1       a tenth of the sizes: a few minutes, rough figures
#   BENCH_ROUNDS=5      how often each walk is measured
#   BENCH_TABLES="1 4"  GB of the tables that are scanned
#   BENCH_PARTS="walk"  only these parts: walk others hard tables prune tps lag idle plugins
#                       pure instructions
#   BENCH_WORKLOADS="pgbench mix;bulk load"   only these walks
#   BENCH_SHORT=1       of the walks only pg_waldump's and walker's own two
#   BENCH_KEEP=1        write the table into docs/performance.md as well
#   WALKER_TEST_DIR=/tmp  where clusters are made: three times the size of the largest
#                       table are needed, 4 GB at least
# A part that fails is named in the table; the others are measured, and it fails then.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
[ $# -gt 0 ] || set -- 15 18r
if [ -n "${BENCH_KEEP:-}" ] && [ -n "${BENCH_PARTS:-}${BENCH_QUICK:-}${BENCH_WORKLOADS:-}${BENCH_SHORT:-}" ]; then
  die "BENCH_KEEP keeps a whole table: not one of BENCH_PARTS, BENCH_QUICK, BENCH_WORKLOADS or BENCH_SHORT"
fi
# Nothing is expected to take so long; a slow machine is no failure.
export WALKER_TEST_TIMEOUT=${WALKER_TEST_TIMEOUT:-600}

# Half an hour is too long to find out.
has_room() {
  local dir=$1 needed=$2 have
  mkdir -p "$dir"
  have=$(df --output=avail -BG "$dir" | tail -n 1 | tr -dc 0-9)
  [ "$have" -ge "$needed" ] || die "$dir has $have GB left, and $needed are needed
hint: BENCH_TABLES=1, BENCH_QUICK=1, or another WALKER_TEST_DIR or WALKER_CACHE"
}
sizes=${BENCH_TABLES:-1 4} kept=$(($# * 6))
if [ -n "${BENCH_QUICK:-}" ]; then sizes=${BENCH_TABLES:-1} kept=$#; fi
case " ${BENCH_PARTS:-tables} " in *" tables "*) ;; *) sizes=1 kept=$# ;; esac
[ ! -d "$WALKER_CACHE/bench" ] || kept=1
# shellcheck disable=SC2086
largest=$(printf '%s\n' $sizes | sort -g | tail -n 1)
scratch=$(awk -v size="$largest" 'BEGIN { print int(size * 3 > 4 ? size * 3 : 4) }')
has_room "${WALKER_TEST_DIR:-/tmp}" "$scratch"
has_room "$WALKER_CACHE/bench" "$kept"
# What fails here is not looked at in its cluster, and the space is needed.
export WALKER_TEST_KEEP=0

scripts/setup.sh "$@"
. scripts/env.sh
say "building the bench"
cargo build --quiet --release -p walker-bench --bin walker-bench
bench=$CARGO_TARGET_DIR/release/walker-bench
out=$CARGO_TARGET_DIR/bench
mkdir -p "$out"

# What is measured is what was installed.
built() { cat "$("$1" --pkglibdir)"/{walker,garbagemap,walstat}.so | sha256sum; }

results=() failed=
for server in "$@"; do
  pg_config=$(pg_config_of "$server")
  scripts/install.sh install "$pg_config" release
  sum=$(built "$pg_config")
  # The pure parts have nothing to do with a server: measure them once.
  parts=${BENCH_PARTS:-walk others hard tables prune tps lag idle plugins instructions}
  [ -n "${BENCH_PARTS:-}" ] || [ "$server" != "${!#}" ] || parts+=" pure"
  case " $parts " in
    # Without it they are not counted.
    *" instructions "*) command -v valgrind >/dev/null || scripts/setup.sh valgrind || true ;;
  esac
  say "PostgreSQL $server: $parts"
  # shellcheck disable=SC2086
  rm -f "$out/$server.json"
  WALKER_PG_CONFIG=$pg_config WALKER_PG_MAJOR=${server%r} "$bench" run "$out/$server.json" $parts ||
    failed+=" $server"
  [ ! -e "$out/$server.json" ] || results+=("$out/$server.json")
  [ "$sum" = "$(built "$pg_config")" ] ||
    die "another walker was installed into PostgreSQL $server while this one was measured
hint: nothing else may use $(dirname "$(dirname "$pg_config")") meanwhile, make check neither"
done
[ ${#results[@]} != 0 ] || die "nothing was measured"
page=$out/result.md
"$bench" report "$page" "$out/result.json" "${results[@]}"
if [ -n "${BENCH_KEEP:-}" ] && [ -z "$failed" ]; then
  awk -v page="$page" '
    /^<!-- end of the table -->/ { inside = 0 }
    !inside { print }
    /^<!-- the table/ { inside = 1; while ((getline line < page) > 0) print line }
  ' docs/performance.md >"$out/performance.md"
  cp "$out/performance.md" docs/performance.md
fi
say "the table is in $page, all figures in $out/result.json"
[ -z "$failed" ] || die "not all could be measured on PostgreSQL$failed: see above"
