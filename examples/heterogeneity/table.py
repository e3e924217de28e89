#!/usr/bin/env python3
"""Every scheduler on every fleet, over several seeds: how much sooner than synchronous FedAvg?

usage: examples/heterogeneity/table.py [--rows SET] [--only ROW]… [--sim PATH] [--seeds 1,2,3]
           [--partitions A,B] [--speeds A,B] [--jitter J] [--set PATH=VALUE]… [--target ACCURACY]
           [--jobs N] [--out DIR] [--write-docs NAME]

Each draw (partition, speeds, seed) runs sync_round until it reaches the partition's target
accuracy; then each row's file until the target too, until 1.5 times that long, or until 150,000
client steps. A cell is FedAvg's virtual time divided by the row's, median and range over the
seeds; "never" counts the draws in which the target was not reached by then. The last columns are
about all of a row's runs. Runs whose summary is already in DIR are not repeated. --write-docs puts
the table between the markers `<!-- NAME -->` of docs/algorithms/scheduling.md.
"""

import collections
import hashlib
import json
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

TARGETS = {"dual_dirichlet": 0.76, "compass_classes": 0.78}
COMPASS = "job.scheduler.compass."


def compass(**changes):
    return {COMPASS + key: value for key, value in changes.items()}


# Row -> file, and what is changed in it.
SCHEDULERS = {
    "FedAvg, weights: uniform": ("sync_round", {"job.aggregation.combine.fedavg.weights": "uniform"}),
    "compass 20/100": ("compass", {}),
    "compass 20/100, weights: examples": ("compass", compass(weights="examples")),
    "compass 5/100": ("compass_wide", {}),
    "compass 5/100, weights: examples": ("compass_wide", compass(weights="examples")),
    "compass, adaptive": ("compass_adaptive", {}),
    "fedbuff, K = 5": ("fedbuff_5", {}),
    "fedbuff, K = 10": ("fedbuff_10", {}),
    "fedasync": ("fedasync", {}),
    "deadline": ("deadline", {}),
    "tiered": ("tiered", {}),
}
# The adaptive preset with one extension taken away.
ABLATION = {
    "adaptive": ("compass_adaptive", {}),
    "without bounds: auto": ("compass_adaptive", compass(bounds="fixed")),
    "without participation: frequency": ("compass_adaptive", compass(participation="uniform")),
    "without first_round: group": ("compass_adaptive", compass(first_round="single")),
    "without fast_join: idle": ("compass_adaptive", compass(fast_join="create")),
    "without weights: examples": ("compass_adaptive", compass(weights="uniform")),
    "without mixing_rate: 1": ("compass_adaptive", compass(mixing_rate=0.9)),
}
# How compass predicts; equal weights on both sides, so that only the schedule differs.
TIME_MODELS = {
    f"{name}, {model}": (file, {**weights, **changes})
    for name, file, weights in (("20/100", "compass", compass(weights="examples")),
                                ("adaptive", "compass_adaptive", {}))
    for model, changes in (("scalar", {}), ("affine", compass(time_model="affine")),
                           ("affine, margin 2", compass(time_model="affine", admission_margin=2)))
}
# Set -> its rows, and its last columns.
ROWS = {
    "schedulers": (SCHEDULERS, ["late", "utilisation"]),
    "ablation": (ABLATION, ["late", "utilisation"]),
    "time-models": (TIME_MODELS, ["error", "late", "spread", "utilisation", "staleness"]),
}
LONGEST = 1.5  # times FedAvg's time
MOST_STEPS = 150_000


def arguments():
    parser = tables.parser(__doc__, "heterogeneity")
    parser.add_argument("--rows", choices=ROWS, default="schedulers")
    parser.add_argument("--only", action="append", default=[], metavar="ROW")
    parser.add_argument("--partitions", default=",".join(TARGETS))
    parser.add_argument("--speeds", default="constant,normal,exponential")
    parser.add_argument("--jitter", type=float, help="instead of the files' 5 %%")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--target", type=float, help="instead of the partitions' own")
    parser.add_argument("--write-docs", metavar="NAME")
    return parser.parse_args()


class Study:
    def __init__(self, options):
        self.options = options

    def target(self, draw):
        return self.options.target or TARGETS[draw[0]]

    def run(self, row, draw, longest):
        """The summary of one run; "reached": when it reached the target (None: never)."""
        name, file, changes = row
        partition, speeds, seed = draw
        stop = {"seconds": longest, "client_steps": MOST_STEPS, "target_accuracy": self.target(draw)}
        settings = {"simulation.data.partition": partition,
                    "simulation.targets": [self.target(draw)], "job.stop": stop}
        if self.options.jitter is not None:
            settings[f"simulation.speed.{speeds}.jitter"] = self.options.jitter
        settings |= changes | dict(text.split("=", 1) for text in self.options.set)
        digest = hashlib.sha256("\n".join(tables.assignments(settings)).encode()).hexdigest()[:8]
        folder = self.options.out / f"{speeds}-{partition}-{seed}-{tables.slug(name)}-{digest}"
        summary = tables.simulate(self.options, HERE / speeds / f"{file}.yaml", folder, seed, settings)
        summary["reached"] = summary["targets"][0]["virtual_seconds"]
        summary["folder"] = folder
        return summary

    def table(self, rows, figures):
        o = self.options
        draws = [(p, s, seed) for p in o.partitions.split(",") for s in o.speeds.split(",")
                 for seed in o.seeds]
        fedavg = ("sync_round", "sync_round", {})
        base = tables.results(o, lambda *draw: self.run(fedavg, draw, 1e6), draws)
        for draw in draws:
            if base[draw]["reached"] is None:
                sys.exit(f"FedAvg does not reach {self.target(draw)} in {draw}")
        files = {row[0]: row for row in rows}
        cells = tables.results(
            o, lambda name, draw: self.run(files[name], draw, LONGEST * base[draw]["reached"]),
            [(name, draw) for name in files for draw in draws])
        return self.markdown(draws, base, cells, figures)

    def markdown(self, draws, base, cells, figures):
        columns = list(dict.fromkeys((p, s) for p, s, _ in draws))
        lines = [["FedAvg, seconds"]]
        for column in columns:
            lines[0].append(spread([base[d]["reached"] for d in draws if d[:2] == column], "{:.0f}"))
        lines[0] += [FIGURES[f]([base[d] for d in draws]) for f in figures]
        for name in dict.fromkeys(name for name, _ in cells):
            row = [name]
            for column in columns:
                ratios = [base[d]["reached"] / cells[name, d]["reached"]
                          if cells[name, d]["reached"] else None for d in draws if d[:2] == column]
                row.append(spread(ratios, "{:.2f}"))
            lines.append(row + [FIGURES[f]([cells[name, d] for d in draws]) for f in figures])
        return tables.markdown(["", *(f"{p}, {s}" for p, s in columns), *figures], lines)


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


def late(summaries):
    updates = sum(s["updates"] for s in summaries)
    return f"{100 * sum(s['clients']['late_updates'] for s in summaries) / max(1, updates):.1f} %"


def utilisation(summaries):
    return f"{statistics.median(s['clients']['utilisation'] for s in summaries):.2f}"


def staleness(summaries):
    return f"{statistics.median(s['staleness']['mean'] for s in summaries):.2f}"


def orders(summary):
    """(group, sent, expected, arrived) of the run's training orders that were given a time."""
    sent = {}
    with open(summary["folder"] / "events.jsonl") as events:
        for event in map(json.loads, events):
            if event.get("action") == "send_work" and "expected" in event:
                sent[event["work_order"]] = event
            elif event.get("event") == "update_arrived" and event["work_order"] in sent:
                order = sent[event["work_order"]]
                yield order["group"], order["at"], order["expected"], event["at"]


def error(summaries):
    """Of an order's predicted time: mean over a run, median over the runs."""
    means = []
    for summary in summaries:
        off = [abs(arrived - expected) / (expected - sent)
               for _, sent, expected, arrived in orders(summary)]
        means += [statistics.mean(off)] if off else []
    return f"{100 * statistics.median(means):.1f} %" if means else "–"


def arrivals(summaries):
    """From a group's first arrival to its last, as a share of its duration: median over groups."""
    spreads = []
    for summary in summaries:
        groups = collections.defaultdict(list)
        for group, sent, _, arrived in orders(summary):
            groups[group].append((sent, arrived))
        for members in groups.values():
            begin, ends = min(sent for sent, _ in members), [arrived for _, arrived in members]
            spreads += [(max(ends) - min(ends)) / (max(ends) - begin)] if len(members) > 1 else []
    return f"{100 * statistics.median(spreads):.0f} %" if spreads else "–"


FIGURES = {"late": late, "utilisation": utilisation, "staleness": staleness, "error": error,
           "spread": arrivals}


def main():
    options = arguments()
    rows, figures = ROWS[options.rows]
    unknown = set(options.only) - set(rows)
    if unknown:
        sys.exit(f"--only {unknown.pop()}: allowed are {', '.join(map(repr, rows))}")
    chosen = [(name, file, changes) for name, (file, changes) in rows.items()
              if not options.only or name in options.only]
    table = Study(options).table(chosen, figures)
    print(table)
    if options.write_docs:
        tables.write_docs("algorithms/scheduling.md", options.write_docs, table)


if __name__ == "__main__":
    main()
