#!/usr/bin/env python3
"""What each form of a job's downlink saves and what it costs, on Fashion-MNIST over several seeds.

usage: examples/compression/downlink.py [--sim PATH] [--seeds 1,2,3] [--jobs N] [--out DIR] [--write-docs]

Every row is topk_int8.yaml with updates as they are and another `downlink:` section, for two fleets: 100
clients of which 10 train in each round, and 10 that train in all. Bytes are those of all downloads as a share
of those of the first row. Accuracy as in table.py. Runs whose summary is already in DIR are not
repeated. --write-docs puts the table into docs/codecs.md.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics

import table

BEGIN, END = "<!-- downlink -->", "<!-- end of downlink -->"
WHOLE = "absent: whole"
ROWS = {
    WHOLE: None,
    "`{}`: exact": [],
    "bf16": ["bf16"],
    "int8": ["int8"],
    "topk 3 % + int8": [{"topk": {"fraction": 0.03}}, "int8"],
}
FLEETS = {"10 of 100": 100, "10 of 10": 10}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sim", default=str(table.ROOT / "build/release/bin/tributary-sim"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", default=str(table.ROOT / "build/downlink"))
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


def run(options, fleet, name, seed):
    """(bytes downloaded, accuracy) of one run."""
    folder = pathlib.Path(options.out) / "".join(c if c.isalnum() else "_" for c in f"{fleet}-{name}-{seed}")
    settings = ["job.codec=[]", f"simulation.clients={FLEETS[fleet]}"]
    if ROWS[name] is not None:
        settings.append(f"job.downlink={json.dumps({'codec': ROWS[name]})}")
    summary = table.simulate(options.sim, seed, folder, settings)
    return summary["downlink_bytes"], table.accuracy(folder)


def rows(options, pool):
    seeds = [int(seed) for seed in options.seeds.split(",")]
    runs = {(fleet, name, seed): pool.submit(run, options, fleet, name, seed)
            for name in ROWS for fleet in FLEETS for seed in seeds}
    for name in ROWS:
        cells = []
        for fleet in FLEETS:
            pairs = [(runs[fleet, name, seed].result(), runs[fleet, WHOLE, seed].result()) for seed in seeds]
            share = statistics.median(this[0] / whole[0] for this, whole in pairs)
            lost = [100 * (whole[1] - this[1]) for this, whole in pairs]
            cells += [f"{100 * share:.1f} %", table.spread(lost, "{:.1f}")]
        yield f"| {name} | {' | '.join(cells)} |"


def main():
    options = arguments()
    head = " | ".join(f"{fleet}: bytes | points lost" for fleet in FLEETS)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        text = "\n".join([f"| downlink | {head} |", "|---|---|---|---|---|", *rows(options, pool)])
    print(text)
    if options.write_docs:
        table.write_docs(text, BEGIN, END)


if __name__ == "__main__":
    main()
