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
