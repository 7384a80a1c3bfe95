"""The page of faults names tests that exist, and has a test or a reason for every fault."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.rules.source import ROOT

PAGE = ROOT / "docs" / "explanation" / "faults.md"
FAULTS = 40


def _rows() -> list[list[str]]:
    """Return the cells of every row of a table, heads left out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"} and row[0] not in ("#", "trap")]


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text())))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_tests_it_names_exist(path: str, name: str) -> None:
    assert name in _functions(path)


def test_each_fault_has_a_test_or_comes_later() -> None:
    rows = _rows()
    numbers = [int(row[0]) for row in rows if row[0].isdigit()]
    assert numbers == list(range(1, FAULTS + 1))
    bare = [row for row in rows if "::test_" not in row[-1] and row[-2] != "*later*"]
    assert bare == []
    # A test that is named in another form would not be looked for.
    assert PAGE.read_text().count("::test_") == len(
        re.findall(r"`[\w/]+\.py::test_\w+`", PAGE.read_text())
    )
