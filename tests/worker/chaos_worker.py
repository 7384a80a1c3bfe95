"""A worker in a process of its own whose one function notes when it begins and how it ends.

`python -m tests.worker.chaos_worker DSN FILE LEASE_S`. Notes go to a file, which is there whatever
becomes of the database: one JSON line an event, written at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis.client import Aegis
from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import Unavailable
from aegis.worker import current_job
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker

if TYPE_CHECKING:
    from aegis.config import Settings


async def open_database(dsn: str, settings: Settings) -> Database:
    """Open it as soon as it answers: it may be in the middle of its restart."""
    while True:
        try:
            return await Database.open(dsn, settings, min_size=1)
        except Unavailable:
            await asyncio.sleep(0.1)


async def main(dsn: str, file: Path, lease_s: float) -> None:
    settings = load_settings({}, data_dir=file.parent)
    notes = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str) -> None:
        claim = current_job.get()
        entry = {"event": event, "job": int(claim.id), "token": claim.token, "at": time.monotonic()}
        os.write(notes, json.dumps(entry).encode() + b"\n")

    async def work(_: Any, arguments: dict[str, Any]) -> int:
        note("begin")
        try:
            await asyncio.sleep(arguments["s"])
        except asyncio.CancelledError:
            note("cancelled")
            raise
        note("end")
        return arguments["n"]

    async with await open_database(dsn, settings) as db:
        client = Aegis(db, None, settings)
        client.functions.add("work", work)
        worker = Worker(db, kinds_of(client, client.functions), concurrency=12, lease_s=lease_s)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
