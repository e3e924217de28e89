"""What the scripts that make the documentation's tables share: run the simulator over settings and
seeds, once for each, and put what came out into a page."""

import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DIVERGED = "in a row was usable"  # what tributary-sim says when no update is finite any more


def parser(doc, out, seeds="1,2,3"):
    """The common arguments but --write-docs; `out` is a folder under build/."""
    made = argparse.ArgumentParser(description=doc.split("\n")[0])
    made.add_argument("--sim", default=str(ROOT / "build/release/bin/tributary-sim"))
    made.add_argument("--seeds", type=integers, default=seeds)
    made.add_argument("--jobs", type=int, default=os.cpu_count())
    made.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / out)
    return made


def integers(text):
    return [int(value) for value in text.split(",")]


def slug(text):
    return "".join(c if c.isalnum() else "_" for c in text)


def assignments(settings):
    """{path: value, or YAML as text} as the simulator's --set takes them."""
    return [f"{path}={value if isinstance(value, str) else json.dumps(value)}"
            for path, value in settings.items()]


def simulate(options, file, folder, seed, settings, may_diverge=False):
    """The summary of a run, which is made unless it is there; None if it diverged and may."""
    command = [options.sim, "run", str(file), "--quiet", "--threads", "1",
               "--seed", str(seed), "--out", str(folder)]
    for assignment in assignments(settings):
        command += ["--set", assignment]
    if not (folder / "summary.json").exists():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if may_diverge and DIVERGED in done.stderr:
            return None
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads((folder / "summary.json").read_text())


def metrics(folder, column):
    """A column of a run's metrics.csv, where it has a value."""
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def results(options, run, keys):
    """{key: run(*key)}, --jobs at a time."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {key: pool.submit(run, *key) for key in keys}
    return {key: future.result() for key, future in runs.items()}


def spread(values, form, middle=statistics.median):
    return f"{form.format(middle(values))} ({form.format(min(values))} to {form.format(max(values))})"


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def write_docs(page, name, text):
    """Puts `text` between the markers <!-- name --> of a page under docs/."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = (DOCS / page).read_text().split(begin)
    (DOCS / page).write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}")
