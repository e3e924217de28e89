"""Prints what the programs of deploy/bench.sh measured as tables, and writes it as one object.

    table.py DIR OUT.json

DIR has one NN_kind_x.json for each run, as the programs write it.
"""

import json
import pathlib
import sys


def print_table(title, columns, rows):
    widths = [max(len(str(row[i])) for row in [columns] + rows) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [columns] + rows:
        print("  " + "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths)))


def megabytes(count):
    return f"{count / 1e6:.0f} MB"


def payload_rows(run):
    return [
        [row["values"], row["what"], row["threads"], f"{1e3 * row['seconds']:.2f} ms",
         f"{row['bytes_per_second'] / 1e9:.1f} GB/s", f"{row['of_triad']:.2f}"]
        for row in run["rows"]
    ]


def round_row(run):
    shape = f"{run['clients']} x {run['parameters'] / 1e6:g}M" + (" TLS" if run["tls"] else "")
    return [
        shape, f"{run['round_seconds_median']:.2f} s",
        f"{run['payload_bytes_per_second'] / 1e6:.0f} MB/s",
        f"{run['bare_bytes_per_second'] / 1e6:.0f} MB/s", f"{run['of_bare']:.2f}",
        megabytes(run["model_bytes"]), megabytes(run["peak_rss_bytes"]),
        f"{run['peak_rss_models']:.2f}", f"{run['peak_own_models']:.2f}",
        f"{sorted(run['tail_seconds'])[len(run['tail_seconds']) // 2]:.2f} s", f"{run['write_seconds']:.2f} s",
    ]


def idle_row(run):
    return [
        f"{run['clients']}" + (" TLS" if run["tls"] else ""),
        f"{run['rss_bytes_per_client'] / 1e3:.0f} KB", f"{100 * run['idle_cpu_share']:.2f} %",
        f"{1e6 * run['cpu_seconds_per_check_in']:.0f} µs",
    ]


def main(directory, out):
    runs = {path.stem: json.loads(path.read_text()) for path in sorted(pathlib.Path(directory).glob("*.json"))}
    of_kind = lambda kind: [run for name, run in runs.items() if kind in name]
    print_table("Passes over memory; limit: a triad over as many values",
                ["values", "what", "threads", "time", "bytes", "of triad"],
                [row for run in of_kind("payload") for row in payload_rows(run)])
    print_table("A round, clients that answer at once; limit: a bare gRPC stream of the same bytes, and"
                " of the tail the writing of a new file of the model's size",
                ["clients", "round", "payload", "bare", "of bare", "model", "peak RSS", "models",
                 "without libraries", "tail", "write"],
                [round_row(run) for run in of_kind("round")])
    print_table("Idle clients", ["clients", "memory of each", "CPU of all", "a check-in's CPU"],
                [idle_row(run) for run in of_kind("idle")])
    pathlib.Path(out).write_text(json.dumps(runs, indent=2) + "\n")
    print(f"\nAll of it: {out}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
