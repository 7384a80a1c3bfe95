"""The command line in this process, on a database and a data folder of the test's own."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aegis.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document of standard output."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands; `aegis("memory", "get", "1")`."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        self.capture.readouterr()
        status = run(list(arguments))
        out, err = self.capture.readouterr()
        return Outcome(status, out, err)


@pytest.fixture
def environment(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Variables for a given server and no embedder; a test adds its own."""
    monkeypatch.setenv("AEGIS_DATABASE_URL", dsn)
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AEGIS_EMBEDDER", "none")
    monkeypatch.setenv("COLUMNS", "100")
    handlers = logging.getLogger().handlers[:]
    yield monkeypatch
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def aegis(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line."""
    return Shell(capsys)
