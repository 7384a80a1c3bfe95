"""Run as a process: wait for a job of a database, to be killed on the way."""

from __future__ import annotations

import asyncio
import sys

from aegis.config import load_settings
from aegis.db import Database
from aegis.memory import Memory
from aegis.research.service import Research


async def main(job_id: str) -> None:
    settings = load_settings(embedder="none")
    assert settings.database_url is not None
    async with await Database.open(settings.database_url, settings, min_size=1) as db:
        await Research(Memory(db, None, namespace="default"), settings, pace=0.0).wait(job_id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
