#!/usr/bin/env python3
"""Who may include whom: ARCHITECTURE.md's table, checked against every #include.

usage: layering.py ROOT

A file belongs to the room with the longest prefix of its path. What a room does not list, it may
not include. Link visibility in CMake says the same; this catches headers that need no linking.
"""

import re
import sys

import source_tree

# Third-party and system headers by group. A name ending in '/' or '.' stands for everything that
# begins with it; the first group that has the header counts.
GROUPS = {
    "grpc": ("grpc/", "grpcpp/", "tributary/v1/coordinator.grpc.", "tributary/v1/operator.grpc."),
    "proto": ("google/protobuf/", "tributary/v1/"),
    "torch": ("torch/", "ATen/", "c10/", "caffe2/"),
    "sqlite": ("sqlite3.h",),
    "absl": ("absl/",),
    "json": ("nlohmann/",),
    "yaml": ("yaml-cpp/",),
    "openssl": ("openssl/",),
    "xxhash": ("xxhash.h",),
    "zlib": ("zlib.h",),
    "zstd": ("zstd.h",),
    "spdlog": ("spdlog/", "fmt/"),
    "eigen": ("Eigen/", "lapacke.h", "cblas.h"),
    "cli": ("CLI/",),
    "http": ("httplib.h",),
    "gnu": ("ext/",),  # libstdc++'s own extensions
    "test": ("gtest/", "gmock/"),
    "threads": ("thread", "mutex", "shared_mutex", "condition_variable", "future", "semaphore",
                "latch", "barrier", "pthread.h"),
    "io": ("fstream", "filesystem", "iostream", "cstdio", "stdio.h", "sys/", "unistd.h", "fcntl.h",
           "signal.h", "csignal", "netinet/", "arpa/", "poll.h", "spawn.h", "dirent.h", "dlfcn.h"),
}

GROUND = ("absl", "json", "threads", "io")  # what any adapter or host may use
CORE = ("common", "schedulers", "aggregators", "server/store", "server/coordinator")

# room: (path prefixes of ours that it may include, groups that it may include)
ROOMS = {
    "common": (("common",), GROUND + ("openssl", "xxhash", "zstd", "spdlog")),
    "common/config/yaml.": (("common",), GROUND + ("yaml",)),
    "proto": (("proto",), GROUND + ("proto", "grpc")),
    "schedulers": (("common", "schedulers"), ("absl", "json", "gnu")),
    "aggregators": (("common", "aggregators"), ("absl", "json", "eigen")),
    "server/store": (("common", "server/store"), GROUND + ("sqlite",)),
    "server/coordinator": (CORE, ("absl", "json")),
    "server/coordinator/job_file.": (CORE, ("absl", "json", "io")),
    "server/live": (CORE + ("server/live",), GROUND),
    "server/rpc": (CORE + ("proto", "server/live", "server/rpc"), GROUND + ("proto", "grpc")),
    "server/dashboard": (CORE + ("server/live", "server/dashboard"), GROUND + ("http",)),
    "server/operator": (("common", "server/coordinator/job_spec.h", "server/coordinator/job_file.h",
                         "server/operator", "simulator/report"), GROUND + ("proto", "grpc", "cli")),
    "server/main.": (("common", "server"), GROUND + ("cli",)),
    "server/server.": (("common", "server"), GROUND + ("grpc",)),
    "server/config.": (("common", "server"), GROUND),
    "client_sdk": (("common", "client_sdk"), GROUND),
    "client_sdk/internal": (("common", "proto", "client_sdk"), GROUND + ("proto", "grpc")),
    "client_sdk/data": (("common", "client_sdk/data"), GROUND + ("zlib",)),
    "client_sdk/torch": (("common", "client_sdk"), GROUND + ("torch",)),
    "client_sdk/mocks": (("common", "client_sdk"), GROUND + ("test",)),
    "client_sdk/app": (("common", "client_sdk"), GROUND + ("cli",)),
    "simulator": (CORE + ("client_sdk/trainer.h", "client_sdk/data", "client_sdk/torch",
                          "simulator"), GROUND + ("cli",)),
    "simulator/report": (("common", "simulator/report"), ("absl", "json", "io")),
    "examples": (source_tree.FOLDERS, GROUND + ("cli", "torch")),
    "tests": (source_tree.FOLDERS, tuple(GROUPS)),
}

# What a room may not include although its list has a folder above it.
NEVER = {
    "aggregators": ("common/codec",),
    "client_sdk": ("client_sdk/torch", "client_sdk/app"),
    "client_sdk/internal": ("client_sdk/torch", "client_sdk/app", "client_sdk/data"),
    "client_sdk/torch": ("client_sdk/internal", "client_sdk/app"),
    "server/coordinator": ("common/config/yaml.h",),
    "server/live": ("common/config/yaml.h",),
}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def is_in(path, name):
    """True if `name` is the path, a folder above it, or its beginning up to a '/' or '.'."""
    return path == name or path.startswith(name if name[-1] in "/." else name + "/")


def room_of(path):
    return max((room for room in ROOMS if is_in(path, room)), key=len, default=None)


def group_of(header):
    return next((g for g, names in GROUPS.items() if any(is_in(header, n) for n in names)), None)


def is_standard(header):
    return re.fullmatch(r"[a-z_0-9]+(\.h)?", header) is not None


def broken_rule(room, header, quoted):
    """Why `room` may not include `header`, or None."""
    ours, groups = ROOMS[room]
    group = group_of(header)
    if group is not None:
        if group in groups:
            return None
        return f"{room.rstrip('.')} may not include {group} headers; allowed: {', '.join(groups)}"
    if header.split("/")[0] in source_tree.FOLDERS:
        if any(is_in(header, name) for name in NEVER.get(room, ())):
            return f"{room.rstrip('.')} may not include it"
        if any(is_in(header, name) for name in ours):
            return None
        return f"{room.rstrip('.')} may include of ours only {', '.join(ours)}"
    if not quoted and is_standard(header):
        return None
    if quoted and "/" not in header:
        return "write the path from the root of the tree"
    return "this header is in no group; add it to tests/lint/layering.py"


def check(root):
    findings = []
    for path, text in source_tree.sources(root):
        room = room_of(path)
        if room is None:
            findings.append(f"{path}:1: this folder has no rule; add it to tests/lint/layering.py")
            continue
        for include in _INCLUDE.finditer(text):
            rule = broken_rule(room, include.group(2), include.group(1) == '"')
            if rule is not None:
                line = text.count("\n", 0, include.start()) + 1
                findings.append(f"{path}:{line}: includes {include.group(2)}: {rule}")
    return findings


if __name__ == "__main__":
    sys.exit(source_tree.run(check, "layering.py"))
