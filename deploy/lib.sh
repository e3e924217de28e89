# Functions that the scripts in deploy/ and .ci/ share. Source it; it changes nothing by itself.
# shellcheck shell=bash

TRIBUTARY_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# OpenBLAS and LibTorch go parallel over clients, never inside an operator: with more threads
# than cores they spin, ten times slower.
export OMP_NUM_THREADS=1

# Checkouts in different places share ccache's results.
export CCACHE_BASEDIR=$TRIBUTARY_ROOT CCACHE_NOHASHDIR=1

say() { printf '\n== %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The names in deploy/packages.txt, one a line.
packages() { sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$TRIBUTARY_ROOT/deploy/packages.txt"; }

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_packages() {
  local name
  for name in $(packages); do
    is_installed "$name" || echo "$name"
  done
  # By command, not by package: another vendor's nodejs has npm in it.
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
}

# Installs what is missing: as root directly, else with sudo, else by telling the line to run.
ensure_packages() {
  command -v dpkg-query >/dev/null ||
    die "this script needs a Debian 12 machine (dpkg-query is not there)"
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  missing=${missing% }
  [ -z "$missing" ] && return 0

  say "Missing Debian packages: $missing"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      printf 'Run this line as root, then start again:\n\n  apt-get update && apt-get install -y --no-install-recommends %s\n' \
        "$missing" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -q
  # shellcheck disable=SC2086  # a list of words on purpose
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends $missing
}

build_dir() { echo "$TRIBUTARY_ROOT/build/$1"; }

# Parallel compile jobs: one per core, but no more than one per 2.5 GB of memory, which is what
# a LibTorch source file may take.
build_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable:/ {print int($2 / 2500000)}' /proc/meminfo)
  [ "$by_memory" -lt 1 ] && by_memory=1
  [ "$by_memory" -lt "$cores" ] && echo "$by_memory" || echo "$cores"
}

# build_preset PRESET [TARGET…]
build_preset() {
  local preset=$1
  shift
  say "Building preset $preset"
  cmake -S "$TRIBUTARY_ROOT" --preset "$preset" --log-level=WARNING
  cmake --build "$(build_dir "$preset")" -j "$(build_jobs)" ${1:+--target "$@"}
}

# test_preset PRESET [ctest arguments…]: ctest's own closing lines come last.
test_preset() {
  local preset=$1
  shift
  say "Testing preset $preset"
  ctest --test-dir "$(build_dir "$preset")" --output-on-failure --no-tests=error -j "$(nproc)" "$@"
}
