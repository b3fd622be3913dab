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
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
[ $# -gt 0 ] || set -- 15 18r
if [ -n "${BENCH_KEEP:-}" ] && [ -n "${BENCH_PARTS:-}${BENCH_QUICK:-}${BENCH_WORKLOADS:-}${BENCH_SHORT:-}" ]; then
  die "BENCH_KEEP keeps a whole table: not one of BENCH_PARTS, BENCH_QUICK, BENCH_WORKLOADS or BENCH_SHORT"
fi
# Nothing is expected to take so long; a slow machine is no failure.
export WALKER_TEST_TIMEOUT=${WALKER_TEST_TIMEOUT:-600}

scripts/setup.sh "$@"
. scripts/env.sh
say "building the bench"
cargo build --quiet --release -p walker-bench --bin walker-bench
bench=$CARGO_TARGET_DIR/release/walker-bench
out=$CARGO_TARGET_DIR/bench
mkdir -p "$out"

results=()
for server in "$@"; do
  pg_config=$(pg_config_of "$server")
  scripts/install.sh install "$pg_config" release
  # The pure parts have nothing to do with a server: measure them once.
  parts=${BENCH_PARTS:-walk others hard tables prune tps lag idle plugins instructions}
  [ -n "${BENCH_PARTS:-}" ] || [ "$server" != "${!#}" ] || parts+=" pure"
  case " $parts " in
    # Without it they are not counted.
    *" instructions "*) command -v valgrind >/dev/null || scripts/setup.sh valgrind || true ;;
  esac
  say "PostgreSQL $server: $parts"
  # shellcheck disable=SC2086
  WALKER_PG_CONFIG=$pg_config WALKER_PG_MAJOR=${server%r} "$bench" run "$out/$server.json" $parts
  results+=("$out/$server.json")
done
page=$out/result.md
"$bench" report "$page" "$out/result.json" "${results[@]}"
if [ -n "${BENCH_KEEP:-}" ]; then
  awk -v page="$page" '
    /^<!-- end of the table -->/ { inside = 0 }
    !inside { print }
    /^<!-- the table/ { inside = 1; while ((getline line < page) > 0) print line }
  ' docs/performance.md >"$out/performance.md"
  cp "$out/performance.md" docs/performance.md
fi
say "the table is in $page, all figures in $out/result.json"
