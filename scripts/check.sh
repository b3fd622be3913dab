#!/usr/bin/env bash
# What must hold before a change goes in: style, lints, the pure crates' own
# tests, then, on each server, the tests on real clusters.
#
# usage: scripts/check.sh [MAJOR...]        all four if none is given
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
[ $# -gt 0 ] || set -- 15 16 17 18
pure=(-p walker-wal -p walker-state -p garbagemap-core -p garbagemap-picture -p walstat-core)

began=$SECONDS
step() { say "[$((SECONDS - began)) s] $*"; }

step "setting up PostgreSQL $*"
scripts/setup.sh "$@"
. scripts/env.sh

step "formatting"
cargo fmt --all --check

step "lints and tests of the pure crates"
cargo clippy "${pure[@]}" -p walker-tests --all-targets -- -D warnings
cargo clippy -p walker-bench -- -D warnings
cargo test "${pure[@]}"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps "${pure[@]}"

step "fuzzing the pure crates, briefly"
scripts/fuzz.sh "${WALKER_FUZZ:-5}"

# Says again at the very end what failed: the logs of the servers, which come
# first, are long.
results=$CARGO_TARGET_DIR/check.log
: >"$results"
summary() {
  say "what failed"
  grep -E -A 12 "panicked at|^test .* FAILED|^error" "$results" | grep -v -E " (LOG|STATEMENT|DETAIL):  " | tail -n 60 >&2
}

# The last server is tried with everything, and so is each if there are but
# one or two. The others are tried with what depends on the major version: the
# records and the numbers, and on the oldest what goes wrong around them.
numbers=(--lib --test main_job --test records --test records_text --test scenarios
  --test histories --test base_scan --test crash --test prune --test counters)
oldest=(--test state --test timelines --test retention --test end_of_wal --test no_contrecord
  --test allocation --test resources --test security
  --test sql_errors --test upgrade --test contract --test generic_wal --test plugins
  --test monitoring --test packages --test readme)
tests_of() {
  local first=$1 last=${!#} major=$2
  [ $# -gt 4 ] && [ "$major" != "$last" ] || return 0
  echo "${numbers[@]}"
  [ "$major" != "$first" ] || echo "${oldest[@]}"
}

failed=()
for major in "$@"; do
  pg_config=$(pg_config_of "$major")
  step "PostgreSQL $major: lints"
  cargo clippy -p walker -p garbagemap -p walstat -p walker-plugin -p message_log \
    -p rust_misdeeds --no-default-features --features "pg$major" -- -D warnings
  step "PostgreSQL $major: build and install"
  scripts/install.sh install "$pg_config" dev
  read -r -a which -d '' < <(tests_of "$1" "$major" "$@") || true
  step "PostgreSQL $major: tests on real clusters"
  # pg_upgrade is tried from 17, if that was set up before. (Debian's 15 has
  # changes of its own that no other server can take over.)
  old=
  [ "$major" != 18 ] || [[ " $* " != *" 17 "* ]] || old=$(pg_config_of 17)
  WALKER_PG_CONFIG=$pg_config WALKER_PG_MAJOR=$major WALKER_OLD_PG_CONFIG=$old \
    WALKER_MONITORING=$WALKER_CACHE/monitoring/usr/bin \
    cargo test -p walker-tests --no-fail-fast "${which[@]}" -- --test-threads=1 2>&1 |
    tee -a "$results" || failed+=("$major")
done

if [ ${#failed[@]} != 0 ]; then
  summary
  die "tests failed on PostgreSQL ${failed[*]}"
fi
step "all is well on PostgreSQL $*"
