"""Recall waits for the vector of a question only so long, and says when it did without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from aegis.errors import InvalidInput, Unavailable
from aegis.memory import Memory
from aegis.memory.embedding.patience import Patient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.memory.embedding import Embedder, Vectors


class Slow:
    """An embedder of two dimensions that answers once `gate` is set."""

    model = "slow"
    dimensions = 2

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.asked = 0

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        await self.gate.wait()
        return np.array([[1.0, 0.0]] * len(texts), np.float32)

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


class _Settled:
    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self.settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def memory_of(db: Database, embedder: Embedder, budget_ms: int) -> Memory:
    other: Any = _Settled(db, replace(db.settings, embedding_budget_ms=budget_ms))
    return Memory(other, embedder, namespace="default")


async def test_words_answer_when_the_vector_is_late_and_the_answer_says_so(
    db: Database, plain_memory: Memory
) -> None:
    await plain_memory.record("note", "The invoice of March was sent twice")
    slow = Slow()
    memory = memory_of(db, slow, 10)
    for _ in range(4):
        hits = await memory.recall("invoice", k=1)
        assert [hit.episode.summary for hit in hits] == ["The invoice of March was sent twice"]
        assert "embedder did not answer" in hits.warnings[0]
    # The fourth question did not ask it any more.
    assert slow.asked == 3
    assert "embedder did not answer" in (await memory.context("invoice")).warnings[0]


async def test_an_answer_in_time_brings_its_vector_and_no_warning(
    db: Database, plain_memory: Memory
) -> None:
    await plain_memory.record("note", "Nothing of it", embedding=[1.0, 0.0], embedding_model="slow")
    slow = Slow()
    slow.gate.set()
    hits = await memory_of(db, slow, 60_000).recall("invoice", k=1)
    assert hits.warnings == []
    assert "similarity 1.000" in str(hits[0].parts)


async def test_mode_vector_waits_because_nothing_else_answers(
    db: Database, plain_memory: Memory
) -> None:
    await plain_memory.record("note", "Nothing of it", embedding=[1.0, 0.0], embedding_model="slow")
    slow = Slow()
    memory = memory_of(db, slow, 1)
    async with anyio.create_task_group() as group:

        async def later() -> None:
            while not slow.asked:
                await anyio.sleep(0)
            await anyio.sleep(0.02)
            slow.gate.set()

        group.start_soon(later)
        found = await memory.recall("invoice", mode="vector", k=1)
        assert [hit.parts[0].arm for hit in found] == ["vector"]
    with pytest.raises(InvalidInput):
        await Memory(db, None, namespace="default").recall("invoice", mode="vector")


async def test_the_built_in_embedder_is_awaited_however_short_the_budget(
    db: Database, embedder: Embedder
) -> None:
    await embedder.warm()
    memory = memory_of(db, embedder, 1)
    await memory.record("note", "Anna prefers green tea")
    hits = await memory.recall("what does she drink", k=1)
    assert hits.warnings == []
    assert "similarity" in str(hits[0].parts)


async def test_a_late_answer_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(Unavailable, match=r"within 5 ms \(AEGIS_EMBEDDING_BUDGET_MS\)"):
        await Patient(Slow(), budget_ms=5).embed(["x"])
