#!/usr/bin/env bash
# The tests of the pure crates under Miri, with few random cases each: it is a
# thousand times slower. The crates themselves forbid unsafe code; what Miri
# looks at is what they rest on, and their overflows and indexes once more.
# Needs a nightly toolchain with the component, which make check does not.
#
# usage: scripts/miri.sh [PACKAGE...]
#   PROPTEST_CASES=2   random cases of each property
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
cargo +nightly miri --version >/dev/null 2>&1 || die "there is no Miri
hint: rustup component add --toolchain nightly miri rust-src"
[ $# -gt 0 ] || set -- walker-wal walker-state garbagemap-core garbagemap-picture walstat-core

# Property tests look at the clock and at the environment.
export MIRIFLAGS=${MIRIFLAGS:--Zmiri-disable-isolation} PROPTEST_CASES=${PROPTEST_CASES:-2}
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
for package in "$@"; do
  say "Miri: $package"
  cargo +nightly miri test --quiet -p "$package" --lib --tests
done
