#!/usr/bin/env bash
# Measures the coordinator: passes over memory, a round over loopback gRPC, TLS, idle clients. Every
# figure stands beside the limit that was measured in the same run. Prints a table; build/bench.json
# has all of it. A quiet machine is assumed.
#
#   deploy/bench.sh            about ten minutes
#   deploy/bench.sh --quick    small shapes, about a minute
#   deploy/bench.sh --huge     also an update of 3.2 GB from each of 6 clients: 40 GB of disk
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

quick=false
huge=false
for argument in "$@"; do
  case $argument in
    --quick) quick=true ;;
    --huge) huge=true ;;
    -h | --help)
      sed -n 's/^# \{0,1\}//; 2,/^set/{/^set/q;p}' "$0"
      exit 0
      ;;
    *) die "unknown argument '$argument'; allowed are --quick and --huge" ;;
  esac
done

ensure_packages
build_preset release payload_bench round_bench idle_bench
readonly BENCH=$(build_dir release)/bench
readonly OUT=$TRIBUTARY_ROOT/build/bench
rm -rf "$OUT"
mkdir -p "$OUT"

# measure NAME PROGRAM [arguments…]: its JSON, under a name that the table sorts by.
measure() {
  local name=$1 program=$2
  shift 2
  say "$program $*"
  "$BENCH/$program" "$@" --json >"$OUT/$name.json"
}

if $quick; then
  measure 1_payload payload_bench --values 1000000 --rounds 1
  measure 2_round_a round_bench --clients 4 --parameters 1000000 --rounds 3
  measure 2_round_b round_bench --clients 4 --parameters 1000000 --rounds 3 --tls
  measure 3_idle_a idle_bench --clients 100 --seconds 2
else
  measure 1_payload payload_bench
  measure 2_round_a round_bench --clients 10 --parameters 10000000 --rounds 5
  measure 2_round_b round_bench --clients 10 --parameters 10000000 --rounds 5 --tls
  measure 2_round_c round_bench --clients 50 --parameters 4000000 --rounds 3
  measure 2_round_d round_bench --clients 50 --parameters 10000000 --rounds 3
  measure 3_idle_a idle_bench --clients 1000
  measure 3_idle_b idle_bench --clients 200 --tls
fi
if $huge; then
  measure 2_round_e round_bench --clients 6 --parameters 800000000 --tensors 437 --rounds 1
fi
/usr/bin/python3 -B "$TRIBUTARY_ROOT/tests/bench/table.py" "$OUT" "$TRIBUTARY_ROOT/build/bench.json"
