#!/usr/bin/env bash
# Fuzz what reads bytes nobody vouches for, each target for some seconds. What
# was found before is tried first: the corpus is kept in the cache.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
seconds=${1:-60}
shift || true
[ $# -gt 0 ] || set -- wal_record ledger_records ledger_state state_file

if ! command -v cargo-fuzz >/dev/null; then
  say "building cargo-fuzz"
  CARGO_TARGET_DIR=$WALKER_CACHE/build-tools cargo install cargo-fuzz \
    --version =0.13.2 --locked --root "$WALKER_CACHE/tools" >>"$WALKER_CACHE/setup.log" 2>&1 ||
    { tail -n 20 "$WALKER_CACHE/setup.log" >&2; die "cargo-fuzz could not be built"; }
  rm -rf "$WALKER_CACHE/build-tools"
  PATH=$WALKER_CACHE/tools/bin:$PATH
fi

# Instrumentation is what a stable compiler keeps to itself; there is no unsafe
# code in these crates for a sanitizer to look after.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$CARGO_TARGET_DIR/fuzz
log=$CARGO_TARGET_DIR/fuzz.log
mkdir -p "$CARGO_TARGET_DIR"
for target in "$@"; do
  corpus=$WALKER_CACHE/fuzz/$target
  mkdir -p "$corpus"
  if ! cargo fuzz run --sanitizer none --fuzz-dir fuzz "$target" "$corpus" -- \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -verbosity=0 \
    -print_final_stats=1 >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    die "fuzzing found something in $target
hint: the input is named above; cargo fuzz run $target FILE repeats it"
  fi
  say "fuzzed $target for $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
done
