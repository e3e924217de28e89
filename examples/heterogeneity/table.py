#!/usr/bin/env python3
"""Every scheduler on every fleet, over several seeds: how much sooner than synchronous FedAvg?

usage: examples/heterogeneity/table.py [--sim PATH] [--seeds 1,2,3] [--partitions A,B] [--speeds A,B]
           [--only PREFIX] [--set PATH=VALUE]… [--ablation] [--out DIR] [--write-docs NAME]

Each draw (partition, speeds, seed) runs sync_round until it reaches the partition's target
accuracy; then each other file until the target too, until 1.5 times that long, or until 150,000
client steps. A cell is FedAvg's virtual time divided by the file's, median and range over the
seeds; "never" counts the draws in which the target was not reached by then. Runs whose summary is
already in DIR are not repeated. --write-docs puts the table between the markers `<!-- NAME -->` of
docs/algorithms/scheduling.md.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCS = ROOT / "docs/algorithms/scheduling.md"

TARGETS = {"dual_dirichlet": 0.76, "compass_classes": 0.78}
# Row -> file, and what is changed in it.
COMPASS = "job.scheduler.compass."
METHODS = {
    "FedAvg, weights: uniform": ("sync_round", {"job.aggregation.combine.fedavg.weights": "uniform"}),
    "compass 20/100": ("compass", {}),
    "compass 20/100, weights: examples": ("compass", {COMPASS + "weights": "examples"}),
    "compass 5/100": ("compass_wide", {}),
    "compass 5/100, weights: examples": ("compass_wide", {COMPASS + "weights": "examples"}),
    "compass, adaptive": ("compass_adaptive", {}),
    "fedbuff, K = 5": ("fedbuff_5", {}),
    "fedbuff, K = 10": ("fedbuff_10", {}),
    "fedasync": ("fedasync", {}),
    "deadline": ("deadline", {}),
    "tiered": ("tiered", {}),
}
# The adaptive preset with one extension taken away.
ABLATIONS = {
    "adaptive": {},
    "without bounds: auto": {"bounds": "fixed"},
    "without participation: frequency": {"participation": "uniform"},
    "without first_round: group": {"first_round": "single"},
    "without fast_join: idle": {"fast_join": "create"},
    "without weights: examples": {"weights": "uniform"},
    "without mixing_rate: 1": {"mixing_rate": 0.9},
}
LONGEST = 1.5  # times FedAvg's time
MOST_STEPS = 150_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sim", default=str(ROOT / "build/release/bin/tributary-sim"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--partitions", default=",".join(TARGETS))
    parser.add_argument("--speeds", default="constant,normal,exponential")
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--target", type=float, help="instead of the partitions' own")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", default=str(ROOT / "build/heterogeneity"))
    parser.add_argument("--write-docs", metavar="NAME")
    return parser.parse_args()


class Study:
    def __init__(self, options):
        self.options = options

    def target(self, draw):
        return self.options.target or TARGETS[draw[0]]

    def run(self, method, draw, longest):
        """The summary of one run, with when the target was reached (None: never)."""
        name, file, changes = method
        partition, speeds, seed = draw
        folder = pathlib.Path(self.options.out) / f"{speeds}-{partition}-{seed}-{slug(name)}"
        stop = {"seconds": longest, "client_steps": MOST_STEPS, "target_accuracy": self.target(draw)}
        command = [self.options.sim, "run", str(HERE / speeds / f"{file}.yaml"), "--quiet",
                   "--threads", "1", "--seed", str(seed), "--out", str(folder),
                   "--set", f"simulation.data.partition={partition}",
                   "--set", f"simulation.targets=[{self.target(draw)}]",
                   "--set", f"job.stop={json.dumps(stop)}"]
        for path, value in changes.items():
            command += ["--set", f"{path}={value}"]
        for change in self.options.set:
            command += ["--set", change]
        if not (folder / "summary.json").exists():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)}\n{done.stderr}")
        summary = json.loads((folder / "summary.json").read_text())
        summary["reached"] = summary["targets"][0]["virtual_seconds"]
        return summary

    def table(self, methods):
        o = self.options
        draws = [(p, s, int(seed)) for p in o.partitions.split(",") for s in o.speeds.split(",")
                 for seed in o.seeds.split(",")]
        fedavg = ("sync_round", "sync_round", {})
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            base = dict(zip(draws, pool.map(lambda d: self.run(fedavg, d, 1e6), draws)))
            for draw in draws:
                if base[draw]["reached"] is None:
                    sys.exit(f"FedAvg does not reach {self.target(draw)} in {draw}")
            runs = {(m[0], d): pool.submit(self.run, m, d, LONGEST * base[d]["reached"])
                    for m in methods for d in draws}
        cells = {key: future.result() for key, future in runs.items()}
        return self.markdown(methods, draws, base, cells)

    def markdown(self, methods, draws, base, cells):
        columns = list(dict.fromkeys((p, s) for p, s, _ in draws))
        header = [""] + [f"{p}, {s}" for p, s in columns] + ["late", "utilisation"]
        lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        row = ["FedAvg, seconds"]
        for column in columns:
            row.append(spread([base[d]["reached"] for d in draws if d[:2] == column], "{:.0f}"))
        row += quality([base[d] for d in draws])
        lines.append("| " + " | ".join(row) + " |")
        for name, _, _ in methods:
            row = [name]
            for column in columns:
                ratios = [base[d]["reached"] / cells[name, d]["reached"]
                          if cells[name, d]["reached"] else None for d in draws if d[:2] == column]
                row.append(spread(ratios, "{:.2f}"))
            row += quality([cells[name, d] for d in draws])
            lines.append("| " + " | ".join(row) + " |")
        return "\n".join(lines)


def slug(name):
    return "".join(c if c.isalnum() else "_" for c in name)


def spread(values, form):
    reached = [v for v in values if v is not None]
    never = len(values) - len(reached)
    if not reached:
        return "never"
    # What was not reached is slower than anything that was.
    ordered = sorted([0.0] * never + reached)
    median = statistics.median(ordered)
    text = form.format(median) if median else "never"
    text += f" ({form.format(reached and min(reached))}–{form.format(max(reached))}"
    return text + (f", {never} never)" if never else ")")


def quality(summaries):
    late = sum(s["clients"]["late_updates"] for s in summaries)
    updates = sum(s["updates"] for s in summaries)
    busy = statistics.median(s["clients"]["utilisation"] for s in summaries)
    return [f"{100 * late / max(1, updates):.1f} %", f"{busy:.2f}"]


def write_docs(name, table):
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = DOCS.read_text()
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    DOCS.write_text(f"{head}{begin}\n{table}\n{end}{tail}")


def main():
    options = arguments()
    if options.ablation:
        methods = [(name, "compass_adaptive", {COMPASS + key: value for key, value in changes.items()})
                   for name, changes in ABLATIONS.items()]
    else:
        methods = [(name, file, changes) for name, (file, changes) in METHODS.items()
                   if name.startswith(options.only)]
    table = Study(options).table(methods)
    print(table)
    if options.write_docs:
        write_docs(options.write_docs, table)


if __name__ == "__main__":
    main()
