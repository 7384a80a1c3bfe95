"""Events of hooks that nobody writes are told, and those that were put aside."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.config import spool_folder
from aegis.sessions import spool
from tests.ops.health.looking import look

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, data_dir=tmp_path)


def folder_of(settings: Settings) -> Path:
    return spool_folder(settings.data_dir, settings.database_url)


async def test_nothing_that_waits_is_well(db: Database, settings: Settings) -> None:
    assert (await look(db, settings, "hook-spool")).state == "ok"
    spool.append(folder_of(settings), {"at": time.time()})
    fresh = await look(db, settings, "hook-spool")
    assert (fresh.state, [*fresh.findings]) == ("ok", [])


@pytest.mark.parametrize(("hours", "state"), [(2, "warning"), (25, "critical")])
async def test_events_that_wait_for_long_are_told_by_the_oldest(
    db: Database, settings: Settings, hours: float, state: str
) -> None:
    folder = folder_of(settings)
    spool.append(folder, {"at": time.time() - hours * 3_600})
    # A drain that was cut off left a batch; what came since is newer.
    assert spool.claim(folder) is not None
    spool.append(folder, {"at": time.time()})
    found = await look(db, settings, "hook-spool")
    assert found.state == state
    (finding,) = found.findings
    assert finding.fix == "aegis sessions sweep"
    assert f"the oldest {hours:.1f} h old" in finding.observed


async def test_torn_line_and_events_put_aside(db: Database, settings: Settings) -> None:
    folder = folder_of(settings)
    spool.append(folder, {"at": time.time()})
    (folder / "events.jsonl").write_bytes(b'{"at": 1')
    assert (await look(db, settings, "hook-spool")).state == "ok"
    (folder / "events.jsonl").unlink()
    spool.reject(folder, b"torn", "The line is not JSON.")
    spool.reject(folder, b"torn", "The line is not JSON.")
    found = await look(db, settings, "hook-spool")
    assert found.state == "warning"
    (finding,) = found.findings
    assert finding.observed.startswith("2 events")


async def test_spool_of_another_database_is_not_ours(db: Database, settings: Settings) -> None:
    other = spool_folder(settings.data_dir, "postgresql://elsewhere/db")
    spool.append(other, {"at": time.time() - 90_000})
    assert (await look(db, settings, "hook-spool")).state == "ok"
