#!/usr/bin/env python3
"""Initial learning rates times methods, on Fashion-MNIST over several seeds.

usage: examples/hypergradient/grid.py [--sim PATH] [--model logistic|cnn] [--rates A,B,…]
           [--methods A,B,…] [--versions N] [--no-target] [--seeds 1,2,3] [--jobs N] [--out DIR]
           [--write-docs NAME]

Every run is MODEL.yaml (100 clients, 10 a round, Dirichlet 0.5) with another method and another
learning rate of the clients. A cell is the accuracy after N versions, the mean over the last five
evaluations and the seeds, for a single version swings by points; a run that diverges counts 0.
Below it, the methods against FedAvg, seed by seed: points at a rate of 0.1 and at FedAvg's best,
and, if 0.001 is among the rates, versions to 70 % at that, each run for 400 versions at most (not
with --no-target). Runs whose summary is already in DIR are not repeated.
--write-docs puts the tables between the markers NAME of docs/algorithms/hypergradient.md and, of
several rates, the heat map beside it.
"""

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

RATE = "job.train.optimizer.sgd.learning_rate"
SECTION = "job.hypergradient"
OPTIMIZER = "job.aggregation.optimizer"


def hyper(variant, form):
    return {SECTION: f"{{variant: {variant}, form: {form}}}"}


PLAIN = "FedAvg"
# Method -> what is changed in the file.
METHODS = {
    PLAIN: {SECTION: "null"},
    "G raw": hyper("global", "raw"),
    "G cosine": hyper("global", "cosine"),
    "GM cosine": hyper("global_momentum", "cosine"),
    "SL cosine": hyper("server_local", "cosine"),
    "CL cosine": hyper("client_local", "cosine"),
    "FedAdam": {SECTION: "null", OPTIMIZER: "adam"},
    "FedExP": {SECTION: "null", OPTIMIZER: "fedexp"},
}
SMALL, TARGET, LONGEST = 0.001, 0.7, 400  # the runs to a target
LAST = 5  # evaluations, of every second version


def arguments():
    parser = tables.parser(__doc__, "hypergradient")
    parser.add_argument("--model", choices=["logistic", "cnn"], default="logistic")
    parser.add_argument("--rates", default="0.0005,0.001,0.005,0.01,0.05,0.1,0.5")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--no-target", action="store_true")
    parser.add_argument("--write-docs", metavar="NAME")
    return parser.parse_args()


def run(options, method, rate, seed, stop):
    """The summary of one run and the accuracies of its versions; None if every update diverged."""
    folder = options.out / f"{options.model}-{tables.slug(method)}-{rate}-{seed}-{'-'.join(stop)}"
    settings = {RATE: rate, "job.stop": stop, **METHODS[method]}
    summary = tables.simulate(options, HERE / f"{options.model}.yaml", folder, seed, settings,
                              may_diverge=True)
    return summary and (summary, tables.metrics(folder, "accuracy"))


def final(result):
    """Accuracy in percent."""
    return 0.0 if result is None else 100 * statistics.mean(result[1][-LAST:])


def versions_to_target(result):
    reached = result and result[0]["targets"][0]["version"]
    return reached or LONGEST


def spread(values, form):
    return tables.spread(values, form, middle=statistics.mean)


class Grid:
    def __init__(self, options):
        self.methods = options.methods.split(",")
        self.rates = [float(rate) for rate in options.rates.split(",")]
        self.seeds = options.seeds
        whole = {"versions": options.versions}
        until = {"versions": LONGEST, "target_accuracy": TARGET}
        self.cells = tables.results(
            options, lambda *key: final(run(options, *key, whole)),
            [(method, rate, seed) for method in self.methods for rate in self.rates for seed in self.seeds])
        self.reach = tables.results(
            options, lambda method, seed: versions_to_target(run(options, method, SMALL, seed, until)),
            [(method, seed) for method in self.methods for seed in self.seeds
             if SMALL in self.rates and not options.no_target])

    def mean(self, method, rate):
        return statistics.mean(self.cells[method, rate, seed] for seed in self.seeds)

    def table(self):
        return tables.markdown(
            ["method", *(f"{rate:g}" for rate in self.rates)],
            [[method, *(f"{self.mean(method, rate):.1f}" for rate in self.rates)] for method in self.methods])

    def against_plain(self):
        tuned = max(self.rates, key=lambda rate: self.mean(PLAIN, rate))
        shown = sorted({0.1, tuned} & set(self.rates))
        head = ["method"]
        head += [f"points more at {rate:g}" + (" (tuned)" if rate == tuned and len(self.rates) > 1 else "") for rate in shown]
        rows = []
        for method in self.methods:
            rows.append([method])
            rows[-1] += [spread([self.cells[method, rate, seed] - self.cells[PLAIN, rate, seed]
                                 for seed in self.seeds], "{:+.2f}") for rate in shown]
            if not self.reach:
                continue
            reached = [self.reach[method, seed] for seed in self.seeds]
            rows[-1] += [", ".join("never" if v == LONGEST else str(v) for v in reached),
                         spread([v / self.reach[PLAIN, seed] for v, seed in zip(reached, self.seeds)], "{:.2f}")]
        if self.reach:
            head += [f"versions to 70 % at {SMALL:g}", "of FedAvg's"]
        return tables.markdown(head, rows)

    def heat_map(self):
        """An SVG: points more than FedAvg, from red (-10 and less) by white to blue (+10 and more)."""
        left, top, width, height = 90, 30, 70, 26
        parts = []
        for i, rate in enumerate(self.rates):
            parts.append(f'<text x="{left + width * (i + 0.5):g}" y="20" text-anchor="middle">{rate:g}</text>')
        for j, method in enumerate(self.methods):
            y = top + height * j
            parts.append(f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{method}</text>')
            for i, rate in enumerate(self.rates):
                points = self.mean(method, rate) - self.mean(PLAIN, rate)
                fade = round(255 * (1 - min(1, abs(points) / 10)))
                color = f"rgb({fade},{fade},255)" if points > 0 else f"rgb(255,{fade},{fade})"
                ink = "#fff" if fade < 110 else "#000"
                x = left + width * i
                text = f"{self.mean(method, rate):.1f}" if method == PLAIN else f"{points:+.1f}"
                parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}" stroke="#ccc"/>'
                             f'<text x="{x + width / 2:g}" y="{y + 17}" text-anchor="middle" '
                             f'fill="{ink}">{text}</text>')
        size = left + width * len(self.rates) + 10, top + height * len(self.methods) + 10
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" '
                f'width="{size[0]}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    options = arguments()
    grid = Grid(options)
    text = f"{grid.table()}\n\n{grid.against_plain()}"
    print(text)
    if not options.write_docs:
        return
    tables.write_docs("algorithms/hypergradient.md", options.write_docs, text)
    if len(grid.rates) > 1:
        (tables.DOCS / f"algorithms/hypergradient_{options.model}.svg").write_text(grid.heat_map())


if __name__ == "__main__":
    main()
