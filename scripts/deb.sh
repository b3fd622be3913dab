#!/usr/bin/env bash
# Build a Debian package for one server's major version, in the layout of
# Debian's own and of the PostgreSQL project's packages. Prints the package's path
# as its last line.
#
# usage: scripts/deb.sh PG_CONFIG [release|dev] [DIRECTORY]
#
# DEBFULLNAME and DEBEMAIL name the maintainer, as for Debian's own tools.
set -euo pipefail
. "$(dirname "$0")/env.sh"

pg_config=${1:?usage: scripts/deb.sh PG_CONFIG [release|dev] [DIRECTORY]}
profile=${2:-release}
out=${3:-$CARGO_TARGET_DIR/deb}
for tool in dpkg-deb dpkg-shlibdeps strip; do
  command -v "$tool" >/dev/null || die "there is no $tool
hint: apt-get install dpkg-dev binutils"
done
command -v "$pg_config" >/dev/null || die "there is no program \"$pg_config\""
cd "$ROOT"
umask 022

major=$(major_of "$pg_config")
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=postgresql-$major-walker
maintainer="${DEBFULLNAME:-The walker developers} <${DEBEMAIL:-developers@walker.invalid}>"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
! "$pg_config" --configure | grep -q enable-cassert ||
  say "PostgreSQL $major has assertions here: ship what was built with postgresql-server-dev-$major"

from=$(scripts/package.sh "$pg_config" "$profile" | tail -n 1)
root=$out/$name
rm -rf "$root"
lib=$root/usr/lib/postgresql/$major/lib
share=$root/usr/share/postgresql/$major/extension
doc=$root/usr/share/doc/$name
mkdir -p "$lib" "$share" "$doc" "$root/DEBIAN" "$root/usr/include/postgresql/$major/server/extension/walker"
install -m 644 "$from$("$pg_config" --pkglibdir)"/*.so "$lib/"
strip --strip-unneeded "$lib"/*.so
install -m 644 "$from$("$pg_config" --sharedir)/extension/"*.{control,sql} "$share/"
install -m 644 include/walker.h "$root/usr/include/postgresql/$major/server/extension/walker/"

# As they lie here, so that what one says of another is found.
for page in README.md docs/*.md monitoring/* plugins/walstat/README.md; do
  install -D -m 644 "$page" "$doc/$page"
done
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
gzip -9n >"$doc/changelog.Debian.gz" <<EOF
postgresql-walker ($version-1) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
{
  cat <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: walker
Upstream-Contact: $maintainer
Comment: The libraries contain these crates, each under its own licence:
EOF
  cargo tree --locked --offline -p walker -p garbagemap -p walstat -e normal,no-proc-macro \
    --no-default-features -F "walker/pg$major,garbagemap/pg$major,walstat/pg$major" \
    --prefix none --format '{p}: {l}' |
    sed -E '/^$/d; s/ \([^)]*\)//g' | grep -vE '^(walker|garbagemap|walstat)[a-z-]* ' | sort -u | sed 's/^/ /'
  printf '\nFiles: *\nCopyright: %s\nLicense: PostgreSQL\n' "$(sed -n 's/^.*Copyright (c) //p' LICENSE | head -n 1)"
  sed -e 's/^$/./' -e 's/^/ /' LICENSE
} >"$doc/copyright"

# What the libraries need, as dpkg-shlibdeps sees it.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/debian"
printf 'Source: postgresql-walker\n\nPackage: %s\nArchitecture: any\n' "$name" >"$scratch/debian/control"
needs=$(cd "$scratch" && dpkg-shlibdeps --ignore-missing-info -O "$lib"/*.so 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<EOF
Package: $name
Source: postgresql-walker
Version: $version-1
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: postgresql-$major${needs:+, $needs}
Section: database
Priority: optional
Description: reads all WAL of PostgreSQL $major, and maps dead tuples
 A background worker reads every WAL record of the server and hands it to
 plugins. This package has two of them: garbagemap keeps an exact, live map of
 the dead tuples of every table, by ranges of blocks, and answers from SQL
 without reading the table; walstat tells which relation writes how much WAL.
 .
 Add walker to shared_preload_libraries and restart the server to use it.
EOF
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
deb=$out/${name}_$version-1_$(dpkg --print-architecture).deb
squeeze=(-Zxz)
[ "$profile" = release ] || squeeze=(-Zgzip -z1)
dpkg-deb --root-owner-group "${squeeze[@]}" --build "$root" "$deb" >&2
rm -rf "$root"
echo "$deb"
