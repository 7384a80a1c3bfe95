"""Reading by a language model after the rules: what it says is kept, its absence costs nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import Database
from aegis.errors import Unavailable
from aegis.memory import Memory
from tests.memory.embedding.test_openai import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings

FOUND = {
    "entities": [{"kind": "person", "name": "Alice"}, {"kind": "project", "name": "Rocket"}],
    "relations": [
        {"source": "Alice", "type": "works_on", "target": "Rocket", "confidence": 0.8},
        {"source": "Alice", "type": "owns", "target": "Moon", "confidence": 0.8},
    ],
}


def said(value: Any) -> Reply:
    text = value if isinstance(value, str) else json.dumps(value)
    return Reply(body=json.dumps({"choices": [{"message": {"content": text}}]}).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=lambda _: said(FOUND))) as running:
        yield running


@pytest.fixture
async def memory(dsn: str, settings: Settings, endpoint: Endpoint) -> AsyncIterator[Memory]:
    wired = replace(settings, llm_url=endpoint.url, llm_model="m", llm_timeout_s=1.0)
    async with await Database.open(dsn, wired, min_size=1) as db:
        yield Memory(db, None, namespace="default")


async def test_model_adds_what_the_rules_do_not_see(memory: Memory, endpoint: Endpoint) -> None:
    one = await memory.record("note", "Alice is on Rocket, see ABC-1")
    built = await memory.graph.build()
    assert (built.read, built.added) == (2, 4)
    assert {e.name for e in await memory.graph.entities(of=one.id)} == {"ABC-1", "Alice", "Rocket"}
    (claim,) = (await memory.graph.path("person:Alice", "project:Rocket")).relations
    assert (claim.type, claim.found_by) == ("works_on", "model")
    assert claim.weight == pytest.approx(0.8)
    assert len(endpoint.asked) == 1
    assert "Alice is on Rocket" in endpoint.asked[0]["messages"][1]["content"]
    assert (await memory.graph.build()).read == 0
    await memory.graph.build(again=True)
    assert sorted(e.degree for e in await memory.graph.entities()) == [1, 2, 2]
    # What one memory alone said goes with it.
    await memory.delete(one.id)
    assert await memory.graph.entities() == []


async def test_changed_text_takes_what_it_said_along(memory: Memory, endpoint: Endpoint) -> None:
    one = await memory.record("note", "Alice is on Rocket")
    await memory.graph.build()
    endpoint.answer = lambda _: said({"entities": [], "relations": []})
    await memory.update(one.id, summary="nothing more")
    assert (await memory.graph.build()).removed == 3
    assert await memory.graph.entities() == []


async def test_while_the_model_is_away_rules_work_and_texts_wait(
    memory: Memory, endpoint: Endpoint
) -> None:
    one = await memory.record("note", "Alice is on Rocket, see ABC-1")
    endpoint.answer = lambda _: Reply(status=503)
    with pytest.raises(Unavailable):
        await memory.graph.build()
    assert [e.name for e in await memory.graph.entities(of=one.id)] == ["ABC-1"]
    assert await memory.graph.waiting() == {"rules": 0, "model": 1}
    endpoint.answer = lambda _: said(FOUND)
    assert (await memory.graph.build()).read == 1
    assert await memory.graph.waiting() == {"rules": 0, "model": 0}
    assert len(await memory.graph.entities(of=one.id)) == 3


async def test_answer_that_cannot_be_used_is_no_answer(memory: Memory, endpoint: Endpoint) -> None:
    await memory.record("note", "see ABC-1")
    endpoint.answer = lambda _: said("I cannot do that.")
    assert (await memory.graph.build()).added == 1
    assert await memory.graph.waiting() == {"rules": 0, "model": 0}
