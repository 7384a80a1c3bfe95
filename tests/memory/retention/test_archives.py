"""Archives hold everything, come back exactly, and no crash loses or doubles a memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import AegisError, ConfigError, Conflict, InvalidInput, NotFound
from aegis.memory import Memory, NewEpisode
from aegis.memory.retention import archive_file, archiving
from aegis.memory.store import archives as store
from aegis.memory.store import retention as retention_store
from tests.memory.retention.conftest import age, everything
from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")


async def fill(memory: Memory, db: Database) -> list[int]:
    """Record old episodes that use every column."""
    found = await memory.record_many(
        [
            NewEpisode(
                event_type="note",
                summary='a "quoted" \\ line\nand 🐘 \x01',
                details={"n": 10**40, "f": -0.1, "deep": [{"a": None}], "é": "\u2028"},
                context={},
                metadata={"x": 1},
                importance="low",
                tags=["a", 'b"c', "NULL", ""][:3],
                related_memories=[7, 8],
                decision="d",
                session_id="s",
                source_id="doc:1",
                embedding=[0.1 * n for n in range(384)],
                embedding_model="all-MiniLM-L6-v2-onnx-int8",
            ),
            NewEpisode(event_type="note", summary="plain", importance="low"),
            *(
                NewEpisode(event_type="note", summary=f"s{n}", importance="low")
                for n in range(archive_file.ROWS + 5)
            ),
        ]
    )
    await age(db, found.ids, 1_000)
    await rows(
        db,
        "UPDATE episodic_memory SET graphiti_synced_at = '2020-01-01 00:00:00.000001+00', "
        "tags = ARRAY['x', NULL] WHERE id = %s",
        found.ids[1],
    )
    await rows(db, "INSERT INTO memory_usage VALUES (%s, 4, '2020-02-02')", found.ids[0])
    return found.ids


async def test_archive_comes_back_with_every_column_and_side_row(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    ids = await fill(memory, db)
    before = await everything(db, "episodic_memory")
    report = await memory.retention.run()
    assert report.archived == len(ids)
    assert await everything(db, "episodic_memory") == []
    (archive,) = report.archives
    assert Path(archive.path).stat().st_mode & 0o077 == 0
    assert [check.ok for check in await memory.archives.verify()] == [True]
    back = await memory.archives.restore(archive.id)
    assert (back.restored, back.there, back.archive.state) == (len(ids), 0, "restored")
    assert await everything(db, "episodic_memory") == before
    usage = await rows(db, "SELECT recall_count FROM memory_usage WHERE episode_id = %s", ids[0])
    assert usage == [(5,)]
    # Coming back counts as use, so that it does not go again at once.
    assert (await memory.retention.plan()).faded == 0
    with pytest.raises(Conflict, match="restored"):
        await memory.archives.restore(archive.id)


async def test_some_come_back_first_and_the_rest_once(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    ids = await fill(memory, db)
    before = await everything(db, "episodic_memory")
    (archive,) = (await memory.retention.run()).archives
    some = await memory.archives.restore(archive.id, ids=ids[:2])
    assert (some.restored, some.archive.state) == (2, "complete")
    rest = await memory.archives.restore(archive.id)
    assert (rest.restored, rest.there, rest.archive.state) == (len(ids) - 2, 2, "restored")
    assert await everything(db, "episodic_memory") == before


async def test_facts_come_back_with_history_and_sources(db: Database, settings: Settings) -> None:
    memory = Memory(db, None, namespace="a")
    for source in ("ann", "bob"):
        fact = await memory.facts.record("tea", "no sugar", source=source)
    await memory.facts.update(fact.id, tags=["drink"])
    await memory.retention.set_policy("1d", action="archive")
    tables = ("semantic_memory", "fact_history", "fact_sources")
    before = [await everything(db, table) for table in tables]
    object.__setattr__(settings, "forget_expired", "archive")
    await rows(db, "UPDATE semantic_memory SET expires_at = now() - interval '1 day'")
    assert (await memory.retention.sweep()).archived == 1
    assert [await everything(db, table) for table in tables] == [[], [], []]
    (archive,) = await memory.archives.list(kind="fact")
    await memory.archives.restore(archive.id)
    assert [await everything(db, table) for table in tables] == before


def failing(_: Any, *args: Any, **kwargs: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (archiving.ArchiveWriter, "__init__"),
        (archiving.ArchiveWriter, "add"),
        (archiving.ArchiveWriter, "finish"),
        (archive_file, "put_in_place"),
        (archive_file, "measure"),
        (store, "span_of"),
        (retention_store, "delete_episodes"),
        (store, "complete_archive"),
    ],
)
async def test_a_failure_at_any_step_leaves_the_rows_and_no_file(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    memory = Memory(db, None, namespace="a")
    await fill(memory, db)
    before = await everything(db, "episodic_memory")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing)
        with pytest.raises((AegisError, OSError)):
            await memory.retention.run()
    assert await everything(db, "episodic_memory") == before
    assert list((settings.data_dir / "archives").iterdir()) == []
    assert [a.state for a in await memory.archives.list()] == ["writing"]
    await rows(db, "UPDATE memory_archives SET started_at = now() - interval '1 hour'")
    assert (await memory.retention.run()).archived == len(before)
    assert [a.state for a in await memory.archives.list()] == ["complete"]


async def test_what_a_killed_run_left_is_removed(db: Database, settings: Settings) -> None:
    """A process that dies before the commit leaves its note, and a file, whole or not."""
    memory = Memory(db, None, namespace="a")
    folder = settings.data_dir / "archives"
    folder.mkdir(parents=True)
    left = [folder / "episodes-x.parquet", folder / ".episodes-x.parquet.tmp"]
    for path in left:
        path.write_bytes(b"half")
    await rows(
        db,
        "INSERT INTO memory_archives (namespace, kind, reason, state, path, started_at) "
        "VALUES ('a', 'episode', 'decay', 'writing', %s, now() - interval '1 hour')",
        str(left[0]),
    )
    await memory.retention.sweep()
    assert list(folder.iterdir()) == []
    assert await memory.archives.list() == []


async def test_one_that_is_being_written_is_not_taken_for_abandoned(db: Database) -> None:
    await rows(
        db,
        "INSERT INTO memory_archives (namespace, kind, reason, state, path, started_at) "
        "VALUES ('a', 'episode', 'decay', 'writing', '/x', now() - interval '1 hour')",
    )
    async with db.transaction() as conn:
        assert await store.lock_archive(conn, 1) is not None
        assert await archiving.settle(db) == 0


async def test_a_recall_between_plan_and_run_keeps_a_memory(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(db, None, namespace="a")
    ids = await fill(memory, db)
    begin = store.begin_archive

    async def used_meanwhile(conn: Any, **fields: Any) -> Any:
        await rows(db, "INSERT INTO memory_usage VALUES (%s, 1, now())", ids[1])
        return await begin(conn, **fields)

    monkeypatch.setattr(store, "begin_archive", used_meanwhile)
    assert (await memory.retention.run()).archived == len(ids) - 1
    assert [e.id for e in await memory.list()] == [ids[1]]


def flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    path.write_bytes(blob)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
async def test_a_broken_file_is_told_and_never_restored(
    db: Database, harm: Callable[[Path], object]
) -> None:
    memory = Memory(db, None, namespace="a")
    await fill(memory, db)
    (archive,) = (await memory.retention.run()).archives
    harm(Path(archive.path))
    (check,) = await memory.archives.verify(archive.id)
    assert not check.ok
    assert check.problem
    with pytest.raises(InvalidInput) as refused:
        await memory.archives.restore(archive.id)
    assert "\n" not in refused.value.message
    assert await memory.count() == 0


async def test_another_memory_of_the_same_id_or_source_refuses_all(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    ids = await fill(memory, db)
    (archive,) = (await memory.retention.run()).archives
    await memory.record("note", "again", source_id="doc:1")
    with pytest.raises(Conflict, match="source_id"):
        await memory.archives.restore(archive.id)
    assert await memory.count() == 1
    await rows(
        db,
        "INSERT INTO episodic_memory (id, event_type, summary, namespace) "
        "VALUES (%s, 'x', 'y', 'a')",
        ids[3],
    )
    with pytest.raises(Conflict, match=f"ids {ids[3]}"):
        await memory.archives.restore(archive.id, ids=[ids[3], ids[4]])
    assert (await memory.archives.restore(archive.id, ids=[ids[4]])).restored == 1


async def test_namespaces_do_not_meet_and_unknown_ids_are_refused(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    await fill(memory, db)
    (archive,) = (await memory.retention.run()).archives
    with pytest.raises(NotFound):
        await memory.archives.restore(archive.id, namespace="b")
    with pytest.raises(InvalidInput, match="does not hold 2000000000"):
        await memory.archives.restore(archive.id, ids=[2_000_000_000])
    assert await memory.count() == 0


async def test_without_pyarrow_the_extra_is_named_and_nothing_goes(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    memory = Memory(db, None, namespace="a")
    ids = await fill(memory, db)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"aegis-core\[parquet\]"):
        await memory.retention.run()
    assert await memory.count() == len(ids)


async def test_vectors_are_searched_again_after_a_restore(db: Database, embedder: Embedder) -> None:
    memory = Memory(db, embedder, namespace="a")
    episode = await memory.record("note", "the harbour freezes in winter", importance="low")
    await age(db, [episode.id], 1_000)
    (archive,) = (await memory.retention.run()).archives
    assert await memory.recall("ice on the sea", mode="vector") == []
    await memory.archives.restore(archive.id)
    hits = await memory.recall("ice on the sea", mode="vector")
    assert [hit.episode.id for hit in hits] == [episode.id]
