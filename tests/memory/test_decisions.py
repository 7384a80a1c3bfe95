"""Decisions: recorded with their episode, resolved once, found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")

DECISION: dict[str, Any] = {
    "alternatives": ["PostgreSQL", {"name": "SQLite", "why_not": "one writer"}],
    "chosen_option": "PostgreSQL",
    "reasoning": "Several processes write.",
}


async def test_decision_comes_back_and_has_an_episode(plain_memory: Memory) -> None:
    decision = await plain_memory.decisions.record("Which database?", **DECISION)
    assert await plain_memory.decisions.get(decision.id) == decision
    assert decision.alternatives == DECISION["alternatives"]
    assert decision.outcome_status == "pending"
    assert decision.episode_id is not None
    episode = await plain_memory.get(decision.episode_id)
    assert episode.event_type == "decision"
    assert "PostgreSQL" in episode.summary


async def test_decision_of_an_episode_that_is_not_there_leaves_nothing(
    plain_memory: Memory,
) -> None:
    with pytest.raises(NotFound, match="no episode 999"):
        await plain_memory.decisions.record("x", **DECISION, episode_id=999)
    assert await plain_memory.decisions.list() == []


async def test_outcome_is_recorded_once(plain_memory: Memory) -> None:
    decision = await plain_memory.decisions.record("Which database?", **DECISION)
    resolved = await plain_memory.decisions.resolve(
        decision.id, "partial", details={"p95_ms": 4}, lessons="Tune it.", feedback="positive"
    )
    assert (resolved.outcome_status, resolved.lessons_learned) == ("partial", "Tune it.")
    assert resolved.resolved_at is not None
    with pytest.raises(Conflict, match="resolved as 'partial' already"):
        await plain_memory.decisions.resolve(decision.id, "success")
    assert await plain_memory.decisions.get(decision.id) == resolved


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outcome": "pending"}, "outcome is 'pending'"),
        ({"outcome": "great"}, "outcome is 'great'; use one of success, partial, failure"),
        ({"outcome": "success", "feedback": "meh"}, "feedback is 'meh'"),
        ({"outcome": "success", "details": [1]}, "details is"),
    ],
)
async def test_bad_outcome_is_refused_and_the_decision_stays_pending(
    plain_memory: Memory, fields: dict[str, Any], message: str
) -> None:
    decision = await plain_memory.decisions.record("x", **DECISION)
    with pytest.raises(InvalidInput, match=message):
        await plain_memory.decisions.resolve(decision.id, **fields)
    assert (await plain_memory.decisions.get(decision.id)).outcome_status == "pending"


async def test_recall_finds_the_decision_among_other_memories(memory: Memory) -> None:
    await memory.record("note", "Databases are nice; which database is best?")
    wanted = await memory.decisions.record("Which database?", **DECISION)
    await memory.decisions.record(
        "What is for lunch?", alternatives=["soup"], chosen_option="soup", reasoning="cold day"
    )
    hits = await memory.decisions.recall("choosing where to store data", k=1)
    assert [hit.decision.id for hit in hits] == [wanted.id]


async def test_list_update_and_delete(plain_memory: Memory) -> None:
    first = await plain_memory.decisions.record("one", **DECISION)
    second = await plain_memory.decisions.record("two", **DECISION)
    await plain_memory.decisions.resolve(first.id, "success")
    assert [d.id for d in await plain_memory.decisions.list()] == [second.id, first.id]
    assert [d.id for d in await plain_memory.decisions.list(outcome="pending")] == [second.id]
    changed = await plain_memory.decisions.update(first.id, user_feedback="negative")
    assert (changed.user_feedback, changed.outcome_status) == ("negative", "success")
    with pytest.raises(InvalidInput, match="chosen_option cannot be updated"):
        await plain_memory.decisions.update(first.id, chosen_option="SQLite")
    await plain_memory.decisions.delete(first.id)
    with pytest.raises(NotFound):
        await plain_memory.decisions.get(first.id)
