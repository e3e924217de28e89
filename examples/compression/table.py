#!/usr/bin/env python3
"""What each codec saves and what it costs, on Fashion-MNIST over several seeds.

usage: examples/compression/table.py [--sim PATH] [--seeds 1,2,3] [--only PREFIX] [--jobs N]
           [--overhead BYTES] [--out DIR] [--write-docs]

Every row is topk_int8.yaml (100 clients, 10 a round, Dirichlet 0.3, 200 versions) with another
codec. Bytes are those of the updates plus --overhead for each (what a live client
sends beside each payload), as a share of the dense updates. Accuracy is the mean over the last
ten evaluations, for a single version swings by points on shards as skewed as these; its difference
from the dense row is taken seed by seed. Median and range over the seeds. Runs whose summary is
already in DIR are not repeated. --write-docs puts the table into docs/codecs.md.
"""

import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCS = ROOT / "docs/codecs.md"
BEGIN, END = "<!-- accuracy -->", "<!-- end of accuracy -->"

DENSE = "dense"
# Row -> the job's codec, and whether error feedback is on.
ROWS = {
    DENSE: ([], True),
    "fp16": (["fp16"], True),
    "bf16": (["bf16"], True),
    "int8": (["int8"], True),
    "int4": (["int4"], True),
    "int4, no feedback": (["int4"], False),
    "sign": (["sign"], True),
    "sign, no feedback": (["sign"], False),
    "topk 10 % + int8": ([{"topk": {"fraction": 0.1}}, "int8"], True),
    "topk 3 % + int8": ([{"topk": {"fraction": 0.03}}, "int8"], True),
    "topk 3 % + int8, no feedback": ([{"topk": {"fraction": 0.03}}, "int8"], False),
    "topk 3 % of each tensor + int8": ([{"topk": {"fraction": 0.03, "scope": "tensor"}}, "int8"], True),
    "topk 3 % + int4": ([{"topk": {"fraction": 0.03}}, "int4"], True),
    "topk 3 % + sign": ([{"topk": {"fraction": 0.03}}, "sign"], True),
    "topk 1 % + int8": ([{"topk": {"fraction": 0.01}}, "int8"], True),
    "topk 1 % + int8, no feedback": ([{"topk": {"fraction": 0.01}}, "int8"], False),
    "topk 1 % of each tensor + int8": ([{"topk": {"fraction": 0.01, "scope": "tensor"}}, "int8"], True),
    "topk 1 % + int4": ([{"topk": {"fraction": 0.01}}, "int4"], True),
    "topk 1 % + sign": ([{"topk": {"fraction": 0.01}}, "sign"], True),
    "randk 3 % + int8": ([{"randk": {"fraction": 0.03}}, "int8"], True),
    "randk 3 % + int8, no feedback": ([{"randk": {"fraction": 0.03}}, "int8"], False),
    "randk 3 % + int4, no feedback": ([{"randk": {"fraction": 0.03}}, "int4"], False),
    "randk 1 % + int8, no feedback": ([{"randk": {"fraction": 0.01}}, "int8"], False),
}
LAST = 10  # evaluations


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sim", default=str(ROOT / "build/release/bin/tributary-sim"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    parser.add_argument("--overhead", type=int, default=405, help="bytes of an update beside its payload")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", default=str(ROOT / "build/compression"))
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


def simulate(sim, seed, folder, settings):
    """The summary of a run, which is made unless it is there."""
    command = [sim, "run", str(HERE / "topk_int8.yaml"), "--quiet", "--threads", "1",
               "--seed", str(seed), "--out", str(folder)]
    for setting in settings:
        command += ["--set", setting]
    if not (folder / "summary.json").exists():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads((folder / "summary.json").read_text())


def accuracy(folder):
    with open(folder / "metrics.csv", newline="") as file:
        evaluated = [float(row["accuracy"]) for row in csv.DictReader(file) if row["accuracy"]]
    return statistics.mean(evaluated[-LAST:])


def run(options, name, seed):
    """(share of the dense bytes, accuracy) of one run."""
    codec, feedback = ROWS[name]
    folder = pathlib.Path(options.out) / f"{''.join(c if c.isalnum() else '_' for c in name)}-{seed}"
    settings = [f"job.codec={json.dumps(codec)}"]
    if not feedback:
        settings.append("job.error_feedback=false")
    summary = simulate(options.sim, seed, folder, settings)
    sent = summary["uplink_bytes"] + options.overhead * summary["updates"]
    return sent / summary["uplink_bytes_dense"], accuracy(folder)


def spread(values, form):
    return f"{form.format(statistics.median(values))} ({form.format(min(values))} to {form.format(max(values))})"


def table(options):
    names = [name for name in ROWS if name == DENSE or name.startswith(options.only)]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {(name, seed): pool.submit(run, options, name, seed) for name in names for seed in seeds}
    lines = ["| codec | bytes, of dense | accuracy | points lost against dense |", "|---|---|---|---|"]
    for name in names:
        results = [runs[name, seed].result() for seed in seeds]
        lost = [100 * (runs[DENSE, seed].result()[1] - runs[name, seed].result()[1]) for seed in seeds]
        lines.append(f"| {name} | {100 * statistics.median(r[0] for r in results):.2f} % | "
                     f"{spread([100 * r[1] for r in results], '{:.1f} %')} | {spread(lost, '{:.1f}')} |")
    return "\n".join(lines)


def write_docs(text, begin, end):
    head, rest = DOCS.read_text().split(begin)
    DOCS.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def main():
    options = arguments()
    text = table(options)
    print(text)
    if options.write_docs:
        write_docs(text, BEGIN, END)


if __name__ == "__main__":
    main()
