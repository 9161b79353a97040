"""docs/faults.md holds every fault, and every test it names is there (faults 1-60)."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?P<number>\d+) \| (?P<fault>[^|]+) \| (?P<does>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
PAGE = (ROOT / "docs/faults.md").read_text("utf-8")


@functools.cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_of_the_catalogue_has_one_row() -> None:
    assert [int(row["number"]) for row in ROW.finditer(PAGE)] == list(range(1, 61))
    assert len([line for line in PAGE.splitlines() if re.match(r"\| \d", line)]) == 60


def test_every_test_the_page_names_exists() -> None:
    named = [name.split("::") for name in re.findall(r"`(tests/[^`]+::[^`]+)`", PAGE)]
    assert len(named) > 60
    missing = [
        f"{path}::{test}" for path, test in named if not (ROOT / path).exists() or test not in functions_of(path)
    ]
    assert missing == []


def test_a_row_without_a_test_says_that_it_is_not_yet_covered_and_why() -> None:
    for row in ROW.finditer(PAGE):
        if "::" not in row["tests"]:
            assert re.search(r"\*\*not yet\*\*: \S+", row["does"]), row["number"]
