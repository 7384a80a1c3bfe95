"""An export holds everything, and an import of it elsewhere is the same memory."""

from __future__ import annotations

import json
import stat
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import Database
from aegis.errors import InvalidInput
from aegis.memory import Memory, NewEpisode
from aegis.memory.exporting import export, export_file
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aegis.config import Settings
    from tests.conftest import Cluster

_THEN = datetime(2026, 5, 1, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def elsewhere(cluster: Cluster, template: str, settings: Settings) -> AsyncIterator[Memory]:
    """A memory in another database, whose ids are not those of the first."""
    with cluster.database(template) as url:
        async with await Database.open(url, settings, min_size=1) as db:
            memory = Memory(db, None, namespace="default")
            await memory.record_many(
                [NewEpisode(event_type="x", summary="in the way", namespace="other")] * 7
            )
            yield memory


async def fill(memory: Memory) -> None:
    full = await memory.record(
        "milestone",
        'every field, with \u2028 and "quotes" and emoji 🐘',
        timestamp=_THEN,
        details={"deep": {"list": [1, 2.5, None, True]}, "empty": {}},
        context={"cwd": "/tmp"},
        importance="critical",
        tags=["a", "b c"],
        decision="go",
        metadata={},
        session_id="s1",
    )
    keyed = await memory.record("note", "with a key", source_id="git:abc")
    await memory.record("note", "relates", related_memories=[keyed.id, full.id])
    await memory.update(full.id, related_memories=[keyed.id])
    await memory.facts.record("water", "boils", confidence=0.25, tags=["t"], category="c")
    made = await memory.decisions.record(
        "choose", alternatives=["x", {"name": "y"}], chosen_option="y", reasoning="because"
    )
    await memory.decisions.resolve(
        made.id, "partial", details={"n": 1}, lessons="learnt", feedback="neutral"
    )
    await memory.decisions.record(
        "again",
        alternatives=["x"],
        chosen_option="x",
        reasoning="r",
        episode_id=keyed.id,
        confidence=0.75,
        review_at=_THEN,
        episodes=[full.id, {"episode_id": keyed.id, "role": "against"}],
    )


async def content(memory: Memory, namespace: str) -> list[dict[str, Any]]:
    """Return everything in a namespace in terms that ids do not touch."""
    episodes = await memory.list(namespace=namespace, limit=1000)
    names = {e.id: e.summary for e in episodes}
    rows: list[dict[str, Any]] = []
    for episode in episodes:
        related = sorted(names[other] for other in episode.related_memories)
        rows.append(asdict(episode) | {"id": 0, "related_memories": related})
    facts = [asdict(f) for f in await memory.facts.list(namespace=namespace)]
    rows += [f | {"id": 0} for f in facts]
    for decision in await memory.decisions.list(namespace=namespace):
        led = sorted((names[link.episode_id], link.role) for link in decision.episodes)
        own = names[decision.episode_id or 0]
        rows.append(asdict(decision) | {"id": 0, "episode_id": own, "episodes": led})
    for row in rows:
        row["namespace"] = ""
        if row.get("source_id") is None or str(row["source_id"]).startswith("export:"):
            row["source_id"] = None  # what had no key has its origin for one
    return sorted(rows, key=lambda row: json.dumps(row, default=str))


async def test_export_and_import_elsewhere_is_the_same_memory(
    plain_memory: Memory, elsewhere: Memory, tmp_path: Path
) -> None:
    await fill(plain_memory)
    await export_file(plain_memory, tmp_path / "x.jsonl")
    report = await import_path(elsewhere, "jsonl", tmp_path / "x.jsonl")
    assert (report.recorded, report.skipped, report.dangling) == (7, 0, 0)
    assert await content(elsewhere, "default") == await content(plain_memory, "default")


async def test_a_fact_that_has_ended_does_not_hold_again_elsewhere(
    plain_memory: Memory, elsewhere: Memory, tmp_path: Path
) -> None:
    await plain_memory.facts.record("Alice", "lives in Paris")
    berlin = await plain_memory.facts.record("Alice", "lives in Berlin")
    await export_file(plain_memory, tmp_path / "x.jsonl")
    await import_path(elsewhere, "jsonl", tmp_path / "x.jsonl")
    (fact,) = await elsewhere.facts.list()
    assert (fact.content, fact.valid_from) == ("lives in Berlin", berlin.valid_from)
    before = berlin.created_at - timedelta(seconds=1)
    (fact,) = await elsewhere.facts.list(valid_at=before)
    assert (fact.content, fact.valid_to) == ("lives in Paris", berlin.valid_from)


async def test_import_into_another_namespace_twice_adds_it_once(
    plain_memory: Memory, tmp_path: Path
) -> None:
    await fill(plain_memory)
    await export_file(plain_memory, tmp_path / "x.jsonl")
    for _ in range(2):
        await import_path(plain_memory, "jsonl", tmp_path / "x.jsonl", namespace="copy")
    assert await content(plain_memory, "copy") == await content(plain_memory, "default")


async def test_import_where_it_came_from_adds_only_what_is_gone(
    plain_memory: Memory, tmp_path: Path
) -> None:
    await fill(plain_memory)
    before = await content(plain_memory, "default")
    await export_file(plain_memory, tmp_path / "x.jsonl")
    report = await import_path(plain_memory, "jsonl", tmp_path / "x.jsonl")
    assert (report.recorded, report.skipped) == (0, 7)
    (relates,) = [e for e in await plain_memory.list() if e.summary == "relates"]
    await plain_memory.delete(relates.id)
    report = await import_path(plain_memory, "jsonl", tmp_path / "x.jsonl")
    assert (report.recorded, report.skipped) == (1, 6)
    assert await content(plain_memory, "default") == before


async def test_vectors_travel_when_asked_for(
    memory: Memory, elsewhere: Memory, tmp_path: Path
) -> None:
    await memory.record("note", "the cat sat")
    await export_file(memory, tmp_path / "x.jsonl", vectors=True)
    await import_path(elsewhere, "jsonl", tmp_path / "x.jsonl")
    (here,), (there,) = await memory.list(), await elsewhere.list()
    assert there.embedded
    assert there.embedding_model == here.embedding_model


async def test_export_is_ordered_and_counted(plain_memory: Memory) -> None:
    await plain_memory.record_many(
        NewEpisode(event_type="n", summary=f"{i}", timestamp=_THEN - timedelta(hours=i))
        for i in range(1_200)
    )
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    lines = [json.loads(line) async for line in export(plain_memory, on_progress=note)]
    assert (lines[0]["kind"], lines[0]["items"], len(lines)) == ("header", 1_200, 1_201)
    assert [line["summary"] for line in lines[1:]] == [str(i) for i in range(1_200)]
    assert seen[-1] == (1_200, 1_200)


async def test_file_is_its_owners_and_replaces_the_old_one_whole(
    plain_memory: Memory, tmp_path: Path
) -> None:
    target = tmp_path / "x.jsonl"
    target.write_text("old")
    await plain_memory.record("note", "one")
    report = await export_file(plain_memory, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (report.items, report.size_bytes) == (1, target.stat().st_size)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x.jsonl"]


async def test_failed_export_leaves_the_old_file_and_no_other(
    plain_memory: Memory, tmp_path: Path
) -> None:
    target = tmp_path / "x.jsonl"
    target.write_text("old")
    await plain_memory.record("note", "one")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await export_file(plain_memory, target, on_progress=stop)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x.jsonl"]


async def test_place_that_cannot_be_written_is_said_so(
    plain_memory: Memory, tmp_path: Path
) -> None:
    for target in (tmp_path, tmp_path / "no" / "x.jsonl"):
        with pytest.raises(InvalidInput, match="cannot be written") as caught:
            await export_file(plain_memory, target)
        assert caught.value.code == "export_path"
