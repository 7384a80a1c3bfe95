"""What the pages on LangGraph and LangChain show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rules.source import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        (
            "langgraph.md",
            [
                r"home Ann lives in Oslo\.",
                r"\['home', 'home'\]",
                r"\[\('users', '42'\), \('users', '7'\)\]",
            ],
        ),
        (
            "langchain.md",
            [r"1 The deploy failed because the disk was full\.", r"Found by its words .*deploy.*"],
        ),
    ],
)
def test_example_runs_and_prints_what_it_says(
    dsn: str, tmp_path: Path, page: str, lines: list[str]
) -> None:
    text = (ROOT / "docs" / "howto" / page).read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(snippet)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={
            "AEGIS_DATABASE_URL": dsn,
            "AEGIS_DATA_DIR": str(tmp_path),
            "PATH": "/usr/bin",
            "PYTHONPATH": str(ROOT / "src"),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert len(printed) == len(lines)
    for line, expected in zip(printed, lines, strict=True):
        assert re.fullmatch(expected, line)
