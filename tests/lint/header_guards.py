#!/usr/bin/env python3
"""Every header is guarded by its own path: common/rng.h by TRIBUTARY_COMMON_RNG_H_.

usage: header_guards.py ROOT
"""

import re
import sys

import source_tree


def check(root):
    findings = []
    for path, text in source_tree.sources(root):
        if not path.endswith(".h"):
            continue
        guard = "TRIBUTARY_" + re.sub(r"[/.]", "_", path).upper() + "_"
        for line in (f"#ifndef {guard}\n#define {guard}\n", f"#endif  // {guard}\n"):
            if line not in text:
                findings.append(f"{path}:1: lacks the guard line '{line.splitlines()[0]}'")
    return findings


if __name__ == "__main__":
    sys.exit(source_tree.run(check, "header_guards.py"))
