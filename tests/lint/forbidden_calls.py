#!/usr/bin/env python3
"""Calls that only one place may make: clocks, sleeping, randomness, locks; and `throw`.

usage: forbidden_calls.py ROOT

Comments and string literals do not count.
"""

import re
import sys

import source_tree

# (what it matches, files that may, why it is forbidden)
RULES = (
    (r"absl::Now\b|absl::GetCurrentTimeNanos|\w+_clock::now\b|\bclock_gettime\b|\bgettimeofday\b|"
     r"\b(?:std::)?time\s*\(\s*(?:nullptr|NULL|0)\s*\)",
     ("common/clock.cc", "common/mutex.h"),
     "time comes from a Clock (common/clock.h)"),
    (r"absl::SleepFor\b|\bsleep_(?:for|until)\b|\b(?:u|nano)?sleep\s*\(",
     ("common/clock.cc",),
     "waiting goes through Clock::SleepFor (common/clock.h)"),
    (r"\brandom_device\b|\bstd::(?:mt19937|minstd_rand|default_random_engine|shuffle)|"
     r"#\s*include\s*<random>|absl::BitGen|\b(?:std::)?s?rand\s*\(|\bdrand48\b|"
     r"\bRAND_bytes\b|\b(?:torch|at)::(?:rand\w*|manual_seed)\b",
     ("common/rng.cc", "common/rng.h"),
     "randomness comes from an Rng (common/rng.h)"),
    (r"absl::(?:Mutex|MutexLock|CondVar)\b|std::(?:recursive_|shared_|timed_)*mutex\b|"
     r"std::condition_variable|std::(?:lock_guard|unique_lock|scoped_lock|shared_lock)\b",
     ("common/mutex.h", "common/clock.cc"),
     "locks are common/mutex.h's, which clang's analysis and ThreadSanitizer understand"),
    (r"\bthrow\b",
     (),
     "nothing of ours throws: return absl::Status"),
)


def check(root):
    rules = [(re.compile(pattern), allowed, why) for pattern, allowed, why in RULES]
    findings = []
    for path, text in source_tree.sources(root):
        for number, line in enumerate(source_tree.code_only(text).split("\n"), start=1):
            for pattern, allowed, why in rules:
                match = pattern.search(line)
                if match and path not in allowed:
                    findings.append(f"{path}:{number}: {match.group(0).strip()}: {why}")
    return findings


if __name__ == "__main__":
    sys.exit(source_tree.run(check, "forbidden_calls.py"))
