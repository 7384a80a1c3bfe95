"""Backups and restores of a database that is used through a pooler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import aegis
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from tests.pooler import pooled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from tests.conftest import Cluster


@pytest.fixture
def names(cluster: Cluster, dsn: str) -> Iterator[tuple[str, str]]:
    """The database's name and one for a copy; what carries them in its own is gone at the end."""
    name = str(conninfo_to_dict(dsn)["dbname"])
    yield name, f"{name}_copy"
    found = cluster.admin.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (f"{name}_",)
    ).fetchall()
    for (one,) in found:
        cluster.admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(one)))


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_database_behind_a_pooler_is_backed_up_and_restored(
    dsn: str, settings: Settings, names: tuple[str, str], mode: str
) -> None:
    with pooled(dsn, mode) as pooler:
        ways = replace(settings, database_url=pooler.url, embedder="none")
        if mode == "transaction":
            ways = replace(ways, direct_database_url=pooler.direct)
        async with aegis.connect(settings=ways) as client:
            kept = await client.memory.record("note", "before the backup")
        backups = Backups(ways)
        entry = await backups.create()
        assert entry.verdict == "verified"
        async with aegis.connect(settings=ways) as client:
            await client.memory.record("note", "after the backup")
        # Whatever connections to the new database the pooler keeps.
        beside = await backups.restore(entry.name, Wanted(into=names[1]))
        in_place = await backups.restore(entry.name, Wanted(in_place=True))
        assert (beside.verdict, in_place.verdict) == ("verified", "verified")
        async with aegis.connect(settings=ways) as client:
            assert [e.id for e in await client.memory.list()] == [kept.id]
            await client.memory.record("note", "after the restore")
        with psycopg.connect(dsn, dbname=names[1]) as conn:
            rows = conn.execute(
                "SELECT summary FROM episodic_memory WHERE namespace = 'default' "
                "AND summary ~ ' the (backup|restore)$'"
            ).fetchall()
        assert rows == [("before the backup",)]
