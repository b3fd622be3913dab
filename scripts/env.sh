# Shared by every script: where things are cached and which server is which.
# Sourced, never run. Sets no state outside shell variables.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${WALKER_CACHE:-}" ]; then
  if [ "$(id -u)" = 0 ]; then
    WALKER_CACHE=/var/cache/walker
  else
    WALKER_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/walker
  fi
fi
PGRX_VERSION=0.18.1
SERVERS=$WALKER_CACHE/servers
PGRX_HOME=${PGRX_HOME:-$WALKER_CACHE/pgrx}
CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
export WALKER_CACHE PGRX_HOME CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND CARGO_TARGET_DIR
if [ -x "$WALKER_CACHE/tools/bin/cargo-pgrx" ]; then
  PATH=$WALKER_CACHE/tools/bin:$PATH
  export PATH
fi

if [ -t 2 ]; then
  say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
else
  say() { printf '== %s\n' "$*" >&2; }
fi
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Major version of the server a pg_config belongs to.
major_of() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

# Whether a server runs in a data directory. The file of one that was killed stays,
# and the number in it may be another process's by now.
server_runs() {
  local pid cwd
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || return 1
  if cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null); then
    [ "$cwd" = "$(readlink -f "$1")" ]
  else
    # Not even root may know that everywhere.
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ]
  fi
}

# Path of the pg_config of the test server of a major version.
pg_config_of() {
  case "$1" in
    15) echo "$SERVERS/15/lib/postgresql/15/bin/pg_config" ;;
    *) echo "$SERVERS/$1/bin/pg_config" ;;
  esac
}
