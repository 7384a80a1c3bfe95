"""What is done to files, schemas and whole databases is logged, too, as far as it can be."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.client import ask_aegis, connect
from aegis.config import load_settings
from aegis.db import migrate
from aegis.ops.backup.crypto import new_key
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from aegis.security.audit.anchors import read_anchors
from tests.cluster import reachable_folder
from tests.db.rows import create_published, execute, value

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from aegis.config import Settings
    from aegis.security.audit.models import AuditEntry, Verification
    from tests.cli.conftest import Shell
    from tests.conftest import Cluster

#: Of other tests: the command line.
from tests.cli.conftest import aegis, environment

__all__ = ["aegis", "environment"]


@pytest.fixture
def settings(dsn: str) -> Iterator[Settings]:
    with reachable_folder() as folder:
        yield load_settings(
            {},
            data_dir=folder / "data",
            database_url=dsn,
            embedder="none",
            backup_keys=new_key(),
        )


@contextmanager
def dropping(cluster: Cluster) -> Generator[None]:
    """Drop what is made in the block."""
    query = "SELECT datname FROM pg_database"
    before = {name for (name,) in cluster.admin.execute(query)}
    try:
        yield
    finally:
        for (name,) in cluster.admin.execute(query).fetchall():
            if name not in before:
                cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


async def look(settings: Settings, dsn: str) -> tuple[list[AuditEntry], Verification]:
    """Return the rows of a database's log and what verifying it says."""
    chosen = replace(settings, database_url=dsn)
    async with connect(settings=chosen) as client:
        return list(await client.audit_log.list()), await client.audit_log.verify()


async def revoke_something(settings: Settings) -> None:
    async with connect(settings=settings) as client:
        await client.keys.revoke((await client.keys.issue("acme")).record.id)
        await client.audit_log.head()


async def test_holds_keys_and_removals_of_backups(settings: Settings, dsn: str) -> None:
    backups = Backups(settings, smoke=ask_aegis)
    wish = replace(backups.wish(), encrypt=True)
    names = [(await backups.create(wish, verify=False)).name for _ in range(3)]
    await backups.hold(names[0], "Ann said so")
    await backups.hold(names[0], None)
    older = settings.backup_keys
    newer = Backups(replace(settings, backup_keys=f"{older},{new_key()}"))
    assert await newer.rekey() == 3
    few = Backups(replace(newer.settings, backup_keep_days=0, backup_keep_at_least=1))
    gone = [one.choice.name for one in await few.prune() if one.done]
    rows, found = await look(settings, dsn)
    said = [(row.action, row.object_id) for row in reversed(rows)]
    assert said[:3] == [
        ("backup.hold", names[0]),
        ("backup.release", names[0]),
        ("backup.rekey", None),
    ]
    assert sorted(said[3:]) == sorted(("backup.delete", name) for name in gone)
    assert gone
    assert "Ann" not in str(rows)
    assert found.problems == 0


async def test_backups_are_kept_where_no_database_answers(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    entry = await Backups(settings).create(verify=False)
    away = replace(settings, database_url="postgresql://127.0.0.1:1/none")
    caplog.set_level("WARNING", logger="aegis.backup")
    held = await Backups(away).hold(entry.name, "legal")
    assert held.state.hold == "legal"
    assert "audit_not_written" in caplog.text


async def test_a_restored_database_says_so_and_its_older_log_is_no_alarm(
    settings: Settings, dsn: str, cluster: Cluster
) -> None:
    await revoke_something(settings)
    backups = Backups(settings)
    with dropping(cluster):
        entry = await backups.create(verify=False)
        await revoke_something(settings)
        assert value(dsn, "SELECT seq FROM audit_head") == 4
        beside = f"{conninfo_to_dict(dsn)['dbname']}_beside"
        await backups.restore(entry.name, Wanted(into=beside))
        # Who makes a copy beside has what is in it: the first database's log has that, too.
        rows, _ = await look(settings, dsn)
        assert (rows[0].seq, rows[0].action, rows[0].details["mode"]) == (5, "restore.run", "new")
        rows, found = await look(settings, make_conninfo(dsn, dbname=beside))
        assert (rows[0].seq, rows[0].action, rows[0].object_id) == (3, "restore.run", beside)
        # Beside the real one it is an older copy, and nobody said that it takes its place.
        assert [f.kind for f in found.findings] == ["rolled_back"]

        done = await backups.restore(entry.name, Wanted(in_place=True))
        rows, found = await look(settings, dsn)
        assert rows[0].action == "restore.run"
        assert rows[0].details["kept_as"] == done.kept_as
        assert rows[0].details["backup"] == entry.name
        assert found.state == "ok"
        assert [a.accepts for a in read_anchors(settings).anchors] == [False, False, True]


async def test_a_restore_that_fails_leaves_no_row(
    settings: Settings, dsn: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegis.errors import OpsError
    from aegis.ops.restore import running

    await revoke_something(settings)
    entry = await Backups(settings).create(verify=False)

    def refuse(*arguments: Any, **more: Any) -> None:
        raise OpsError("no", code="restore_failed")

    monkeypatch.setattr(running, "compare_database", refuse)
    with dropping(cluster), pytest.raises(OpsError):
        await Backups(settings).restore(entry.name, Wanted(in_place=True))
    rows, found = await look(settings, dsn)
    assert [row.action for row in rows] == ["keys.revoke", "keys.issue"]
    assert found.state == "ok"


def test_the_schema_s_ways_are_logged_and_the_chain_comes_back(aegis: Shell, dsn: str) -> None:
    assert aegis("keys", "issue", "acme").status == 0
    assert aegis("security", "audit", "head").status == 0
    below = "0025"
    assert aegis("db", "downgrade", below, "--yes").status == 0
    assert aegis("db", "upgrade", "--no-backup").status == 0
    items = aegis("security", "audit", "list", "--json").json["items"]
    assert [item["action"] for item in items] == ["db.upgrade", "db.downgrade", "keys.issue"]
    assert items[0]["details"] == {"before": below, "after": migrate.head()}
    assert items[1]["details"]["after"] == below
    assert {item["actor_kind"] for item in items} == {"cli"}
    assert aegis("security", "audit", "verify").status == 0


def test_taking_a_database_over_is_logged(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str
) -> None:
    create_published(empty_dsn)
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    assert aegis("db", "adopt", "--yes").status == 0
    (item,) = aegis("security", "audit", "list", "--json").json["items"]
    assert item["action"] == "db.adopt"
    execute(empty_dsn, "SELECT 1")
