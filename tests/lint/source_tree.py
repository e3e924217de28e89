"""What the lints share: walking the tree, and source text without comments and strings."""

import pathlib
import re
import sys

FOLDERS = ("common", "proto", "schedulers", "aggregators", "server", "client_sdk", "simulator",
           "examples", "tests")

_COMMENT_OR_LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)


def sources(root):
    """(path relative to root with '/', text) of every .h and .cc, in order of path."""
    root = pathlib.Path(root)
    paths = [p for folder in FOLDERS for p in (root / folder).rglob("*") if p.suffix in (".h", ".cc")]
    for path in sorted(paths):
        yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def code_only(text):
    """The text with comments and literals blanked; every line keeps its number."""
    return _COMMENT_OR_LITERAL.sub(lambda m: "\n" * m.group(0).count("\n") + " ", text)


def run(check, usage):
    """Main of a lint: prints `check(root)`'s findings; exit code 1 if there are any, else 0."""
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_dir():
        print(f"usage: {usage} ROOT", file=sys.stderr)
        return 2
    findings = check(sys.argv[1])
    for finding in findings:
        print(finding)
    return 1 if findings else 0
