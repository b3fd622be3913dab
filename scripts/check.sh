#!/usr/bin/env bash
# What must hold before a change goes in: style, lints, on each server the tests on
# real clusters, and beside them the pure crates' own tests.
#
# usage: scripts/check.sh [MAJOR...]        all four if none is given
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
[ $# -gt 0 ] || set -- 15 16 17 18
first=$1
# What may be set for one server must not stand for all.
unset PGRX_PG_CONFIG_PATH
pure=(-p walker-wal -p walker-state -p garbagemap-core -p garbagemap-picture -p walstat-core)

began=$SECONDS
step() { say "[$((SECONDS - began)) s] $*"; }

step "setting up PostgreSQL $1"
scripts/setup.sh tests "$1"
. scripts/env.sh
work=$CARGO_TARGET_DIR/check logs=$CARGO_TARGET_DIR/check/logs
rm -rf "$work"
mkdir -p "$logs"

# The server, the lints, the build and its installation; or something that is no
# server.
prepare() {
  case "$1" in
    pure)
      cargo clippy "${pure[@]}" -p walker-tests --all-targets -- -D warnings &&
        cargo test "${pure[@]}" &&
        RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps "${pure[@]}"
      return
      ;;
    bench)
      cargo clippy -p walker-bench --all-targets -- -D warnings &&
        cargo test --quiet -p walker-bench --lib
      return
      ;;
    fuzzing)
      scripts/fuzz.sh "${WALKER_FUZZ:-5}"
      return
      ;;
  esac
  # The first is there; and in the background, the others may be under way.
  { [ "$1" = "$first" ] || scripts/setup.sh "$1"; } &&
    cargo clippy -p walker -p garbagemap -p walstat -p walker-plugin -p message_log \
      -p rust_misdeeds --no-default-features --features "pg$1" -- -D warnings &&
    scripts/install.sh install "$(pg_config_of "$1")" dev
}

# Meanwhile the next servers are prepared, and at last the pure crates are linted,
# tested and fuzzed and the bench is looked at, all of which gives way to the tests.
# The servers themselves come first, for of cargo only one can run in a place, and
# the tests of the first server wait for that. A file tells how each ended.
prepare_rest() {
  local what
  # Should one fail, it fails again where it is wanted.
  [ -z "$rest" ] || scripts/setup.sh $rest >"$work/servers.log" 2>&1 || true
  # Who waits for us may have been killed meanwhile.
  until [ -s "$work/programs" ]; do
    kill -0 "$PPID" 2>/dev/null || return
    sleep 1
  done
  for what in $rest pure bench fuzzing; do
    if prepare "$what" >"$work/$what.log" 2>&1; then
      echo well >"$work/$what.end"
    else
      echo badly >"$work/$what.end"
      return
    fi
  done
}
prepared() {
  local told=
  until [ -e "$work/$1.end" ]; do
    if ! kill -0 "$preparing" 2>/dev/null && [ ! -e "$work/$1.end" ]; then
      at_most 0
      summary
      die "the preparation was given up before $1"
    fi
    [ -n "$told" ] || step "waiting for $1"
    told=1
    sleep 1
    reap
  done
  [ "$(cat "$work/$1.end")" = well ] && return 0
  at_most 0
  tail -n 100 "$work/$1.log" >&2
  summary
  die "$1 did not go well"
}

step "formatting"
cargo fmt --all --check

# The last server is tried with everything, and so is each if there are but
# one or two. The others are tried with what depends on the major version: the
# records and the numbers, and on the oldest what goes wrong around them.
numbers=(walker_tests main_job in_place records records_text scenarios
  histories base_scan crash restart copies prune counters)
oldest=(state timelines retention end_of_wal no_contrecord
  allocation resources security
  sql_errors contract generic_wal plugins
  monitoring packages readme)
tests_of() {
  local first=$1 last=${!#} major=$2
  [ $# -gt 4 ] && [ "$major" != "$last" ] || return 0
  echo "${numbers[@]}"
  [ "$major" != "$first" ] || echo "${oldest[@]}"
}

# The test programs, a line each: name and path. They are run directly and not
# by cargo, whose lock the next preparation may hold for minutes.
build_tests() {
  cargo test -p walker-tests --no-run --message-format=json |
    sed -n 's/.*"target":{"kind":[^}]*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' | sort
}

# What tests did not do, because something is missing here, is said at the end.
export WALKER_SKIPPED=$work/skipped
: >"$WALKER_SKIPPED"

# They look at the clock, with a second to spare: nothing else runs beside them but
# what is prepared.
alone=(main_job in_the_way)

# The server's own suite, where there is its source and `make check-long`.
suite_of() {
  local tree=$WALKER_CACHE/src/$1/tree
  [ -z "${WALKER_SUITE:-}" ] || [ ! -d "$tree" ] || echo "$tree"
}

# Tests wait most of their time, so two programs run at a time, each with
# clusters of its own. What one printed is shown in one piece when it has ended;
# that it began is said at once, in case it never ends.
declare -A running=()
failed=()
begin() {
  local major=$1 name=$2 program=$3 old='' suite
  # pg_upgrade is tried from 17, if that was set up before. (Debian's 15 has
  # changes of its own that no other server can take over.)
  [ "$major" != 18 ] || [[ " ${majors[*]} " != *" 17 "* ]] || old=$(pg_config_of 17)
  suite=$(suite_of "$major")
  step "PostgreSQL $major: $name begins"
  (
    cd tests
    export WALKER_PG_CONFIG WALKER_PG_MAJOR=$major WALKER_OLD_PG_CONFIG=$old
    WALKER_PG_CONFIG=$(pg_config_of "$major")
    export WALKER_MONITORING=$WALKER_CACHE/monitoring/usr/bin
    unset WALKER_REGRESSION
    # What runs in the background would ignore them.
    trap - INT QUIT
    [ -z "$suite" ] || export WALKER_REGRESSION=$suite
    exec "$program" --test-threads=1 </dev/null >"$logs/$major.$name" 2>&1
  ) &
  running[$!]="$major $name $SECONDS"
}
# Shows those that have ended.
reap() {
  local pid end major name since
  for pid in "${!running[@]}"; do
    ! kill -0 "$pid" 2>/dev/null || continue
    end=0
    wait "$pid" || end=$?
    read -r major name since <<<"${running[$pid]}"
    unset "running[$pid]"
    [ "$end" = 0 ] || failed+=("$major.$name")
    step "PostgreSQL $major: $name took $((SECONDS - since)) s"
    cat "$logs/$major.$name" || true
  done
}
# Waits until at most so many run.
at_most() {
  reap
  while [ ${#running[@]} -gt "$1" ]; do
    sleep 0.2
    reap
  done
}
# Says again at the very end what failed: the logs of the servers, which come
# first, are long.
summary() {
  [ ${#failed[@]} != 0 ] || return 0
  say "what failed: ${failed[*]}"
  (cd "$logs" && grep -E -A 12 "panicked at|^test .* FAILED|^error" "${failed[@]}") |
    grep -v -E " (LOG|STATEMENT|DETAIL):  " | tail -n 60 >&2 || true
}

majors=("$@")
# In a process group of its own, so that all of it ends with us. That is a session
# of its own, too, which Linux may give half of the time however nice it is.
setsid nice -n 19 bash -c "$(declare -f prepare prepare_rest; declare -p pure first)
  echo 19 2>/dev/null >/proc/self/autogroup || true
  . scripts/env.sh
  work='$work' rest='${*:2}' prepare_rest" &
preparing=$!
# Before its time: of what is left running the end is shown.
leave() {
  local pid major name since
  for pid in "${!running[@]}"; do
    read -r major name since <<<"${running[$pid]}"
    say "PostgreSQL $major: $name is given up after $((SECONDS - since)) s"
    tail -n 100 "$logs/$major.$name" >&2
  done
  kill -- "-$preparing" "${!running[@]}" 2>/dev/null || true
}
trap leave EXIT
step "PostgreSQL $1: lints, build and install"
prepare "$1"
step "building the tests"
build_tests >"$work/programs.new"
[ -s "$work/programs.new" ] || die "there are no tests"
mv "$work/programs.new" "$work/programs"
for major in "$@"; do
  [ "$major" = "$1" ] || prepared "$major"
  read -r -a which -d '' < <(tests_of "$1" "$major" "$@") || true
  [ ${#which[@]} = 0 ] || [ -z "$(suite_of "$major")" ] || which+=(regression server_tap)
  ran=0
  # Not by a pipe: what is begun is to be waited for here.
  while read -r name program <&3; do
    [ ${#which[@]} = 0 ] || [[ " ${which[*]} " == *" $name "* ]] || continue
    if [[ " ${alone[*]} " == *" $name "* ]]; then
      at_most 0
      begin "$major" "$name" "$program"
      at_most 0
    else
      at_most 1
      begin "$major" "$name" "$program"
    fi
    ran=$((ran + 1))
  done 3<"$work/programs"
  [ ${#which[@]} = 0 ] || [ "$ran" = ${#which[@]} ] || die "$ran of ${#which[@]} tests were found: ${which[*]}"
done
at_most 0

[ -e "$work/fuzzing.end" ] || step "the pure crates, the bench, fuzzing"
prepared pure
cat "$work/pure.log"
prepared bench
prepared fuzzing
grep "fuzzed" "$work/fuzzing.log" >&2
if [ ${#failed[@]} != 0 ]; then
  summary
  die "tests failed on PostgreSQL ${failed[*]}"
fi
sort -u "$WALKER_SKIPPED" | sed 's/^/   skipped: /' >&2
step "all is well on PostgreSQL $*"
