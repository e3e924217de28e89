#!/usr/bin/env python3
"""What clang finds without building: clang-tidy (with clang's own warnings, thread safety among
them) over the sources, clang's warnings alone over the tests, where clang-tidy would take as long
again.

usage: clang_analysis.py BUILD_DIR [PATH...]

BUILD_DIR holds the compile_commands.json of preset clang-tidy; its generated sources must be there
(target tributary_proto_sources). With PATHs, only sources whose path starts with one of them."""
import concurrent.futures
import json
import os
import subprocess
import sys


def check(entry, build, root):
    """The name of the entry's source, whether it is clean, and what clang said."""
    name = os.path.relpath(entry["file"], root)
    if name.startswith("tests/"):
        command = entry["command"].replace(" -c ", " -fsyntax-only -c ")
        run = subprocess.run(command, shell=True, cwd=entry["directory"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    else:
        run = subprocess.run(["clang-tidy", "-p", build, "--quiet", entry["file"]], cwd=root, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return name, run.returncode == 0, run.stdout


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    build = os.path.abspath(sys.argv[1])
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    # Largest first: the last files to end are small ones.
    entries = sorted((entry for entry in entries
                      if not os.path.abspath(entry["file"]).startswith(build)
                      and os.path.relpath(entry["file"], root).startswith(tuple(sys.argv[2:]) or "")),
                     key=lambda entry: -os.path.getsize(entry["file"]))
    if not entries:
        sys.exit("clang_analysis.py: no source to look at")
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, clean, output in pool.map(lambda entry: check(entry, build, root), entries):
            if not clean:
                failed.append(name)
                print(f"{name}:\n{output}", flush=True)
    print(f"{len(entries) - len(failed)} of {len(entries)} sources are clean")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
