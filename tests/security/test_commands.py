"""Each role can do everything that its commands need, and is refused what is another's."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.cli.main import run
from aegis.client import connect
from aegis.config import load_settings
from aegis.ops.backup.service import Backups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.security.conftest import Guarded

    Call = Callable[..., tuple[int, str, str]]

#: Commands that read, set off by commas; the reader does each as the application does.
READS = """
memory list, memory recall works, memory context works, memory facts list, memory decisions list,
memory items list a, memory graph entities, memory models list, memory models status,
memory proposals list, memory quarantine list, memory archive list, memory erase list,
memory forget plan, keys list, keys tiers list, keys ledger KEY, keys show KEY, usage show,
usage top, usage events, usage partitions, billing subscriptions, billing runs, billing invoices,
billing entries, billing plans list, metrics show, metrics anomalies, metrics rules list,
worker list, worker status, schedule list, jobs list, workflow list, workflow executions,
intel list, intel changes, maintenance plan, maintenance history, alerts list, alerts history,
alerts rules list, alerts silences, alerts deliveries, alerts channels, db stats size,
db stats tables, db stats indexes, db stats connections, db stats growth, sessions list,
sessions prices list, research list, research budget, research prices list, db current
"""
#: Commands that write, and what the reader is told.
WRITES = """
memory record learning again, keys issue acme2, billing subscribe acme free, metrics keep,
db stats snapshot, maintenance run --now, memory delete 1 --yes, keys revoke KEY --yes
"""
#: What whoever watches the server looks at.
WATCHES = """
db stats size, db stats tables, db stats running, db stats locks, db stats connections,
db stats growth, db stats bloat, db stats replication, maintenance history, db current
"""


def commands(text: str, key: str) -> list[list[str]]:
    return [
        [key if word == "KEY" else word for word in line.split()]
        for line in text.replace("\n", " ").split(",")
    ]


@pytest.fixture
def call(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a command as one of the roles, in this process."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(guarded.settings.data_dir))
    monkeypatch.setenv("AEGIS_ROLE_PREFIX", guarded.settings.role_prefix)
    monkeypatch.setenv("AEGIS_EMBEDDER", "none")
    monkeypatch.setenv("AEGIS_KEY_SECRET", "x" * 40)

    def work(role: Any, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("AEGIS_DATABASE_URL", guarded.url(role))
        capsys.readouterr()
        status = run([*arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return work


def test_the_reader_reads_everything_and_writes_nothing(call: Call) -> None:
    assert call("app", "memory", "record", "learning", "it works")[0] == 0
    key = json.loads(call("app", "keys", "issue", "acme", "--json")[1])["record"]["id"]
    failed: dict[str, str] = {}
    for command in commands(READS, key):
        for role in ("app", "readonly"):
            status, _, said = call(role, *command)
            if status:
                failed[f"{role}: {' '.join(command)}"] = said
    assert failed == {}
    for command in commands(WRITES, key):
        status, _, said = call("readonly", *command)
        assert (status, "[db_privilege]" in said) == (5, True), (command, said)


def test_whoever_watches_sees_the_server_and_nobodys_rows(call: Call) -> None:
    assert call("app", "db", "stats", "snapshot")[0] == 0
    for command in commands(WATCHES, ""):
        status, _, said = call("monitor", *command)
        assert status == 0, (command, said)
    report = json.loads(call("monitor", "doctor", "--json")[1])
    observed = {r["id"]: r["observed"] for r in report["results"] if r["state"] == "unknown"}
    assert not any("denied" in text for text in observed.values()), observed
    for command in ("memory list", "memory recall works", "keys list", "usage top", "jobs list"):
        status, _, said = call("monitor", *command.split())
        assert (status, "[db_privilege]" in said) == (5, True), (command, said)


async def test_figures_for_prometheus_need_no_more_than_the_monitoring_role(
    guarded: Guarded,
) -> None:
    from datetime import UTC, datetime

    from aegis.ops.health.exporting import expose

    settings = load_settings({}, database_url=guarded.url("monitor"), embedder="none")
    async with connect(settings=settings) as client:
        text = await expose(client.db, client.health, now=datetime.now(UTC))
    assert "aegis_up 1" in text
    assert "aegis_database_size_bytes" in text or "database" in text


async def test_the_application_serves_works_and_keeps_house(guarded: Guarded) -> None:
    settings = load_settings(
        {}, database_url=guarded.url("app"), embedder="none", data_dir=guarded.settings.data_dir
    )
    async with connect(settings=settings) as a:
        episode = await a.memory.record("learning", "the application works")
        assert [hit.episode.id for hit in await a.memory.recall("application", k=1)] == [episode.id]
        assert await a.memory.delete(episode.id) is None or True
        await a.usage.partitions.ahead()
        await a.metrics.keep()
        job = await a.jobs.enqueue("memory.sweep")
        assert job is not None
        assert (await a.health.check(only=["storage"])).results
    # Partitions: made, filled, taken out and dropped by a role that owns none of them.
    with guarded.connect("app") as app:
        assert app.execute("SELECT aegis_usage_partition('2024-02-01')").fetchone() == (True,)
        app.execute(
            "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, created_at)"
            " VALUES ('c', '/x', 'GET', 200, '2024-02-02')"
        )
        app.execute("SELECT aegis_usage_detach('api_usage_events_2024_02')")
        app.execute("SELECT aegis_usage_drop('api_usage_events_2024_02')")
        day = app.execute("SELECT aegis_metrics_partition('container_metrics', '2024-02-01')")
        assert day.fetchone() == ("container_metrics_p20240201",)
        with (
            app.cursor() as cursor,
            cursor.copy(
                "COPY container_metrics_p20240201 (container_name, timestamp) FROM STDIN"
            ) as copy,
        ):
            copy.write("c\t2024-02-01 10:00:00+00\n")
        app.execute("SELECT aegis_metrics_drop('container_metrics_p20240201')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DROP TABLE container_metrics_default")


async def test_indexes_are_the_owners_to_build(guarded: Guarded) -> None:
    from aegis.db import Database
    from aegis.errors import PermissionDenied
    from aegis.memory.change.indexes import build_indexes, drop_indexes_of

    app = load_settings({}, database_url=guarded.url("app"))
    async with await Database.open(guarded.url("app"), app, min_size=1) as db:
        with pytest.raises(PermissionDenied, match="AEGIS_OWNER_URL"):
            await build_indexes(db, "other-model", 8)
    both = load_settings({}, database_url=guarded.url("app"), owner_url=guarded.url("owner"))
    async with await Database.open(guarded.url("app"), both, min_size=1) as db:
        await build_indexes(db, "other-model", 8)
        await drop_indexes_of(db, "other-model")


def test_a_backup_has_every_row_and_is_proven_on_a_server_without_these_roles(
    guarded: Guarded, tmp_path: Path
) -> None:
    with guarded.admin() as admin:
        admin.execute(
            "INSERT INTO episodic_memory (event_type, summary, namespace)"
            " SELECT 'learning', 'x', n::text FROM generate_series(1, 7) AS n"
        )
    settings = load_settings(
        {},
        database_url=guarded.url("app"),
        backup_url=guarded.url("backup"),
        data_dir=tmp_path / "data",
        backup_dir=tmp_path / "backups",
        embedder="none",
    )
    backups = Backups(settings)
    made = asyncio.run(backups.create())
    assert made.verdict == "verified"
    assert made.manifest is not None
    rows = {t.name: t.rows for t in made.manifest.tables}
    assert rows["episodic_memory"] == 7
    assert rows["security_roles"] == 6
    proven = asyncio.run(backups.verify(made.name, full=True))
    assert proven.verdict == "verified", proven
    with guarded.connect("backup") as backup:
        for statement in (
            "DELETE FROM jobs",
            "CREATE TABLE mine (id int)",
            "TRUNCATE jobs",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                backup.execute(statement)  # type: ignore[call-overload]
