#!/usr/bin/env python3
"""What `continual.orthogonal` keeps of earlier tasks, on Fashion-MNIST over several seeds.

usage: examples/continual/table.py [--sim PATH] [--seeds 1,2,3] [--jobs N] [--out DIR] [--write-docs]

Every run is fot.yaml (20 clients, 10 a version) with other tasks, another partition or another ε,
and the same without the projection. Bytes are all that travelled, up and down, the clients'
contributions at the ends of tasks included. Differences and shares are taken seed by seed. Runs
whose summary is already in DIR are not repeated. --write-docs puts the tables into
docs/algorithms/orthogonal_projection.md and the heat map beside it.
"""

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

PAGE = "algorithms/orthogonal_projection"
ENERGY, ENERGIES = 0.95, (0.8, 0.9, 0.95, 0.97, 0.99)
TASKS = "simulation.data.scenario"


def permuted(tasks, versions):
    return {TASKS: {"permuted": {}}, "job.continual": {"tasks": tasks, "versions_per_task": versions}}


def split(heads):
    return {TASKS: {"split_classes": {"classes_per_task": 2, "heads": heads}}}


IID = {"simulation.data.partition": "iid"}
SHARDS = {"simulation.data.partition": {"shards": {"shards_per_client": 2}}}
# Scenario -> what is changed in the file, and the tensors that belong to single tasks.
SCENARIOS = {
    "permuted, 5 tasks": (permuted(5, 30) | IID, []),
    "permuted, 10 tasks": (permuted(10, 30) | IID, []),
    "split, multi-head": (split("multi") | IID, ["fc3.*"]),
    "split, single head": (split("single") | IID, []),
    "permuted, 5 tasks, 2 shards": (permuted(5, 60) | SHARDS, []),
    "permuted, 10 tasks, 2 shards": (permuted(10, 60) | SHARDS, []),
    "split, multi-head, 2 shards": (split("multi") | SHARDS, ["fc3.*"]),
    "split, single head, 2 shards": (split("single") | SHARDS, []),
}
SWEPT = ["permuted, 5 tasks", "split, multi-head"]  # scenarios in which ε is varied


class Study:
    def __init__(self, options):
        self.options = options
        keys = [(scenario, energy) for scenario in SCENARIOS for energy in (None, ENERGY)]
        keys += [(scenario, energy) for scenario in SWEPT for energy in ENERGIES if energy != ENERGY]
        self.runs = tables.results(options, self.run,
                                   [(*key, seed) for key in keys for seed in options.seeds])

    def run(self, scenario, energy, seed):
        """The summary of one run; no energy: FedAvg."""
        settings, heads = SCENARIOS[scenario]
        orthogonal = None if energy is None else {"energy": energy, "heads": heads}
        folder = self.options.out / f"{tables.slug(scenario)}-{energy}-{seed}"
        return tables.simulate(self.options, HERE / "fot.yaml", folder, seed,
                               settings | {"job.continual.orthogonal": orthogonal})

    def cells(self, scenario, energy):
        """Against FedAvg: average accuracies, forgetting, bytes added."""
        plain = [self.runs[scenario, None, seed] for seed in self.options.seeds]
        with_it = [self.runs[scenario, energy, seed] for seed in self.options.seeds]
        ratio = [forgetting(b) / forgetting(a) for a, b in zip(plain, with_it)]
        added = [traffic(b) / traffic(a) - 1 for a, b in zip(plain, with_it)]
        return [tables.spread([100 * s["tasks"]["average_accuracy"] for s in with_it], "{:.1f}"),
                tables.spread([100 * forgetting(s) for s in with_it], "{:.1f}"),
                f"{statistics.median(ratio):.2f}", f"{100 * statistics.median(added):.1f} %"]

    def table(self):
        rows = []
        for scenario in SCENARIOS:
            plain = self.cells(scenario, None)
            rows.append([scenario, *plain[:2], *self.cells(scenario, ENERGY)])
        return tables.markdown(["", "FedAvg: average accuracy, %", "forgetting, points",
                                "with it: average accuracy, %", "forgetting, points",
                                "of FedAvg's", "bytes added"], rows)

    def sweep(self):
        rows = [["FedAvg"] + [cell for scenario in SWEPT for cell in self.cells(scenario, None)[:2]]]
        rows += [[f"{energy:g}"] + [cell for scenario in SWEPT for cell in self.cells(scenario, energy)[:2]]
                 for energy in ENERGIES]
        return tables.markdown(["ε"] + [cell for scenario in SWEPT
                                        for cell in (f"{scenario}: average accuracy, %", "forgetting, points")],
                               rows)

    def heat_map(self):
        """An SVG: accuracy on each task (across) after each task (down), mean over the seeds."""
        scenario, size, top = "permuted, 10 tasks", 34, 44
        parts = []
        for k, (title, energy) in enumerate((("FedAvg", None), (f"with it, ε = {ENERGY}", ENERGY))):
            matrices = [self.runs[scenario, energy, seed]["tasks"]["accuracy"] for seed in self.options.seeds]
            left = 30 + k * (size * len(matrices[0]) + 40)
            parts.append(f'<text x="{left}" y="16">{title}</text>')
            for i in range(len(matrices[0])):
                parts += [f'<text x="{left + size * (i + 0.5):g}" y="{top - 8}" text-anchor="middle">{i + 1}</text>',
                          f'<text x="{left - 6}" y="{top + size * i + 21}" text-anchor="end">{i + 1}</text>']
                for j in range(i + 1):
                    accuracy = statistics.mean(matrix[i][j] for matrix in matrices)
                    fade = round(255 * max(0, min(1, (0.9 - accuracy) / 0.6)))
                    x, y = left + size * j, top + size * i
                    parts.append(f'<rect x="{x}" y="{y}" width="{size}" height="{size}" '
                                 f'fill="rgb({fade},{fade},255)" stroke="#ccc"/>'
                                 f'<text x="{x + size / 2:g}" y="{y + 21}" text-anchor="middle" '
                                 f'fill="{"#fff" if fade < 110 else "#000"}">{100 * accuracy:.0f}</text>')
        width, height = left + size * len(matrices[0]) + 10, top + size * len(matrices[0]) + 10
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def forgetting(summary):
    return summary["tasks"]["forgetting"]


def traffic(summary):
    return summary["uplink_bytes"] + summary["downlink_bytes"]


def main():
    parser = tables.parser(__doc__, "continual")
    parser.add_argument("--write-docs", action="store_true")
    study = Study(parser.parse_args())
    texts = {"scenarios": study.table(), "energies": study.sweep()}
    print(*texts.values(), sep="\n\n")
    if study.options.write_docs:
        for name, text in texts.items():
            tables.write_docs(f"{PAGE}.md", name, text)
        (tables.DOCS / f"{PAGE}.svg").write_text(study.heat_map())


if __name__ == "__main__":
    main()
