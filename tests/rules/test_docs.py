"""The documents tell the truth: the reference is fresh, links lead somewhere, snippets run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rules.source import ROOT, tracked_files
from tools import reference

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cluster

PAGES = [p for p in tracked_files() if p.suffix == ".md"]


@pytest.mark.parametrize("name", list(reference.PAGE_MAKERS))
def test_reference_page_is_fresh(name: str) -> None:
    assert (reference.PAGES / name).read_text() == reference.PAGE_MAKERS[name](), "run `make docs`"


def test_reference_of_tables_is_fresh(shared_dsn: str) -> None:
    assert (reference.PAGES / "tables.md").read_text() == reference.tables_page(shared_dsn)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_readme_example_runs_and_finds_the_answer(cluster: Cluster, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(snippet.strip().splitlines()) <= 20
    script = tmp_path / "example.py"
    script.write_text(snippet)
    with cluster.database(cluster_template()) as dsn:
        done = subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            env={"AEGIS_DATABASE_URL": dsn, "AEGIS_DATA_DIR": str(tmp_path), "PATH": "/usr/bin"},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "disk" in done.stdout.splitlines()[0].lower()


def cluster_template() -> str:
    from tests.conftest import TEMPLATE

    return TEMPLATE


def test_every_command_that_the_readme_names_exists() -> None:
    from aegis.cli.main import app

    commands = {path for path, _ in reference.commands(app)}
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?m)^ {4}(aegis(?: [a-z]+)+)", text))
    assert {n for n in named if not any(f"{n} ".startswith(f"{c} ") for c in commands)} == set()
