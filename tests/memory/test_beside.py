"""What is done beside something else ends with it, whatever becomes of either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import AegisError, Unavailable
from aegis.memory import Memory
from aegis.memory.beside import beside
from aegis.memory.store import search

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.embedding import Embedder


async def test_both_are_done() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async with beside(work()) as task:
        assert await task == 7


async def test_a_block_that_fails_ends_it() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(ZeroDivisionError):
        async with beside(work()):
            await asyncio.sleep(0)
            raise ZeroDivisionError
    assert ended.is_set()


async def test_its_own_failure_is_the_blocks_when_it_is_asked() -> None:
    async def work() -> None:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        async with beside(work()) as task:
            await task


async def test_words_are_sought_while_the_question_is_embedded(
    memory: Memory, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.record("note", "tea in the morning")
    read, embed = search.find_worded, embedder.embed
    asked, told = asyncio.Event(), asyncio.Event()

    async def reading(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        await told.wait()
        return await read(*args, **kwargs)

    async def embedding(texts: Any) -> Any:
        # Neither would go on without the other.
        await asked.wait()
        told.set()
        return await embed(texts)

    monkeypatch.setattr(search, "find_worded", reading)
    monkeypatch.setattr(embedder, "embed", embedding)
    async with asyncio.timeout(30):
        hits = await memory.recall("morning tea", k=1)
    assert hits[0].episode.summary == "tea in the morning"


async def test_a_database_that_is_down_is_said_so_with_an_embedder(
    db: Database, embedder: Embedder
) -> None:
    memory = Memory(db, embedder, namespace="default")
    await db.close()
    with pytest.raises(AegisError, match="pool"):
        await memory.recall("anything")
