"""Nothing is left of whom was erased, and the proof says so without naming them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import ConfigError, InvalidInput, NotFound
from aegis.memory import Memory, NewEpisode
from aegis.memory.graphiti.client import episode_uuid
from aegis.memory.retention import erasing, searching
from aegis.memory.store import erasure_jobs as jobs
from aegis.memory.store import erasures as store
from aegis.memory.store.erasure_tables import CLEARED, MEMORY_TABLES
from aegis.wire.plain import plain
from tests.memory.retention.conftest import age, everything
from tests.memory.retention.places import BESIDE, fill_everywhere
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

MARK = "Zanzibarovic"
NAME = f"Ada {MARK}"


async def fill(memory: Memory, db: Database, settings: Settings) -> dict[str, int]:
    """Write about Ada wherever memory keeps words, and about others beside her."""
    ada = await memory.record("note", f"{NAME} ordered tea", tags=["x"], importance="low")
    await memory.record("note", f"[e{ada.id}] as said before", metadata={"k": 1})
    bob = await memory.record("note", "Bob ordered coffee", related_memories=[ada.id, 1])
    deep = await memory.record("note", "in details", details={"a": [{"by": NAME.upper()}]})
    tag = await memory.record("note", "in a tag", tags=[NAME])
    await memory.record("note", "in a session", session_id=f"chat with ada {MARK.lower()}")
    old = await memory.record_many(
        [
            NewEpisode(event_type="log", summary=f"{NAME} long ago", importance="low"),
            NewEpisode(event_type="log", summary="Bob long ago", importance="low"),
        ]
    )
    await age(db, old.ids, 1_000)
    await memory.retention.run()
    for source in ("letter", f"mail of {NAME}"):
        about = await memory.facts.record(NAME, "lives in Rome", source=source)
    await memory.facts.record(NAME, "lives in Paris")
    past = await memory.facts.record("the flat", f"is let to {NAME}")
    await memory.facts.update(past.id, content="is empty")
    gone = await memory.facts.record("a guest", f"was {NAME}")
    await memory.facts.delete(gone.id)
    own = await memory.decisions.record(
        f"what to send {NAME}",
        alternatives=["a", {"name": "b", "for": NAME}],
        chosen_option="a",
        reasoning="r",
        episodes=[ada.id, bob.id],
    )
    other = await memory.decisions.record(
        "what to drink", alternatives=["a"], chosen_option="a", reasoning="r", episode_id=ada.id
    )
    await memory.retention.hold(ada.id, "a dispute")
    await memory.retention.hold(bob.id, f"a dispute with {NAME}")
    await memory.retention.set_policy("90d", event_type=f"about {NAME}")
    await memory.recall("tea")
    await memory.usage.flush()
    await rows(db, "INSERT INTO memory_terms VALUES ('default', 'zanzibarov', 0.5)")
    await rows(db, "ANALYZE")
    log = settings.data_dir / "log" / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"before\nSTATEMENT: insert '{NAME}'\nafter\n")
    return {
        "ada": ada.id,
        "bob": bob.id,
        "deep": deep.id,
        "tag": tag.id,
        "past": past.id,
        "about": about.id,
        "own": own.id,
        "other": other.id,
    }


async def traces(db: Database, settings: Settings) -> list[str]:
    """Return where the mark is: rows read as text, archives, logs, files of the server."""
    async with db.transaction() as conn:
        tables = [*await store.list_tables(conn), "memory_erasures"]
        cursor = await conn.execute("SELECT current_setting('data_directory')")
        row = await cursor.fetchone()
    assert row is not None
    found = [
        table
        for table in tables
        for (text,) in await everything(db, table)
        if MARK.lower() in text.lower()
    ]
    async with db.connection() as conn:
        await conn.execute("CHECKPOINT")
    for folder in (Path(row[0]), settings.data_dir):
        listed = subprocess.run(["grep", "-rlia", MARK, folder], capture_output=True, text=True)
        # What the write-ahead log holds is said in the proof.
        found += [name for name in listed.stdout.splitlines() if "/pg_wal/" not in name]
    for archive in await searching.archives_in(db, None):
        rows = subprocess.run(["grep", "-ci", MARK, archive.path], capture_output=True, text=True)
        found += [archive.path] if rows.stdout.strip() not in ("", "0") else []
    return found


async def test_no_trace_is_left_in_any_table_that_memory_has(
    db: Database, settings: Settings, embedder: Embedder
) -> None:
    memory = Memory(db, embedder, namespace="default")
    await fill(memory, db, settings)
    ids = await fill_everywhere(memory, db, embedder, NAME)
    speaking = {*await traces(db, settings)}
    # These three hold namespaces and parts of words, which are not the name.
    others = {"memory_consolidation", "memory_namespaces", "memory_terms"}
    assert {*MEMORY_TABLES, *CLEARED} - others <= speaking
    for table in BESIDE:
        assert await everything(db, table), f"{table} is empty: nothing would be shown"
    plan = await memory.erasures.plan(NAME, aliases=[MARK])
    assert plan.elsewhere == {}
    assert {*plan.rows} == {*MEMORY_TABLES} - {"memory_consolidation"}
    proof = await memory.erasures.run(NAME, aliases=[MARK])
    assert await traces(db, settings) == []
    assert proof.verification is not None
    assert proof.verification["found"] == {}
    assert proof.verification["not_rewritten"] == []
    assert {*proof.verification["rewritten"]} >= {*plan.rows, *BESIDE}
    gone = await rows(
        db,
        "SELECT count(*) FROM episodic_vectors WHERE id NOT IN (SELECT id FROM episodic_memory)",
    )
    assert gone == [(0,)]
    kept = await rows(db, "SELECT session_id, cost_usd FROM claude_sessions ORDER BY 2 DESC")
    assert [(name, float(cost)) for name, cost in kept] == [("about", 0.5), ("hears", 0.25)]
    assert await rows(db, "SELECT text FROM session_events") == [("buy bread",)]
    left = [hit.item.key for hit in await memory.items.search(["people"])]
    assert left == ["4"]
    names = {e.name: e.aliases for e in await memory.graph.entities(limit=100)}
    assert "Bob" in names
    assert names["A. Z."] == ["Somebody"]
    assert (await memory.get(ids["bob"])).summary == "Bob mentioned the weather"
    await memory.graph.build()
    assert await traces(db, settings) == []
    assert (await memory.erasures.verify(proof.id, subject=NAME, aliases=[MARK])).ok


async def test_no_trace_is_left_and_the_others_stay(
    db: Database, settings: Settings, embedder: Embedder
) -> None:
    memory = Memory(db, embedder, namespace="default")
    ids = await fill(memory, db, settings)
    assert len(await traces(db, settings)) > 8
    plan = await memory.erasures.plan(NAME)
    assert plan.rows["episodic_memory"] == 5
    assert (plan.archived, plan.log_lines, plan.held) == ({1: 1}, 1, 1)
    assert len(await traces(db, settings)) > 8, "a plan deletes nothing"
    proof = await memory.erasures.run(NAME, actor="the data officer")
    assert await traces(db, settings) == []
    assert proof.verification is not None
    assert proof.verification["found"] == {}
    assert proof.verification["not_rewritten"] == []
    assert proof.verification["wal"]["until_lsn"]
    left = {e.id: e for e in await memory.list(limit=100)}
    assert ids["bob"] in left
    assert ids["ada"] not in left
    assert ids["deep"] not in left
    assert ids["tag"] not in left
    assert left[ids["bob"]].related_memories == []
    assert (await memory.decisions.get(ids["other"])).episode_id is None
    with pytest.raises(NotFound):
        await memory.decisions.get(ids["own"])
    assert (await memory.facts.get(ids["past"])).content == "is empty"
    assert await memory.facts.history(ids["past"]) == []
    assert [h.reason for h in await memory.retention.holds()] == ["(erased)"]
    assert [check.rows for check in await memory.archives.verify()] == [1]
    assert (await memory.recall("coffee", k=1))[0].episode.id == ids["bob"]
    log = (settings.data_dir / "log" / "server.log").read_text().splitlines()
    assert (log[0], set(log[1]), log[2]) == ("before", {"x"}, "after")
    check = await memory.erasures.verify(proof.id, subject=NAME.lower())
    assert (check.ok, check.searched) == (True, True)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (store, "delete_rows"),
        (store, "clear_statistics"),
        (erasing, "_without"),
        (erasing, "_remove_files"),
        (erasing, "_black_out"),
        (store, "rewrite_table"),
        (searching, "count_tables"),
        (jobs, "set_signature"),
    ],
)
async def test_one_that_was_interrupted_is_finished_by_the_next_run(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    memory = Memory(db, None, namespace="default")
    await fill(memory, db, settings)
    calls = 0
    original = getattr(place, name)

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1 or name in ("_without", "count_tables", "set_signature", "clear_statistics"):
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, dies)
        if name == "_black_out":
            calls = 1
        with pytest.raises(BaseException):  # noqa: B017
            await memory.erasures.run(NAME)
    (interrupted,) = await memory.erasures.list()
    assert interrupted.state == "running"
    with pytest.raises(InvalidInput, match="run it again"):
        await memory.erasures.verify(interrupted.id)
    proof = await memory.erasures.run(f"ada  {MARK}")
    assert proof.id == interrupted.id
    assert await traces(db, settings) == []
    assert (await memory.erasures.verify(proof.id, subject=NAME)).ok


async def test_proof_names_nobody_and_every_change_of_it_shows(
    db: Database, settings: Settings
) -> None:
    memory = Memory(db, None, namespace="default")
    ids = await fill(memory, db, settings)
    proof = await memory.erasures.run(NAME, aliases=["the tea lady"], rewrite=False)
    text = json.dumps(plain(proof)).lower()
    for word in ("ada", MARK.lower(), "tea", "rome", "note"):
        assert f'"{word}' not in text
        assert f" {word}" not in text
    assert proof.verification is not None
    assert proof.verification["not_rewritten"] == ["not asked for"]
    with pytest.raises(InvalidInput, match="not the names"):
        await memory.erasures.verify(proof.id, subject=NAME)
    # A backup that is brought back, by chance or not, is seen without the names.
    await rows(
        db,
        "INSERT INTO episodic_memory (id, event_type, summary) VALUES (%s, 'note', 'back')",
        ids["ada"],
    )
    check = await memory.erasures.verify(proof.id)
    assert (check.ok, check.came_back) == (False, {"episodic_memory": 1})
    await rows(db, "DELETE FROM episodic_memory WHERE id = %s", ids["ada"])
    assert (await memory.erasures.verify(proof.id)).ok
    await rows(db, "UPDATE memory_erasures SET actor = 'somebody else'")
    assert not (await memory.erasures.verify(proof.id)).signature_ok


async def test_one_namespace_alone_is_searched_if_asked(db: Database) -> None:
    here, there = (Memory(db, None, namespace=name) for name in ("a", "b"))
    for memory in (here, there):
        await memory.record("note", f"{NAME} was here")
    await here.erasures.run(NAME, namespace="a")
    assert (await here.count(), await there.count()) == (0, 1)
    await here.erasures.run(NAME)
    assert await there.count() == 0


async def test_other_domains_are_told_of_and_left_alone(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    await rows(
        db, "INSERT INTO competitors (name, domain) VALUES (%s, 'example.com')", f"{NAME} Ltd"
    )
    assert (await memory.erasures.plan(NAME)).elsewhere == {"competitors": 1}
    proof = await memory.erasures.run(NAME)
    assert proof.verification is not None
    assert proof.verification["found"] == {"competitors": 1}
    assert not (await memory.erasures.verify(proof.id, subject=NAME)).ok


async def test_archive_that_cannot_be_read_is_told_of(db: Database, settings: Settings) -> None:
    memory = Memory(db, None, namespace="default")
    await fill(memory, db, settings)
    (archive,) = await memory.archives.list()
    Path(archive.path).unlink()
    assert (await memory.erasures.plan(NAME)).unreadable == [archive.id]
    proof = await memory.erasures.run(NAME)
    assert proof.verification is not None
    assert proof.verification["unreadable_archives"] == [archive.id]


async def test_key_is_private_and_a_broken_one_is_told(db: Database, settings: Settings) -> None:
    memory = Memory(db, None, namespace="a")
    await memory.erasures.run("Nobody Known")
    key = settings.data_dir / "erasure.key"
    assert key.stat().st_mode & 0o077 == 0
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="holds no key"):
        await memory.erasures.verify(1)


async def test_values_are_checked(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    with pytest.raises(InvalidInput, match="names the subject"):
        await memory.erasures.run("Ada Smith", actor="for ada smith")
    with pytest.raises(InvalidInput, match="2 letters"):
        await memory.erasures.plan("A")
    with pytest.raises(NotFound):
        await memory.erasures.verify(7)
    assert await memory.erasures.list() == []


async def test_copies_in_graphiti_are_told_of_by_their_uuids(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    one = await memory.record("note", f"{NAME} was here")
    await memory.record("note", f"{NAME} was there, and nobody copied it")
    await rows(db, "UPDATE episodic_memory SET graphiti_synced_at = now() WHERE id = %s", one.id)
    assert (await memory.erasures.plan(NAME)).graphiti_copies == 1
    proof = await memory.erasures.run(NAME)
    assert proof.counts["graphiti_copies"] == 1
    assert proof.digests["graphiti_copies"] == [episode_uuid("a", one.id)]
    assert (await memory.erasures.verify(proof.id, subject=NAME)).ok


async def test_archived_memory_that_leads_to_the_subject_by_another_name_stays(
    db: Database, settings: Settings
) -> None:
    memory = Memory(db, None, namespace="a")
    bob = await memory.record("note", "met the tea lady", importance="low")
    await memory.graph.relate(bob.id, "person:The Tea Lady", "mentions")
    page = await memory.record("note", "a page")
    await memory.graph.relate(page.id, f"person:{NAME}", "mentions")
    await memory.graph.merge_entities(f"person:{NAME}", "person:The Tea Lady")
    await age(db, [bob.id], 1_000)
    (archive,) = (await memory.retention.run()).archives
    assert (await memory.erasures.plan(NAME)).archived == {archive.id: 1}
    proof = await memory.erasures.run(NAME)
    assert await traces(db, settings) == []
    assert proof.verification is not None
    assert proof.verification["found_in_archives"] == 0
    assert [check.ok for check in await memory.archives.verify()] == [True]
    back = await memory.archives.restore(archive.id)
    assert (back.restored, back.left_out) == (1, 1)
    assert (await memory.get(bob.id)).summary == "met the tea lady"


async def test_namespace_that_names_the_subject_is_refused(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    with pytest.raises(InvalidInput, match="namespace names the subject"):
        await memory.erasures.run("Ada Smith", namespace="notes of ada smith")
