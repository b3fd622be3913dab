#!/usr/bin/env bash
# Build walker, garbagemap and walstat for one server, into a directory that mirrors
# the file system. Prints the directory as its last line.
#
# usage: scripts/package.sh PG_CONFIG [release|dev]
set -euo pipefail
. "$(dirname "$0")/env.sh"

pg_config=${1:?usage: scripts/package.sh PG_CONFIG [release|dev]}
profile=${2:-release}
pg_config=$(command -v "$pg_config") || die "there is no program \"$1\""
major=$(major_of "$pg_config")
[ -e "$("$pg_config" --includedir-server)/postgres.h" ] || die "there are no header files of PostgreSQL $major
hint: on Debian they are in postgresql-server-dev-$major"
to=$CARGO_TARGET_DIR/package/$profile/$(printf '%s' "$pg_config" | cksum | cut -d' ' -f1)-pg$major

# pgrx builds against the servers its configuration names; another server of
# a major version is named by the environment.
if ! grep -qsF "\"$pg_config\"" "$PGRX_HOME/config.toml"; then
  export PGRX_PG_CONFIG_PATH=$pg_config
fi
flags=()
[ "$profile" = release ] || flags=(--debug)

cd "$ROOT"
# One at a time: all servers' libraries are built to the same name, and copied
# from there.
mkdir -p "$CARGO_TARGET_DIR"
exec 8>"$CARGO_TARGET_DIR/package.lock"
flock 8
rm -rf "$to"
for package in walker garbagemap walstat; do
  say "building $package for PostgreSQL $major ($profile)"
  cargo pgrx package --package "$package" --pg-config "$pg_config" --out-dir "$to" \
    --no-default-features --features "pg$major" "${flags[@]}" >&2
done
header=$to$("$pg_config" --includedir-server)/extension/walker
mkdir -p "$header"
cp include/walker.h "$header/walker.h"
echo "$to"
