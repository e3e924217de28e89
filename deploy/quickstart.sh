#!/usr/bin/env bash
# One model, six processes, real data: a coordinator on loopback, five clients that each train on
# their own non-IID shard of Fashion-MNIST, and one that evaluates on the 10,000 test images.
#
# Everything it makes stands in build/quickstart/; it ends by itself and leaves no process behind.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

readonly CLIENTS=5
readonly OUT=$TRIBUTARY_ROOT/build/quickstart
readonly BIN=$TRIBUTARY_ROOT/build/release/bin

processes=()

start() {
  local log=$OUT/$1.log
  shift
  "$@" >"$log" 2>&1 &
  processes+=($!)
}

# Asks every process to end, waits for them, and makes sure after ten seconds.
stop_all() {
  trap '' INT TERM # a second Ctrl-C must not cut this short
  [ ${#processes[@]} -eq 0 ] && return
  kill -TERM "${processes[@]}" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "${processes[@]}" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "${processes[@]}" 2>/dev/null || true
  wait "${processes[@]}" 2>/dev/null || true
  processes=()
}
trap stop_all EXIT
trap 'exit 130' INT TERM

await_coordinator() {
  for _ in $(seq 300); do
    [ -s "$OUT/ports.json" ] && return
    kill -0 "${processes[0]}" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$OUT/tributaryd.log" >&2
  die "tributaryd did not start; its log is $OUT/tributaryd.log"
}

operator() { "$BIN/tributary" --server "$SERVER" "$@"; }

# Brings the run here, with its page, and prints a few lines for people.
summarise() {
  operator job export "$1" --out "$OUT" >/dev/null
  "$BIN/tributary" report "$OUT" >/dev/null
  /usr/bin/python3 - "$OUT" <<'PYTHON'
import json, sys

out = sys.argv[1]
run = json.load(open(f"{out}/summary.json"))
print(f"""
accuracy   {100 * run['final']['accuracy']:.1f} % on the 10,000 test images after {run['versions']} versions
moved      {run['uplink_bytes'] / 1e6:.1f} MB of updates
wall time  {run['wall_seconds']:.1f} s
report     {out}/report.html
figures    {out}/summary.json
model      {out}/model.safetensors""")
PYTHON
}

ensure_packages
build_preset release tributaryd tributary tributary-client

rm -rf "$OUT"
mkdir -p "$OUT"

say "Starting tributaryd and $CLIENTS + 1 clients"
start tributaryd "$BIN/tributaryd" --dev --data-dir "$OUT/data" --ports-file "$OUT/ports.json"
await_coordinator
SERVER=127.0.0.1:$(sed -n 's/.*"grpc": *\([0-9]*\).*/\1/p' "$OUT/ports.json")
for index in $(seq 0 $((CLIENTS - 1))); do
  start "client-$index" "$BIN/tributary-client" --server "$SERVER" --id "client-$index" \
    --data fashion_mnist --partition "dirichlet:alpha=0.3,clients=$CLIENTS,index=$index,seed=1"
done
start evaluator "$BIN/tributary-client" --server "$SERVER" --id evaluator \
  --data fashion_mnist --evaluate-only

say "Training"
job=$(operator job submit "$TRIBUTARY_ROOT/examples/quickstart/job.yaml")
# In the background, so that a signal to this script alone ends the wait.
"$BIN/tributary" --server "$SERVER" job watch "$job" &
processes+=($!)
wait $!
unset 'processes[-1]'
summarise "$job"
