#!/usr/bin/env python3
"""What pruning saves and what it costs, on Fashion-MNIST over several seeds.

usage: examples/pruning/table.py [--sim PATH] [--seeds 1,2,3,4,5] [--jobs N] [--out DIR] [--write-docs]

Every row is prune.yaml (20 clients with two shards each, 5 a version) with another mask, or none.
Accuracy is the mean over the last ten evaluations, of every second version, for a single version
swings by points on such shards; its difference from FedAvg's is taken seed by seed, for the same
clients train in the same versions of both. Runs whose
summary is already in DIR are not repeated. --write-docs puts the tables into
docs/algorithms/pruning.md.
"""

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

EXPLORED = 3  # epochs
LAST = 10  # evaluations
SHORT, LONG = 60, 200  # versions of training


def mask(**options):
    return options | {"exploration": {"epochs": EXPLORED}}


PLAIN, WARM = "FedAvg", "FedAvg from the explorers' mean"
SCORES = {0.7: ["deviation", "agreement", "magnitude", "random", "inverted"],
          0.1: ["deviation", "magnitude", "random"]}
# Row -> the job's `pruning`, if any.
ROWS = {
    PLAIN: None,
    WARM: None,
    **{f"{score}, density {density:g}": mask(score=score, density=density)
       for density, scores in SCORES.items() for score in scores},
    "deviation, density 0.1, `normalization: none`": mask(density=0.1, normalization="none"),
    "structured, width 0.5": mask(structured=True, width=0.5),
}
OVER_LONG = [PLAIN, "deviation, density 0.7"]
LONG_SEEDS = 3  # the first ones


class Study:
    def __init__(self, options):
        self.options = options
        self.short = tables.results(options, lambda row, seed: self.run(row, seed, SHORT),
                                    [(row, seed) for row in ROWS for seed in options.seeds])
        self.long = tables.results(options, lambda row, seed: self.run(row, seed, LONG),
                                   [(row, seed) for row in OVER_LONG for seed in options.seeds[:LONG_SEEDS]])

    def simulate(self, folder, seed, settings):
        return tables.simulate(self.options, HERE / "prune.yaml", folder, seed, settings)

    def explored(self, seed):
        """The mean of the models that all clients made of the first one, as a file, and its uplink bytes."""
        folder = self.options.out / f"explored-{seed}"
        summary = self.simulate(folder, seed, {
            "job.pruning": None, "job.train.local_epochs": EXPLORED,
            "job.scheduler": {"sync_round": {"clients_per_round": 20}}, "job.stop.versions": 1})
        return str(folder / "model.safetensors"), summary["uplink_bytes"]

    def run(self, row, seed, versions):
        """Accuracy in percent, uplink bytes of the run and of its last version."""
        folder = self.options.out / f"{tables.slug(row)}-{versions}-{seed}"
        pruning, before = ROWS[row], 0
        settings = {"job.pruning": pruning}
        if pruning is None:
            settings |= {"job.stop.versions": versions, "job.evaluate.every_versions": 1}
        else:  # the mask is version 1, and the same training ends a version later
            settings |= {"job.stop.versions": versions + 1, "job.evaluate.every_versions": 2}
        if row == WARM:
            settings["job.model.initial"], before = self.explored(seed)
        self.simulate(folder, seed, settings)
        accuracies, uplink = tables.metrics(folder, "accuracy"), tables.metrics(folder, "uplink_bytes")
        # After the same numbers of training versions: 1, 3, …, without the last, which any job evaluates.
        accuracies = accuracies[1::2] if pruning is None else accuracies[1:-1]
        return {"accuracy": 100 * statistics.mean(accuracies[-LAST:]),
                "uplink": before + uplink[-1], "version": uplink[-1] - uplink[-2]}

    def row(self, runs, row):
        """Accuracy and, against FedAvg's, points, bytes a version, bytes in all."""
        these, plain = ([run for (name, _), run in runs.items() if name == wanted] for wanted in (row, PLAIN))
        more = [a["accuracy"] - b["accuracy"] for a, b in zip(these, plain)]
        shares = [f"{statistics.median(a[key] / b[key] for a, b in zip(these, plain)):.3f}"
                  for key in ("version", "uplink")]
        return [row, tables.spread([a["accuracy"] for a in these], "{:.1f}", statistics.mean),
                tables.spread(more, "{:+.1f}", statistics.mean), *shares]

    def table(self, runs, names):
        return tables.markdown(["", "accuracy, %", "points more than FedAvg", "uplink of a version, of FedAvg's",
                                "of the run"], [self.row(runs, name) for name in names])


def main():
    parser = tables.parser(__doc__, "pruning", seeds="1,2,3,4,5")
    parser.add_argument("--write-docs", action="store_true")
    study = Study(parser.parse_args())
    texts = {"masks": study.table(study.short, ROWS), "long": study.table(study.long, OVER_LONG)}
    print(*texts.values(), sep="\n\n")
    if study.options.write_docs:
        for name, text in texts.items():
            tables.write_docs("algorithms/pruning.md", name, text)


if __name__ == "__main__":
    main()
