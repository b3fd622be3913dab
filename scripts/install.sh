#!/usr/bin/env bash
# Install the extensions into a server, or remove them. Files go below
# DESTDIR if that is set. Root is asked for (sudo) only to copy, and only if
# the directories belong to root.
#
# usage: scripts/install.sh install|uninstall PG_CONFIG [release|dev]
set -euo pipefail
. "$(dirname "$0")/env.sh"

action=${1:?usage: scripts/install.sh install|uninstall PG_CONFIG [release|dev]}
pg_config=${2:?PG_CONFIG is missing}
profile=${3:-release}
command -v "$pg_config" >/dev/null || die "there is no program \"$pg_config\"
hint: make $action PG_CONFIG=/path/to/pg_config"
root=${DESTDIR:-}
lib=$root$("$pg_config" --pkglibdir)
share=$root$("$pg_config" --sharedir)/extension
header=$root$("$pg_config" --includedir-server)/extension/walker

privileged() {
  local dir=$lib
  while [ ! -e "$dir" ]; do dir=$(dirname "$dir"); done
  if [ -w "$dir" ]; then "$@"; else sudo "$@"; fi
}

remove() {
  local name
  for name in walker garbagemap walstat; do
    privileged rm -f "$lib/$name.so" "$share/$name.control" "$share/$name--"*.sql
  done
  privileged rm -f "$header/walker.h"
  [ ! -d "$header" ] || privileged rmdir --ignore-fail-on-non-empty "$header"
}

case "$action" in
  install)
    from=$("$ROOT/scripts/package.sh" "$pg_config" "$profile" | tail -n 1)
    # Whole files by new names, never into a file a running server has mapped.
    remove
    for dir in "$lib" "$share" "$header"; do privileged mkdir -p "$dir"; done
    privileged install -m 755 "$from${lib#"$root"}"/*.so "$lib/"
    privileged install -m 644 "$from${share#"$root"}"/*.control "$from${share#"$root"}"/*.sql "$share/"
    privileged install -m 644 "$from${header#"$root"}/walker.h" "$header/"
    say "installed walker, garbagemap and walstat into $lib and $share"
    ;;
  uninstall) remove ;;
  *) die "unknown action \"$action\"" ;;
esac
