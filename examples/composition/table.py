#!/usr/bin/env python3
"""All methods in one job, each alone, and synchronous FedAvg, over several seeds.

usage: examples/composition/table.py [--sim PATH] [--seeds 1,2,3] [--jobs N] [--out DIR] [--write-docs]

Every row is composed.yaml with some of its methods taken away. One task: FedAvg trains 50 versions;
then every row runs until it has FedAvg's accuracy (the mean of its last ten versions) minus one
point, or for as long as those 50 versions. Three tasks: synchronous rows train 20 versions a task, the
others 80. Shares are of FedAvg's figure for the same seed, median and range. Runs whose summary is
already in DIR are not repeated. --write-docs puts the tables into docs/composition.md.
"""

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

VERSIONS, LAST, LESS = 50, 10, 0.01  # what FedAvg's accuracy is taken from, and what may be lost
ROUNDS = 20  # versions a task of the synchronous rows

RATE = "job.train.optimizer.sgd.learning_rate"
CODEC = "job.codec"
PRUNING, ORTHOGONAL = "job.pruning", "job.continual.orthogonal"
HYPERGRADIENT = "job.hypergradient"
NONE = {CODEC: [], "job.downlink": None, PRUNING: None, ORTHOGONAL: None, HYPERGRADIENT: None}
SYNC = {"job.scheduler": {"sync_round": {"clients_per_round": 20, "deadline_seconds": 31536000}}} | NONE

PLAIN, PROJECTION, ALL = "FedAvg", "orthogonal_projection", "all of them: composed.yaml"
# Row -> what is changed in the file.
ROWS = {
    PLAIN: SYNC,
    "FedAvg, learning rate 0.3": SYNC | {RATE: 0.3},
    "compass": NONE,
    "topk 2 % + int4": SYNC | {CODEC: [{"topk": {"fraction": 0.02}}, "int4"]},
    "prune_mask, density 0.7": SYNC | {PRUNING: {"density": 0.7, "exploration": {"epochs": 1}}},
    PROJECTION: SYNC | {ORTHOGONAL: {}},
    "hypergradient": SYNC | {HYPERGRADIENT: {"variant": "server_local"}},
    "hypergradient, bound 3": SYNC | {HYPERGRADIENT: {"variant": "server_local", "bound": 3}},
    ALL: {},
    "all, topk 3 % + int8": {CODEC: [{"topk": {"fraction": 0.03}}, "int8"]},
    "all but hypergradient": {HYPERGRADIENT: None},
}
# Without a second task the projection does nothing; variants are not repeated with three.
ONE_TASK = [row for row in ROWS if row != PROJECTION]
THREE_TASKS = [PLAIN, "compass", "topk 2 % + int4", "prune_mask, density 0.7", PROJECTION, "hypergradient",
               ALL, "all but hypergradient"]
COSTS = {"virtual_seconds": "virtual time", "uplink_bytes": "uplink bytes",
         "downlink_bytes": "downlink bytes", "train_flops": "client FLOPs"}


class Study:
    def __init__(self, options):
        self.options = options
        self.base = tables.results(options, self.whole, [(seed,) for seed in options.seeds])
        self.one = tables.results(options, self.to_target,
                                  [(row, seed) for row in ONE_TASK for seed in options.seeds])
        self.three = tables.results(options, self.tasks,
                                    [(row, seed) for row in THREE_TASKS for seed in options.seeds])

    def simulate(self, name, row, seed, settings):
        folder = self.options.out / f"{name}-{tables.slug(row)}-{seed}"
        return folder, tables.simulate(self.options, HERE / "composed.yaml", folder, seed,
                                       ROWS[row] | settings)

    def one_task(self, name, row, seed, stop):
        return self.simulate(name, row, seed, {
            "simulation.data.scenario": None, "job.continual": {"tasks": 1}, "job.evaluate.every_versions": 1,
            "job.stop": stop})

    def whole(self, seed):
        """FedAvg's accuracy and virtual seconds after all of its versions."""
        folder, summary = self.one_task("whole", PLAIN, seed, {"versions": VERSIONS})
        return statistics.mean(tables.metrics(folder, "accuracy")[-LAST:]), summary["virtual_seconds"]

    def to_target(self, row, seed):
        """The summary of a run to the target; None: it was not reached."""
        accuracy, seconds = self.base[seed,]
        target = round(accuracy - LESS, 4)
        _, summary = self.one_task("target", row, seed,
                                   {"target_accuracy": target, "seconds": seconds})
        return summary if summary["best"]["accuracy"] >= target else None

    def tasks(self, row, seed):
        rounds = {"job.continual.versions_per_task": ROUNDS} if "job.scheduler" in ROWS[row] else {}
        return self.simulate("tasks", row, seed, rounds)[1]

    def shares(self, runs, row):
        """Of FedAvg's costs, or in how many seeds the target was not reached."""
        cells = []
        for key in COSTS:
            pairs = [(runs[row, seed], runs[PLAIN, seed]) for seed in self.options.seeds]
            if None in (this for this, _ in pairs):
                cells.append(f"never in {sum(this is None for this, _ in pairs)} of {len(pairs)}")
            else:
                cells.append(tables.spread([this[key] / plain[key] for this, plain in pairs], "{:.3f}"))
        return cells

    def absolute(self, runs):
        """FedAvg's costs."""
        units = {"virtual_seconds": (1, "{:.0f}", "s"), "uplink_bytes": (1e6, "{:.0f}", "MB"),
                 "downlink_bytes": (1e6, "{:.0f}", "MB"), "train_flops": (1e12, "{:.2f}", "TFLOP")}
        return [f"{tables.spread([runs[PLAIN, seed][key] / one for seed in self.options.seeds], form)} {unit}"
                for key, (one, form, unit) in units.items()]

    def to_target_table(self):
        rows = [[f"{PLAIN} itself", *self.absolute(self.one)]]
        rows += [[row, *self.shares(self.one, row)] for row in ONE_TASK if row != PLAIN]
        return tables.markdown(["", *COSTS.values()], rows)

    def tasks_table(self):
        rows = []
        for row in THREE_TASKS:
            these = [self.three[row, seed]["tasks"] for seed in self.options.seeds]
            costs = self.absolute(self.three) if row == PLAIN else self.shares(self.three, row)
            rows.append([row, tables.spread([100 * t["average_accuracy"] for t in these], "{:.1f}"),
                         tables.spread([100 * t["forgetting"] for t in these], "{:.1f}"), *costs])
        return tables.markdown(["", "average accuracy, %", "forgetting, points", *COSTS.values()], rows)


def main():
    parser = tables.parser(__doc__, "composition")
    parser.add_argument("--write-docs", action="store_true")
    study = Study(parser.parse_args())
    texts = {"one task": study.to_target_table(), "three tasks": study.tasks_table()}
    print(*texts.values(), sep="\n\n")
    if study.options.write_docs:
        for name, text in texts.items():
            tables.write_docs("composition.md", name, text)


if __name__ == "__main__":
    main()
