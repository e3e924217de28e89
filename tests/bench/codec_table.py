"""The table of docs/codecs.md, "What they cost in time".

    payload_bench --values 10000000 --threads 1 --rounds 4 --json | python3 codec_table.py
"""

import json
import sys


def main():
    rows = {row["what"]: row for row in json.load(sys.stdin)["rows"]}
    dense = rows["add raw"]["seconds"]
    print("| codec | bytes, of float32 | relative error | encode, GB/s | decode and check, GB/s "
          "| add, of a dense float32 sum's time |")
    print("|---" * 6 + "|")
    for what, encode in rows.items():
        if "relative_error" not in encode:
            continue
        name = what.removeprefix("encode ")
        print(f"| {name} | {100 * encode['of_float32']:.2f} % | {encode['relative_error']:.2g} "
              f"| {encode['bytes_per_second'] / 1e9:.1f} "
              f"| {rows[f'decode {name}']['bytes_per_second'] / 1e9:.1f} "
              f"| {rows[f'add {name}']['seconds'] / dense:.2f} |")
    print(f"\ntriad: {rows['triad']['bytes_per_second'] / 1e9:.0f} GB/s")


if __name__ == "__main__":
    main()
