"""A backup is whole, of one moment, proven, or not there."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.errors import ConfigError, Conflict, InvalidInput, OpsError
from aegis.ops.backup import creating
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.locks import file_lock
from aegis.ops.backup.service import Backups
from tests.db.rows import execute, value
from tests.ops.backup.conftest import varied

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.ops.backup.models import Entry

pytestmark = pytest.mark.servers("18", "16")

WISHES = [
    Wish(),
    Wish(format="directory", jobs=2, compression="gzip:6"),
    Wish(compression="none"),
    Wish(encrypt=True),
    Wish(format="directory", jobs=2, encrypt=True),
]


def _text(entry: Entry) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(entry.path.rglob("*")) if p.is_file())


@pytest.mark.parametrize("wish", WISHES, ids=lambda w: f"{w.format}-{w.compression}-{w.encrypt}")
async def test_a_backup_says_what_is_in_it_and_is_verified(
    backups: Backups, full_dsn: str, wish: Wish
) -> None:
    entry = await backups.create(wish)
    assert (entry.verdict, entry.level) == ("verified", "fast"), entry.state.fast
    manifest = entry.manifest
    assert manifest is not None
    counts = {table.name: table.rows for table in manifest.tables}
    assert counts["episodic_memory"] == value(full_dsn, "SELECT count(*) FROM episodic_memory") > 0
    assert manifest.extensions["vector"]
    assert manifest.schema_revision == value(full_dsn, "SELECT version_num FROM alembic_version")
    assert [e.name for e in await backups.list()] == [entry.name]
    assert value(full_dsn, "SELECT verdict FROM backups") == "verified"
    modes = {p.stat().st_mode & 0o077 for p in [entry.path, *entry.path.rglob("*")]}
    assert modes == {0} or wish.format == "directory"
    assert entry.path.stat().st_mode & 0o077 == 0
    assert [p.name for p in backups.catalogue.folder.glob(".partial*")] == []


async def test_an_encrypted_backup_shows_nothing_of_its_rows(
    backups: Backups, full_dsn: str
) -> None:
    execute(full_dsn, "UPDATE episodic_memory SET summary = 'the sesame phrase'")
    plain = await backups.create(Wish(compression="none"))
    closed = await backups.create(Wish(compression="none", encrypt=True))
    assert b"the sesame phrase" in _text(plain)
    assert b"the sesame phrase" not in _text(closed)


async def test_rows_written_meanwhile_are_in_neither_dump_nor_digest(
    backups: Backups, full_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes between the snapshot and everything else: both sides leave it out."""
    real: Any = creating.find_program

    def slow(*arguments: Any, **more: Any) -> Any:
        execute(
            full_dsn,
            "INSERT INTO episodic_memory (event_type, summary) VALUES ('note', 'too late')",
            "DELETE FROM semantic_memory WHERE content = 'modern 1'",
        )
        return real(*arguments, **more)

    before = value(full_dsn, "SELECT count(*) FROM episodic_memory")
    monkeypatch.setattr(creating, "find_program", slow)
    entry = await backups.create()
    monkeypatch.undo()
    assert value(full_dsn, "SELECT count(*) FROM episodic_memory") == before + 1
    assert entry.manifest is not None
    assert {t.name: t.rows for t in entry.manifest.tables}["episodic_memory"] == before
    proven = await backups.verify(entry.name, full=True)
    # The server of the verification is PostgreSQL 18, as the wheel brings it.
    assert proven.verdict == "verified", proven.state.full


async def test_a_table_dropped_or_emptied_during_a_backup_waits_for_its_end(
    backups: Backups, full_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's DROP comes when we hold our locks and pg_dump has none yet."""
    execute(full_dsn, "CREATE TABLE doomed AS SELECT generate_series(1, 100) AS n")
    droppers: list[threading.Thread] = []
    real: Any = creating.find_program

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        if not droppers:
            droppers.append(threading.Thread(target=execute, args=(full_dsn, "DROP TABLE doomed")))
            droppers[0].start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while not value(full_dsn, waiting):
                pass
        return real(*arguments, **more)

    monkeypatch.setattr(creating, "find_program", meanwhile)
    entry = await backups.create()
    droppers[0].join()
    assert value(full_dsn, "SELECT to_regclass('doomed')") is None
    assert entry.verdict == "verified"
    assert entry.manifest is not None
    # It gave way, so that nobody waits for ever, and began again without the table.
    assert "doomed" not in [table.name for table in entry.manifest.tables]


async def test_a_second_backup_at_the_same_time_is_refused(backups: Backups, full_dsn: str) -> None:
    backups.catalogue.folder.mkdir(parents=True)
    with (
        file_lock(backups.catalogue.folder / ".lock"),
        pytest.raises(Conflict, match="Another backup is at work"),
    ):
        await backups.create()
    both = await asyncio.gather(backups.create(), backups.create(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["Conflict", "Entry"]
    assert len(await backups.list()) == 1


async def test_a_second_backup_from_another_machine_is_refused(
    backups: Backups, full_dsn: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(full_dsn) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (creating.LOCK_KEY,))
        with pytest.raises(Conflict, match="another machine"):
            await varied(backups, backup_dir=place / "elsewhere").create()
    assert (await backups.create()).verdict == "verified"


async def test_a_user_who_may_not_read_a_table_makes_no_backup(
    backups: Backups, full_dsn: str, place: Path
) -> None:
    role = f"aegis_reader_{value(full_dsn, 'SELECT current_database()')}"
    execute(full_dsn, f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises((OpsError, Exception)) as refused:
            await varied(backups, database_url=make_conninfo(full_dsn, user=role)).create()
        assert getattr(refused.value, "code", "")
        assert await backups.list() == []
        assert list(backups.catalogue.folder.glob(".partial*")) == []
    finally:
        execute(full_dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_what_does_not_go_together_is_refused(backups: Backups) -> None:
    for wish in (
        Wish(jobs=2),
        Wish(jobs=0),
        Wish(label="../x"),
        Wish(label=""),
        Wish(compression="--file=/etc/passwd"),
    ):
        with pytest.raises(InvalidInput):
            await backups.create(wish)
    with pytest.raises(OpsError, match="cannot compress"):
        await backups.create(Wish(compression="lz4:1"))
    with pytest.raises(ConfigError, match="needs a key"):
        await varied(backups, backup_keys=None).create(Wish(encrypt=True))
    assert await backups.list() == []


async def test_a_full_disk_leaves_no_backup_and_the_next_one_succeeds(
    backups: Backups, full_dsn: str, place: Path
) -> None:
    execute(
        full_dsn,
        "CREATE TABLE large AS SELECT n, md5(n::text) || md5((n + 1)::text) AS t "
        "FROM generate_series(1, 200000) AS n",
    )
    small = place / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        own = varied(backups, backup_dir=small)
        for wish in (Wish(), Wish(format="directory", jobs=2), Wish(encrypt=True)):
            with pytest.raises(OpsError) as full:
                await own.create(wish)
            assert "space" in full.value.message
            assert await own.list() == []
            assert list(small.glob(".partial*")) == []
        subprocess.run(["mount", "-o", "remount,size=200m", small], check=True)
        assert (await own.create()).verdict == "verified"
    finally:
        subprocess.run(["umount", "-l", small], check=True)


async def test_a_backup_that_is_cancelled_leaves_nothing(
    backups: Backups, full_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()
    real: Any = creating.find_program

    def tell(*arguments: Any, **more: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        return real(*arguments, **more)

    monkeypatch.setattr(creating, "find_program", tell)
    task = asyncio.create_task(backups.create())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backups.list() == []
    assert list(backups.catalogue.folder.glob(".partial*")) == []
    monkeypatch.undo()
    assert (await backups.create()).verdict == "verified"


async def test_no_password_is_on_a_command_line_or_in_the_environment_of_others(
    backups: Backups, full_dsn: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real: Any = subprocess.Popen

    def spy(command: Any, **more: Any) -> Any:
        seen.append(" ".join(map(str, command)) + str(more.get("env")))
        return real(command, **more)

    monkeypatch.setattr(subprocess, "Popen", spy)
    await varied(backups, database_url=make_conninfo(full_dsn, password="hunter2")).create()
    assert any("pg_dump" in line for line in seen)
    assert not any("hunter2" in line for line in seen)


async def test_numbers_rise_whatever_the_clock_says(backups: Backups) -> None:
    first = await backups.create()
    second = await backups.create()
    assert first.manifest is not None
    assert second.manifest is not None
    assert second.manifest.number == first.manifest.number + 1
    assert [e.name for e in await backups.list()] == [second.name, first.name]


async def test_large_objects_and_odd_types_are_counted(backups: Backups, full_dsn: str) -> None:
    execute(
        full_dsn,
        "CREATE TYPE mood AS ENUM ('a', 'b')",
        "CREATE DOMAIN small AS int CHECK (VALUE < 100)",
        'CREATE SCHEMA "od d"',
        'CREATE TABLE "od d"."t ""x" (m mood, ms mood[], d small, j json, jb jsonb, p point,'
        " r int4range, tv tsvector, n numeric, f float8, a text[], c char(3), i inet, b bytea,"
        " rc regclass, v vector(2), mr int4multirange, gen int GENERATED ALWAYS AS (1)"
        " STORED, vc varchar(10)[])",
        'INSERT INTO "od d"."t ""x" VALUES (\'a\', \'{a,b}\', 5, \'{"a":1}\', \'{"b": 2}\','
        " '(1,2)', '[1,3)', 'a b', 1.50, 'NaN', '{x}', 'a', '1.2.3.4', '\\x00', 'pg_class',"
        " '[1,2]', '{[1,2)}', DEFAULT, '{q}'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, DEFAULT, NULL)",
        "SELECT lo_from_bytea(0, 'large')",
    )
    entry = await backups.create()
    assert entry.manifest is not None
    assert entry.manifest.large_objects == 1
    proven = await backups.verify(full=True)
    assert proven.verdict == "verified", proven.state.full


async def test_a_digest_sees_any_change_of_a_row(backups: Backups, full_dsn: str) -> None:
    execute(full_dsn, "CREATE TABLE t (n int, s text)", "INSERT INTO t VALUES (1, 'a'), (1, 'a')")
    seen: set[str] = set()
    for change in (
        "SELECT 1",
        "UPDATE t SET s = 'b' WHERE ctid = '(0,1)'",
        "UPDATE t SET s = NULL",
        "UPDATE t SET n = NULL, s = '1'",
        "INSERT INTO t SELECT * FROM t",
        "DELETE FROM t",
    ):
        execute(full_dsn, change)
        entry = await backups.create(replace(Wish(), label="d"), verify=False)
        assert entry.manifest is not None
        table = next(t for t in entry.manifest.tables if t.name == "t")
        seen.add(f"{table.rows} {table.digest}")
    assert len(seen) == 6
