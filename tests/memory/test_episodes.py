"""Recording, reading, changing and deleting episodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import execute
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import Memory, NewEpisode

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

FULL: dict[str, Any] = {
    "timestamp": datetime(2026, 5, 1, 9, tzinfo=UTC),
    "details": {"files": ["a.py"], "n": 3},
    "context": {"branch": "main"},
    "importance": "critical",
    "tags": ["deploy", "übung"],
    "related_memories": [3, 1],
    "decision": "ship it",
    "metadata": {"by": "agent \U0001f916"},
    "namespace": "other",
    "session_id": "s-1",
    "source_id": "k-1",
}


async def test_recorded_episode_comes_back_with_every_field(plain_memory: Memory) -> None:
    written = await plain_memory.record("milestone", "It works — “really” 'so'; DROP", **FULL)
    read = await plain_memory.get(written.id, namespace="other")
    assert read == written
    assert {name: getattr(read, name) for name in FULL} == FULL
    assert read.summary == "It works — “really” 'so'; DROP"
    assert read.embedded is False


async def test_default_embedder_fills_the_vector(memory: Memory) -> None:
    episode = await memory.record("note", "The cat sat on the mat.")
    assert episode.embedded
    assert episode.embedding_model == "all-MiniLM-L6-v2-onnx-int8"


async def test_failing_embedder_never_loses_a_memory(
    db: Database, absent_embedder: Embedder, embedder: Embedder
) -> None:
    episode = await Memory(db, absent_embedder, namespace="default").record("note", "Kept.")
    assert episode.embedded is False
    memory = Memory(db, embedder, namespace="default")
    assert await memory.backfill() == 1
    assert (await memory.get(episode.id)).embedded
    assert await memory.backfill() == 0


async def test_own_vector_of_the_wrong_length_is_refused_and_nothing_stored(
    memory: Memory,
) -> None:
    with pytest.raises(InvalidInput, match="has 2 numbers; this model's vectors have 384"):
        await memory.record("note", "x", embedding=[0.1, 0.2])
    assert await memory.count() == 0


async def test_own_vector_of_another_model_is_kept_with_its_name(plain_memory: Memory) -> None:
    episode = await plain_memory.record(
        "note", "x", embedding=[0.1, 0.2], embedding_model="mine-2d"
    )
    assert (episode.embedded, episode.embedding_model) == (True, "mine-2d")


async def test_own_vector_without_a_model_is_refused_where_none_is_known(
    plain_memory: Memory,
) -> None:
    with pytest.raises(InvalidInput, match="embedding_model"):
        await plain_memory.record("note", "x", embedding=[0.1, 0.2])


async def test_same_source_is_recorded_once_per_namespace(plain_memory: Memory) -> None:
    first = await plain_memory.record("note", "one", source_id="k")
    again = await plain_memory.record("note", "two", source_id="k")
    elsewhere = await plain_memory.record("note", "three", source_id="k", namespace="b")
    assert again == first
    assert elsewhere.id != first.id


async def test_list_pages_newest_first_without_gap_or_repeat(plain_memory: Memory) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    await plain_memory.record_many(
        NewEpisode(event_type="n", summary=str(i), timestamp=start + timedelta(hours=i // 2))
        for i in range(25)
    )
    seen: list[str] = []
    before = None
    while page := await plain_memory.list(limit=4, before=before):
        seen += [e.summary for e in page]
        before = (page[-1].timestamp, page[-1].id)
    assert seen == [str(i) for i in reversed(range(25))]


async def test_list_holds_every_condition_at_once(plain_memory: Memory) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    wanted: dict[str, Any] = {
        "event_type": "error",
        "importance": "high",
        "tags": ["a", "b"],
        "session_id": "s",
        "timestamp": start,
    }
    hit = await plain_memory.record("error", "hit", **_without(wanted, "event_type"))
    for name, other in {
        "event_type": "note",
        "importance": "low",
        "tags": ["a"],
        "session_id": "t",
        "timestamp": start - timedelta(days=1),
        "namespace": "b",
    }.items():
        fields: dict[str, Any] = {**wanted, name: other}
        kind = fields.pop("event_type")
        await plain_memory.record(kind, f"other {name}", **fields)
    found = await plain_memory.list(
        event_types=["error", "x"],
        min_importance="high",
        tags=["b", "a"],
        session_id="s",
        since=start,
        until=start + timedelta(seconds=1),
    )
    assert found == [hit]


async def test_update_changes_only_what_is_named_and_embeds_new_words(memory: Memory) -> None:
    before = await memory.record("note", "The cat sat.", tags=["a"], details={"x": 1})
    after = await memory.update(before.id, summary="Stock markets fell.", importance="low")
    assert (after.summary, after.importance) == ("Stock markets fell.", "low")
    assert (after.tags, after.details, after.timestamp) == (["a"], {"x": 1}, before.timestamp)
    assert after.updated_at is not None
    hits = await memory.recall("finance news", mode="vector", k=1)
    assert hits[0].episode.id == before.id
    assert hits[0].score > 0.2


async def test_update_that_cannot_embed_drops_the_old_vector(
    db: Database, memory: Memory, absent_embedder: Embedder
) -> None:
    episode = await memory.record("note", "The cat sat.")
    changed = await Memory(db, absent_embedder, namespace="default").update(
        episode.id, summary="Stock markets fell."
    )
    assert (changed.embedded, changed.embedding_model) == (False, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 3}, "id cannot be updated"),
        ({}, "nothing to change; give at least one of context"),
        ({"importance": "urgent"}, "importance is 'urgent'"),
        ({"summary": ""}, "summary is empty"),
    ],
)
async def test_bad_update_is_refused_and_changes_nothing(
    plain_memory: Memory, changes: dict[str, Any], message: str
) -> None:
    episode = await plain_memory.record("note", "x")
    with pytest.raises(InvalidInput, match=message):
        await plain_memory.update(episode.id, **changes)
    assert await plain_memory.get(episode.id) == episode


async def test_another_namespace_sees_changes_and_deletes_nothing(plain_memory: Memory) -> None:
    episode = await plain_memory.record("note", "x")
    for call in (
        plain_memory.get(episode.id, namespace="b"),
        plain_memory.update(episode.id, namespace="b", summary="y"),
        plain_memory.delete(episode.id, namespace="b"),
    ):
        with pytest.raises(NotFound, match=f"no episode {episode.id} in namespace 'b'"):
            await call
    assert await plain_memory.get(episode.id) == episode


async def test_delete_is_final_and_says_so_the_second_time(plain_memory: Memory) -> None:
    episode = await plain_memory.record("note", "x")
    await plain_memory.delete(episode.id)
    with pytest.raises(NotFound):
        await plain_memory.delete(episode.id)


async def test_episode_of_a_decision_is_not_deleted_from_under_it(plain_memory: Memory) -> None:
    decision = await plain_memory.decisions.record(
        "db", alternatives=["a", "b"], chosen_option="a", reasoning="r"
    )
    assert decision.episode_id is not None
    with pytest.raises(Conflict):
        await plain_memory.delete(decision.episode_id)
    assert await plain_memory.get(decision.episode_id)


async def test_rows_of_the_seed_with_nulls_everywhere_can_be_read(
    db: Database, plain_memory: Memory
) -> None:
    async with db.transaction() as conn:
        await execute(
            conn,
            """
            INSERT INTO episodic_memory (timestamp, event_type, summary, importance, created_at)
            VALUES (NULL, 'note', 'bare', NULL, NULL)
            """,
        )
    (episode,) = await plain_memory.list()
    assert (episode.summary, episode.importance, episode.tags) == ("bare", "medium", [])


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}
