#!/usr/bin/env bash
# Counts the instructions of the pure parts' cases under callgrind and compares
# them with bench/instructions.txt. Needs no server. Unlike times the counts
# are the same on a busy machine.
#
# usage: scripts/bench-check.sh
#   TOLERANCE=2   per cent by which a count may be larger
#   ACCEPT=1      write the counts down as those to compare with
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
scripts/setup.sh valgrind

tolerance=${TOLERANCE:-2} file=bench/instructions.txt
say "building the cases"
cargo build --quiet --release -p walker-bench --bin pure-case
case=$CARGO_TARGET_DIR/release/pure-case
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
  echo "# Instructions of each case, and per record or range: scripts/bench-check.sh"
  echo "# $(rustc --version | cut -d ' ' -f 1,2), $(uname -m)"
  "$case" | while read -r name units; do
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect='pure_case::measured*' \
      --callgrind-out-file="$work/$name" "$case" "$name" >"$work/log" 2>&1 ||
      { cat "$work/log" >&2; die "callgrind failed on case $name"; }
    count=$(sed -n 's/^\(summary\|totals\): *//p' "$work/$name" | head -n 1)
    [ "${count:-0}" -gt "$units" ] || die "callgrind did not see the work of case $name"
    echo "$name $count $((count / units))"
  done
} >"$work/now"

if [ -n "${ACCEPT:-}" ]; then
  cp "$work/now" "$file"
  say "written to $file"
  exit 0
fi
was=$(sed -n 2p "$file") now=$(sed -n 2p "$work/now")
[ "$was" = "$now" ] || say "counts to compare with are of ${was#\# }, these of ${now#\# }"
awk -v tolerance="$tolerance" '
  /^#/ { next }
  NR == FNR { was[$1] = $2; next }
  {
    seen[$1] = 1
    if (!($1 in was)) { printf "%-18s %12d  is new: ACCEPT=1 make bench-check\n", $1, $2; bad = 1; next }
    change = ($2 / was[$1] - 1) * 100
    verdict = change > tolerance ? "TOO MANY" : change < -tolerance ? "fewer: ACCEPT=1 make bench-check keeps it so" : "ok"
    if (change > tolerance) bad = 1
    printf "%-18s %12d  %7d each  %+6.2f %%  %s\n", $1, $2, $3, change, verdict
  }
  END { for (name in was) if (!(name in seen)) { printf "%-18s is gone\n", name; bad = 1 }; exit bad }
' "$file" "$work/now" || die "more than $tolerance % more instructions than $file says"
