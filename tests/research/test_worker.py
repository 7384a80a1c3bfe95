"""Research on the real worker: woken by the start, nobody held between polls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.worker import loop
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker
from tests.research.servers import PATIENCE_S, Script, ok, serving
from tests.research.shapes import perplexity, perplexity_response

if TYPE_CHECKING:
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
