"""Very many calls at once: they share statements, and each gets its own answer or error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from langgraph.store.base import InvalidNamespaceError

import aegis
from aegis.config import load_settings
from aegis.errors import InvalidInput
from aegis.langgraph import AegisStore
from aegis.langgraph.gathering import Gathering

if TYPE_CHECKING:
    from pathlib import Path


async def test_thousands_of_calls_at_once_do_not_wait_for_connections_until_patience_ends(
    dsn: str, tmp_path: Path
) -> None:
    settings = replace(
        load_settings({}, data_dir=tmp_path),
        pool_min_size=1,
        pool_max_size=2,
        # Less than what the calls take one after the other.
        pool_timeout_s=2.0,
        embedder="none",
    )
    async with aegis.connect(dsn, settings=settings) as client:
        store = AegisStore(client, index=False)
        await store.aput(("first",), "k", {})
        calls = [store.aput(("many",), f"k{n}", {"n": n}) for n in range(5_000)]
        await asyncio.gather(*calls)
        found = await asyncio.gather(*(store.aget(("many",), f"k{n}") for n in range(5_000)))
        assert [item.value["n"] for item in found if item is not None] == list(range(5_000))


async def test_a_call_that_is_wrong_fails_alone(dsn: str, tmp_path: Path) -> None:
    settings = replace(load_settings({}, data_dir=tmp_path), pool_max_size=2, embedder="none")
    async with aegis.connect(dsn, settings=settings) as client:
        store = AegisStore(client, index=False)
        # The second of them is known to be wrong only where it is done.
        odd = {50: ("few.dotted", "k"), 51: ("few", "k\x00")}
        places = [odd.get(n, ("few", f"k{n}")) for n in range(200)]
        calls = [store.aput((label,), key, {}) for label, key in places]
        done = await asyncio.gather(*calls, return_exceptions=True)
        wrong = {n: error for n, error in enumerate(done) if error is not None}
        assert wrong.keys() == {50, 51}
        assert isinstance(wrong[50], InvalidNamespaceError)
        assert isinstance(wrong[51], InvalidInput)
        assert len(await store.asearch(("few",), limit=1_000)) == 198


async def test_one_lane_takes_what_waits_together_and_forgets_who_went() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    seen: list[list[int]] = []

    async def work(ops: list[int]) -> list[int]:
        seen.append(ops)
        begun.set()
        await may_end.wait()
        return [op * 10 for op in ops]

    gathering: Gathering[int, int] = Gathering(work, lanes=1, most=500)
    calls = [asyncio.create_task(gathering.do([n, n + 100])) for n in range(4)]
    await begun.wait()
    calls[2].cancel()
    may_end.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert seen == [[0, 100], [1, 101, 3, 103]]
    assert isinstance(done[2], asyncio.CancelledError)
    assert [done[0], done[1], done[3]] == [[0, 1000], [10, 1010], [30, 1030]]
    # The lane is free again.
    assert await gathering.do([7]) == [70]


async def test_no_more_go_together_than_may_but_one_call_stays_whole() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    seen: list[list[int]] = []

    async def work(ops: list[int]) -> list[int]:
        seen.append(ops)
        begun.set()
        await may_end.wait()
        return ops

    gathering: Gathering[int, int] = Gathering(work, lanes=1, most=3)
    sizes = (1, 2, 2, 5, 1, 1, 1, 1)
    calls = [asyncio.create_task(gathering.do([n] * size)) for n, size in enumerate(sizes)]
    await begun.wait()
    may_end.set()
    done = await asyncio.gather(*calls)
    assert done == [[n] * size for n, size in enumerate(sizes)]
    assert seen == [[0], [1, 1], [2, 2], [3] * 5, [4, 5, 6], [7]]


async def test_the_lane_goes_on_after_a_failure_and_a_cancelled_call() -> None:
    may_end = asyncio.Event()

    async def work(ops: list[int]) -> list[int]:
        await may_end.wait()
        if 2 in ops:
            raise InvalidInput("two")
        return ops

    gathering: Gathering[int, int] = Gathering(work, lanes=1, most=500)
    first = asyncio.create_task(gathering.do([0]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(gathering.do([n])) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    first.cancel()
    may_end.set()
    done = await asyncio.gather(*others, return_exceptions=True)
    assert [done[0], done[2]] == [[1], [3]]
    assert isinstance(done[1], InvalidInput)
    with pytest.raises(InvalidInput):
        await gathering.do([2])
    assert await gathering.do([9]) == [9]
