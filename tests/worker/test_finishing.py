"""Outcomes that are written together: one that cannot be keeps none of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import AegisError, Unavailable
from aegis.worker.finishing import Finisher
from aegis.worker.models import NewJob
from aegis.worker.store import claims
from aegis.worker.store.claims import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis
    from aegis.db import Connection


async def claimed(client: Aegis, count: int) -> list[claims.Claimed]:
    async def nothing(_: Any, __: dict[str, Any]) -> None:
        return None

    client.functions.add("nothing", nothing)
    await client.jobs.enqueue_many([NewJob(function="nothing") for _ in range(count)])
    async with client.db.transaction() as conn:
        return await claims.claim(
            conn, "w", limit=count, lease_s=30, functions=["nothing"], without_keys=[]
        )


def completed(job: claims.Claimed, **fields: Any) -> Outcome:
    return Outcome(id=job.id, token=job.token, state="completed", **fields)


async def test_many_outcomes_are_few_commits(
    client: Aegis, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await claimed(client, 200)
    sizes: list[int] = []
    finish = claims.finish

    async def counted(conn: Connection, outcomes: Sequence[Outcome]) -> set[int]:
        sizes.append(len(outcomes))
        return await finish(conn, outcomes)

    monkeypatch.setattr(claims, "finish", counted)
    finisher = Finisher(client.db)
    held = await asyncio.gather(*(finisher.write(completed(job)) for job in jobs))
    assert all(held)
    assert sum(sizes) == 200
    assert len(sizes) <= 2
    assert finisher.pending() == set()
    assert await client.jobs.counts() == {"due": 0, "later": 0, "running": 0}


async def test_one_that_cannot_be_written_is_told_and_the_rest_is_written(client: Aegis) -> None:
    good, bad, stale, last = await claimed(client, 4)
    finisher = Finisher(client.db)
    told = await asyncio.gather(
        finisher.write(completed(good)),
        finisher.write(completed(bad, error="a\0b")),
        finisher.write(Outcome(id=stale.id, token=stale.token - 1, state="completed")),
        finisher.write(completed(last, result={"a": 1})),
        return_exceptions=True,
    )
    assert (told[0], told[2], told[3]) == (True, False, True)
    assert isinstance(told[1], AegisError)
    assert (await client.jobs.get(bad.id)).state == "running"
    assert (await client.jobs.get(last.id)).result == {"a": 1}


async def test_while_the_database_is_away_it_is_tried_again(
    client: Aegis, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = await claimed(client, 1)
    calls = 0
    finish = claims.finish

    async def away_at_first(conn: Connection, outcomes: Sequence[Outcome]) -> set[int]:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise Unavailable("not now")
        return await finish(conn, outcomes)

    monkeypatch.setattr(claims, "finish", away_at_first)
    assert await Finisher(client.db).write(completed(job))
    assert (calls, (await client.jobs.get(job.id)).state) == (3, "completed")
