"""Research on the real worker: woken by the start, nobody held between polls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.client import Aegis
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
