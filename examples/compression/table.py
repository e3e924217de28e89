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

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

DENSE = "dense"


def topk(fraction, **options):
    return {"topk": {"fraction": fraction} | options}


# Lin et al. begin at 25 %; the short one takes fewer bytes.
WARMUP = {"versions": 20, "from": 0.25}
SHORT_WARMUP = {"versions": 10, "from": 0.1}
# Row -> the job's codec, and its error feedback.
ROWS = {
    DENSE: ([], True),
    "fp16": (["fp16"], True),
    "bf16": (["bf16"], True),
    "int8": (["int8"], True),
    "int4": (["int4"], True),
    "int4, no feedback": (["int4"], False),
    "sign": (["sign"], True),
    "sign, no feedback": (["sign"], False),
    "topk 10 % + int8": ([topk(0.1), "int8"], True),
    "topk 3 % + int8": ([topk(0.03), "int8"], True),
    "topk 3 % + int8, no feedback": ([topk(0.03), "int8"], False),
    "topk 3 % of each tensor + int8": ([topk(0.03, scope="tensor"), "int8"], True),
    "topk 3 % + int4": ([topk(0.03), "int4"], True),
    "topk 3 % + sign": ([topk(0.03), "sign"], True),
    "topk 1 % + int8": ([topk(0.01), "int8"], True),
    "topk 1 % + int8, no feedback": ([topk(0.01), "int8"], False),
    "topk 1 % of each tensor + int8": ([topk(0.01, scope="tensor"), "int8"], True),
    "topk 1 % + int4": ([topk(0.01), "int4"], True),
    "topk 1 % + sign": ([topk(0.01), "sign"], True),
    "topk 1 % after a warm-up + int8": ([topk(0.01, warmup=WARMUP), "int8"], True),
    "topk 1 % after a short warm-up + int8": ([topk(0.01, warmup=SHORT_WARMUP), "int8"], True),
    "topk 1 % after a warm-up + sign": ([topk(0.01, warmup=WARMUP), "sign"], True),
    "topk 1 % + int8, momentum 0.9": ([topk(0.01), "int8"], {"momentum": 0.9}),
    "topk 1 % + int8, momentum 0.5": ([topk(0.01), "int8"], {"momentum": 0.5}),
    "randk 3 % + int8": ([{"randk": {"fraction": 0.03}}, "int8"], True),
    "randk 3 % + int8, no feedback": ([{"randk": {"fraction": 0.03}}, "int8"], False),
    "randk 3 % + int4, no feedback": ([{"randk": {"fraction": 0.03}}, "int4"], False),
    "randk 1 % + int8, no feedback": ([{"randk": {"fraction": 0.01}}, "int8"], False),
}
LAST = 10  # evaluations


def arguments():
    parser = tables.parser(__doc__, "compression")
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    parser.add_argument("--overhead", type=int, default=405, help="bytes of an update beside its payload")
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


def table(options):
    def run(name, seed):
        """(share of the dense bytes, accuracy) of one run."""
        codec, feedback = ROWS[name]
        folder = options.out / f"{tables.slug(name)}-{seed}"
        settings = {"job.codec": codec} | ({} if feedback is True else {"job.error_feedback": feedback})
        summary = tables.simulate(options, HERE / "topk_int8.yaml", folder, seed, settings)
        sent = summary["uplink_bytes"] + options.overhead * summary["updates"]
        return (sent / summary["uplink_bytes_dense"],
                statistics.mean(tables.metrics(folder, "accuracy")[-LAST:]))

    names = [name for name in ROWS if name == DENSE or name.startswith(options.only)]
    runs = tables.results(options, run, [(name, seed) for name in names for seed in options.seeds])
    rows = []
    for name in names:
        these = [runs[name, seed] for seed in options.seeds]
        lost = [100 * (runs[DENSE, seed][1] - runs[name, seed][1]) for seed in options.seeds]
        rows.append([name, f"{100 * statistics.median(r[0] for r in these):.2f} %",
                     tables.spread([100 * r[1] for r in these], "{:.1f} %"), tables.spread(lost, "{:.1f}")])
    return tables.markdown(["codec", "bytes, of dense", "accuracy", "points lost against dense"], rows)


def main():
    options = arguments()
    text = table(options)
    print(text)
    if options.write_docs:
        tables.write_docs("codecs.md", "accuracy", text)


if __name__ == "__main__":
    main()
