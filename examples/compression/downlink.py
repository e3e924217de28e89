#!/usr/bin/env python3
"""What each form of a job's downlink saves and what it costs, on Fashion-MNIST over several seeds.

usage: examples/compression/downlink.py [--sim PATH] [--seeds 1,2,3] [--jobs N] [--out DIR] [--write-docs]

Every row is topk_int8.yaml with updates as they are and another `downlink:` section, for two fleets: 100
clients of which 10 train in each round, and 10 that train in all. Bytes are those of all downloads as a share
of those of the first row. Accuracy as in table.py. Runs whose summary is already in DIR are not
repeated. --write-docs puts the table into docs/codecs.md.
"""

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

WHOLE = "absent: whole"
ROWS = {
    WHOLE: None,
    "`{}`: exact": [],
    "bf16": ["bf16"],
    "int8": ["int8"],
    "topk 3 % + int8": [{"topk": {"fraction": 0.03}}, "int8"],
}
FLEETS = {"10 of 100": 100, "10 of 10": 10}
LAST = 10  # evaluations


def arguments():
    parser = tables.parser(__doc__, "downlink")
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


def table(options):
    def run(fleet, name, seed):
        """(bytes downloaded, accuracy) of one run."""
        folder = options.out / tables.slug(f"{fleet}-{name}-{seed}")
        settings = {"job.codec": [], "simulation.clients": FLEETS[fleet]}
        if ROWS[name] is not None:
            settings["job.downlink"] = {"codec": ROWS[name]}
        summary = tables.simulate(options, HERE / "topk_int8.yaml", folder, seed, settings)
        return summary["downlink_bytes"], statistics.mean(tables.metrics(folder, "accuracy")[-LAST:])

    runs = tables.results(options, run, [(fleet, name, seed) for name in ROWS for fleet in FLEETS
                                         for seed in options.seeds])
    rows = []
    for name in ROWS:
        rows.append([name])
        for fleet in FLEETS:
            pairs = [(runs[fleet, name, seed], runs[fleet, WHOLE, seed]) for seed in options.seeds]
            share = statistics.median(this[0] / whole[0] for this, whole in pairs)
            lost = [100 * (whole[1] - this[1]) for this, whole in pairs]
            rows[-1] += [f"{100 * share:.1f} %", tables.spread(lost, "{:.1f}")]
    head = [cell for fleet in FLEETS for cell in (f"{fleet}: bytes", "points lost")]
    return tables.markdown(["downlink", *head], rows)


def main():
    options = arguments()
    text = table(options)
    print(text)
    if options.write_docs:
        tables.write_docs("codecs.md", "downlink", text)


if __name__ == "__main__":
    main()
