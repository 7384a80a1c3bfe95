"""Research on the real worker: woken by the start, nobody held between polls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.memory import Memory
from aegis.research.service import Research
from aegis.worker import loop
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker
from tests.research.servers import PATIENCE_S, Script, ok, serving
from tests.research.shapes import perplexity, perplexity_response

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.config import Settings
    from aegis.db import Database


async def test_the_worker_runs_research_to_its_end(db: Database, settings: Settings) -> None:
    script = Script(ok(perplexity("CREATED")), ok(perplexity(response=perplexity_response())))
    async with serving(script):
        client = Aegis(
            db,
            None,
            replace(
                settings,
                embedder="none",
                research_perplexity_url=script.url,
                research_perplexity_api_key="k",
            ),
        )
        worker = Worker(db, kinds_of(client, client.functions))
        running = asyncio.create_task(worker.run())
        try:
            bought = await client.research.start("How fast?", provider="perplexity")
            free = await client.research.start("What is known?", provider="local")
            async with asyncio.timeout(PATIENCE_S):
                for job_id in (bought.job.id, free.job.id):
                    while (await client.research.status(job_id)).next_poll_at is not None:
                        await asyncio.sleep(0.05)
        finally:
            worker.stop()
            await asyncio.wait_for(running, PATIENCE_S)
            await client.aclose()
        detail = await client.research.get(bought.job.id)
    assert detail.job.status == "completed"
    assert detail.job.episode_id is not None
    assert len(script.starts()) == 1
    assert (await client.research.status(free.job.id)).status == "completed"


async def test_what_a_worker_hands_back_wakes_another(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looking by itself, and the end of a lease, come too late for this test.
    for name in ("_SHORTEST_S", "_LONGEST_S", "_DEAF_S"):
        monkeypatch.setattr(loop, name, 300.0)
    never = asyncio.Event()
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED"), after=never), ok(done))
    async with serving(script):
        given = replace(
            settings,
            embedder="none",
            research_perplexity_url=script.url,
            research_perplexity_api_key="k",
        )
        client = Aegis(db, None, given)
        job = (await client.research.start("How fast?", provider="perplexity")).job
        # Its start is answered by now; what hangs is no request that is paid.
        async with db.transaction() as conn:
            await conn.execute("UPDATE deep_briefing_jobs SET remote_id = 'pplx_1'")
        one, other = (
            Worker(db, kinds_of(client, client.functions), lease_s=3_600.0, grace_s=0.0)
            for _ in range(2)
        )
        running = asyncio.create_task(one.run())
        await script.requests(1)
        beside = asyncio.create_task(other.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(await client.workers.list()) < 2:
                    await asyncio.sleep(0.01)
                one.stop()
                await running
                while (await client.research.status(job.id)).next_poll_at is not None:
                    await asyncio.sleep(0.02)
        finally:
            never.set()
            one.stop()
            other.stop()
            await asyncio.wait_for(asyncio.gather(running, beside), PATIENCE_S)
            await client.aclose()
    assert (await client.research.status(job.id)).status == "completed"
    assert script.starts() == []


async def test_without_a_worker_a_provider_s_rate_is_kept_too(
    db: Database, settings: Settings
) -> None:
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok(done))
    async with serving(script):
        given = replace(
            settings,
            embedder="none",
            research_perplexity_url=script.url,
            research_perplexity_api_key="k",
        )
        client = Aegis(db, None, given)
        await client.workers.set_rate("perplexity", 60, burst=10)
        job = (await client.research.start("How fast?", provider="perplexity")).job
        before = await free_at(db)
        assert await client.research.run_due() == 1
        first = await free_at(db)
        async with db.transaction() as conn:
            await conn.execute("UPDATE deep_briefing_jobs SET next_poll_at = now()")
        detail = await client.research.wait(job.id)
        second = await free_at(db)
        await client.aclose()
    assert detail.job.status == "completed"
    # Each request to it took a turn, one second at this rate, before it was sent.
    assert before < first < second


async def free_at(db: Database) -> datetime:
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT free_at FROM provider_rates")
        row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def test_a_job_is_held_while_a_turn_is_waited_for_and_handed_back_when_cut_off(
    db: Database, settings: Settings
) -> None:
    begun = asyncio.Event()

    async def turn(provider: str) -> None:
        assert provider == "local"
        begun.set()
        await asyncio.Event().wait()

    research = Research(Memory(db, None, namespace="default"), settings, turn=turn)
    await research.start("What is known?", provider="local")
    stepping = asyncio.create_task(research.run_due())
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    assert await research.work().claim("another", limit=1, lease_s=1.0) == []
    stepping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stepping
    assert len(await research.work().claim("another", limit=1, lease_s=1.0)) == 1
