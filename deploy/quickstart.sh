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

# The run's figures under the keys of a simulated run's summary.json, and a few lines for people.
summarise() {
  operator job show "$1" --json >"$OUT/job.json"
  operator model list "$1" --json >"$OUT/versions.json"
  /usr/bin/python3 - "$OUT" "$CLIENTS" "$2" <<'PYTHON'
import json, sys

out, clients, wall_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
job = json.load(open(f"{out}/job.json"))
newest = json.load(open(f"{out}/versions.json"))[0]
counters, final, best = job["counters"], job["evaluation"], job["best"]
summary = {
    "name": job["name"],
    "config_digest": job["config_digest"],
    "model_digest": newest["model_digest"],
    "versions": newest["version"],
    "updates": job["updates"],
    "client_steps": counters["client_steps"],
    "wall_seconds": round(wall_seconds, 3),
    "uplink_bytes": counters["uplink_bytes"],
    "downlink_bytes": counters["downlink_bytes"],
    "uplink_bytes_dense": counters["uplink_bytes_dense"],
    "final": {"loss": final["loss"], "accuracy": final["accuracy"]},
    "best": {"accuracy": best["accuracy"], "version": best["version"]},
    "clients": {"count": clients, "lost": sum(counters["lost"].values()),
                "late_updates": counters["late_updates"]},
}
with open(f"{out}/summary.json", "w") as file:
    json.dump(summary, file, indent=2)
    file.write("\n")
print(f"""
accuracy   {100 * final['accuracy']:.1f} % on {final['num_examples']} test images after \
{summary['versions']} versions
moved      {summary['uplink_bytes'] / 1e6:.1f} MB up, {summary['downlink_bytes'] / 1e6:.1f} MB down
wall time  {wall_seconds:.1f} s
report     {out}/summary.json
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
started=$(date +%s.%N)
job=$(operator job submit "$TRIBUTARY_ROOT/examples/quickstart/job.yaml")
# In the background, so that a signal to this script alone ends the wait.
"$BIN/tributary" --server "$SERVER" job watch "$job" &
processes+=($!)
wait $!
unset 'processes[-1]'
wall_seconds=$(awk -v from="$started" -v to="$(date +%s.%N)" 'BEGIN {print to - from}')

operator model export "$job" --out "$OUT/model.safetensors"
summarise "$job" "$wall_seconds"
