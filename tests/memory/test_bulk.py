"""Bulk recording: complete, in order, once, and nothing half done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from aegis.errors import InvalidInput
from aegis.memory import NewEpisode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


def some(count: int, *, start: int = 0) -> Iterator[NewEpisode]:
    for i in range(start, start + count):
        yield NewEpisode(event_type="note", summary=f"number {i}", source_id=f"k{i}")


async def test_ids_follow_the_order_given(plain_memory: Memory) -> None:
    result = await plain_memory.record_many(some(1200), batch_size=100)
    assert result.ids == sorted(result.ids)
    assert (result.recorded, result.skipped, result.embedded) == (1200, 0, 0)
    for at in (0, 599, 1199):
        assert (await plain_memory.get(result.ids[at])).summary == f"number {at}"


async def test_vectors_come_with_the_rows(memory: Memory) -> None:
    result = await memory.record_many(some(20), batch_size=8)
    assert result.embedded == 20
    assert all(e.embedded for e in await memory.list())


async def test_second_run_skips_what_is_there(plain_memory: Memory) -> None:
    await plain_memory.record_many(some(30))
    again = await plain_memory.record_many(some(50))
    assert (again.recorded, again.skipped) == (20, 30)
    assert await plain_memory.count() == 50


async def test_repeats_within_one_batch_are_recorded_once(plain_memory: Memory) -> None:
    result = await plain_memory.record_many([*some(5), *some(5)])
    assert (result.recorded, result.skipped) == (5, 5)


async def test_bad_episode_ends_the_run_and_all_before_it_are_recorded(
    plain_memory: Memory,
) -> None:
    episodes = [*some(25), NewEpisode(event_type="note", summary=""), *some(25, start=100)]
    with pytest.raises(InvalidInput, match="summary is empty"):
        await plain_memory.record_many(episodes, batch_size=10)
    assert await plain_memory.count() == 25


async def test_asynchronous_source_and_progress(plain_memory: Memory) -> None:
    async def source() -> AsyncIterator[NewEpisode]:
        for episode in some(25):
            yield episode

    told: list[int] = []
    await plain_memory.record_many(source(), batch_size=10, on_progress=told.append)
    assert told == [10, 20, 25]


async def test_two_runs_at_once_record_each_source_once(plain_memory: Memory) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lambda: plain_memory.record_many(some(200), batch_size=20))
    assert await plain_memory.count() == 200


async def test_every_character_survives_the_copy(plain_memory: Memory) -> None:
    odd = 'tab\t line\n return\r \\ \\N \\. "quoted" {brace},comma NULL \x01\x7f\u2028 🐘'
    episode = NewEpisode(
        event_type=odd,
        summary=odd,
        details={odd: [odd, {"deep": odd}], "number": 1.5},
        context={},
        tags=[odd, "NULL", "a,b", '"', "\\"],
        decision=odd,
        metadata={"backslash": "\\", "escape": "\\u0041"},
        session_id=odd,
        source_id=odd,
    )
    one, last = NewEpisode(event_type="n", summary="\\."), NewEpisode(event_type="n", summary="x")
    (row_id, *_) = (await plain_memory.record_many([episode, one, last])).ids
    stored = await plain_memory.get(row_id)
    assert (stored.event_type, stored.summary, stored.decision) == (odd, odd, odd)
    assert (stored.details, stored.context) == (episode.details, {})
    assert (stored.tags, stored.metadata) == (list(episode.tags), episode.metadata)
    assert (stored.session_id, stored.source_id) == (odd, odd)
    assert await plain_memory.count() == 3


async def test_related_sources_become_ids_within_and_across_batches(plain_memory: Memory) -> None:
    chain = [
        NewEpisode(
            event_type="n", summary=f"{i}", source_id=f"k{i}", related_sources=[f"k{i - 1}", "none"]
        )
        for i in range(30)
    ]
    ids = (await plain_memory.record_many(chain, batch_size=7)).ids
    related = [(await plain_memory.get(row_id)).related_memories for row_id in ids]
    assert related == [[], *([row_id] for row_id in ids[:-1])]


async def test_large_texts_of_rare_words_are_recorded(plain_memory: Memory) -> None:
    words = " ".join(f"{i:x}木{i * 7919:x}" for i in range(60_000))[:900_000]
    (row_id,) = (await plain_memory.record_many([NewEpisode(event_type="n", summary=words)])).ids
    assert (await plain_memory.get(row_id)).summary == words.strip()
