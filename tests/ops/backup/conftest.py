"""Backups of a database of the test's own, in a folder of the test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import ask_aegis
from aegis.config import load_settings
from aegis.ops.backup.crypto import new_key
from aegis.ops.backup.service import Backups
from tests.cluster import reachable_folder
from tests.db.rows import MODERN_ROWS, execute
from tests.ops.backup.places import box, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from tests.conftest import Cluster

#: Fixtures that stand elsewhere.
__all__ = ["box", "store"]

KEY = new_key()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the account of throw-away servers can enter."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def full_dsn(dsn: str) -> str:
    """A database with a row in every kind of table."""
    execute(dsn, MODERN_ROWS)
    return dsn


@pytest.fixture
def settings(place: Path, full_dsn: str) -> Settings:
    return load_settings(
        {}, data_dir=place / "data", database_url=full_dsn, embedder="none", backup_keys=KEY
    )


@pytest.fixture
def backups(settings: Settings) -> Backups:
    return Backups(settings, smoke=ask_aegis)


@pytest.fixture
def dropped(cluster: Cluster) -> Iterator[None]:
    """Drop what restores of this test made."""
    before = _databases(cluster)
    yield
    for name in _databases(cluster) - before:
        cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _databases(cluster: Cluster) -> set[str]:
    return {name for (name,) in cluster.admin.execute("SELECT datname FROM pg_database")}


def varied(backups: Backups, **changes: object) -> Backups:
    """Return the same backups with other settings."""
    return Backups(replace(backups.settings, **changes), smoke=ask_aegis)  # type: ignore[arg-type]
