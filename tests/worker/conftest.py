"""A client, and a worker of it that runs until the block ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aegis.client import Aegis
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.worker.models import Job


@pytest.fixture
async def client(db: Database, settings: Settings) -> Aegis:
    return Aegis(db, None, settings)


@asynccontextmanager
async def working(client: Aegis, **options: Any) -> AsyncGenerator[Worker]:
    """Run a worker until the block ends, and let it end in order."""
    worker = Worker(client.db, kinds_of(client, client.functions), **options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)


async def ended(client: Aegis, job_id: int, *, within_s: float = 30.0) -> Job:
    """Return a job as soon as it has ended."""
    async with asyncio.timeout(within_s):
        while True:
            job = await client.jobs.get(job_id)
            if job.finished_at is not None:
                return job
            await asyncio.sleep(0.01)
