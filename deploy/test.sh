#!/usr/bin/env bash
# Installs what is missing, builds the `dev` preset and runs the whole test suite.
#
#   deploy/test.sh                 everything
#   deploy/test.sh -L unit -R rng  any arguments go to ctest
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

ensure_packages
build_preset dev
test_preset dev "$@"
