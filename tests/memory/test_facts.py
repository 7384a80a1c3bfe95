"""Facts: remembered, found by meaning and words, changed and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


async def test_fact_comes_back_with_every_field(plain_memory: Memory) -> None:
    fact = await plain_memory.facts.record(
        "PostgreSQL",
        "The database listens on port 5432.",
        category="infra",
        source="runbook",
        confidence=0.9,
        metadata={"page": 3},
        tags=["db"],
        source_id="runbook:1",
    )
    assert await plain_memory.facts.get(fact.id) == fact
    assert (fact.confidence, fact.tags, fact.metadata) == (0.9, ["db"], {"page": 3})
    again = await plain_memory.facts.record("PostgreSQL", "other", source_id="runbook:1")
    assert again == fact


async def test_recall_finds_by_meaning_and_by_a_rare_word(memory: Memory) -> None:
    cats = await memory.facts.record("pets", "The user owns two cats named Miso and Tofu.")
    await memory.facts.record("work", "The team meets on Monday mornings.")
    host = await memory.facts.record("hosts", "zx81-prod runs the billing service.")
    assert (await memory.facts.recall("what animals live with them?", k=1))[0].fact == cats
    assert (await memory.facts.recall("zx81-prod", k=1))[0].fact == host
    assert len(await memory.facts.recall("anything", k=2)) == 2


@pytest.mark.parametrize("query", ["'", "a & | !", ":*", "the of and", "\\", "<->", "🤖"])
async def test_hostile_query_is_just_words(memory: Memory, query: str) -> None:
    await memory.facts.record("a", "b")
    assert len(await memory.facts.recall(query)) == 1


async def test_list_filters_and_pages(plain_memory: Memory) -> None:
    for i in range(5):
        await plain_memory.facts.record("c", str(i), category="x" if i % 2 else "y", tags=["t"])
    assert [f.content for f in await plain_memory.facts.list(category="x")] == ["3", "1"]
    assert [f.content for f in await plain_memory.facts.list(limit=2, offset=1)] == ["3", "2"]
    assert await plain_memory.facts.list(concept="none") == []


async def test_update_embeds_new_words(memory: Memory) -> None:
    fact = await memory.facts.record("pet", "A cat.")
    changed = await memory.facts.update(fact.id, content="A stock exchange.", confidence=0.5)
    assert (changed.concept, changed.confidence, changed.embedded) == ("pet", 0.5, True)
    assert (await memory.facts.recall("share prices", k=1))[0].similarity > 0.2


async def test_bad_update_and_missing_fact_are_refused(plain_memory: Memory) -> None:
    fact = await plain_memory.facts.record("pet", "A cat.")
    with pytest.raises(InvalidInput, match="id cannot be updated"):
        await plain_memory.facts.update(fact.id, id=4)
    with pytest.raises(InvalidInput, match="confidence is 7"):
        await plain_memory.facts.update(fact.id, confidence=7)
    await plain_memory.facts.delete(fact.id)
    with pytest.raises(NotFound, match=f"no fact {fact.id}"):
        await plain_memory.facts.get(fact.id)
