"""A worker of executions in a process of its own; its steps note when they begin.

`python -m tests.workflows.chaos_worker DSN FILE LEASE_S`. Notes go to a file, one JSON line each,
written at once: it is there whatever becomes of the database.
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

from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import Unavailable
from aegis.worker.loop import Worker
from aegis.workflows.engine import Engine
from aegis.workflows.language import Cel
from aegis.workflows.work import WorkflowsKind
from tests.workflows.conftest import Doing, TestParts

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.workflows.nodes.contract import Step


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

    async def step(given: Step) -> Any:
        entry = {
            "execution": given.execution_id,
            "node": given.node,
            "branch": given.branch,
            "key": given.idempotency_key,
            "at": time.time(),
        }
        os.write(notes, json.dumps(entry).encode() + b"\n")
        await asyncio.sleep(0.05)
        return {"node": given.node}

    async def effect(given: Step) -> Any:
        assert given.conn is not None
        await given.conn.execute(
            "INSERT INTO effects (key, node) VALUES (%s, %s)", [given.idempotency_key, given.node]
        )
        return await step(given)

    types = {"step": Doing("step", "step", step), "effect": Doing("effect", "database", effect)}
    async with await open_database(dsn, settings) as db:
        engine = Engine(TestParts(db, settings), types.__getitem__, Cel())
        worker = Worker(db, [WorkflowsKind(engine)], concurrency=30, lease_s=lease_s)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
