"""The server is killed under writers: what was acknowledged is there, and everybody goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import make_conninfo

from aegis.client import Aegis
from aegis.config import Settings, load_settings
from aegis.db import Database, embedded, migrate
from aegis.db.postmaster import processes_of
from aegis.db.server import finder
from aegis.errors import Unavailable
from tests.cluster import embedded_folder
from tests.db.rows import value
from tests.worker.conftest import ended, working

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITERS = 6


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir, embedder="none")


class Writers:
    """Six that write rows one by one, and remember which were acknowledged."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.acknowledged: list[int] = []
        self.failures = 0
        self.stop = asyncio.Event()

    async def write(self, first: int) -> None:
        number = first
        while not self.stop.is_set():
            number += _WRITERS
            try:
                async with self._db.transaction() as conn:
                    await conn.execute("INSERT INTO written VALUES (%s)", [number])
            except Unavailable:
                self.failures += 1
                await asyncio.sleep(0.01)
            else:
                self.acknowledged.append(number)

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(90):
            while not true():
                await asyncio.sleep(0.01)


async def test_a_server_killed_under_writers_loses_nothing_that_was_acknowledged(
    own: Settings,
) -> None:
    endpoint = await asyncio.to_thread(embedded.start, own)
    await asyncio.to_thread(migrate.upgrade, endpoint.dsn)
    timeline = "SELECT timeline_id FROM pg_control_checkpoint()"
    before = value(endpoint.dsn, timeline)
    killed = asyncio.Event()
    in_work = asyncio.Event()

    async def once(client: Any, arguments: dict[str, Any]) -> int:
        async with client.db.transaction() as conn:
            await conn.execute("INSERT INTO effects VALUES (%s)", [arguments["n"]])
            in_work.set()
            await killed.wait()
        return arguments["n"]

    async with await Database.open(endpoint.dsn, own, find_dsn=finder(own)) as db:
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE written (n int PRIMARY KEY)")
            await conn.execute("CREATE TABLE effects (n int)")
        client = Aegis(db, None, own)
        client.functions.add("once", once)
        writers = Writers(db)
        async with asyncio.TaskGroup() as group, working(client, lease_s=5.0):
            job = await client.jobs.enqueue("once", arguments={"n": 7}, max_attempts=5)
            for number in range(_WRITERS):
                group.create_task(writers.write(number))
            await asyncio.wait_for(in_work.wait(), 30)
            await writers.until(lambda: len(writers.acknowledged) > 300)
            os.kill(endpoint.pid, signal.SIGKILL)
            for pid in processes_of(endpoint.data_dir):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # The fault took effect: writers noticed, and the job's transaction is gone.
            await writers.until(lambda: writers.failures > 0)
            killed.set()
            again = await asyncio.to_thread(embedded.start, own)
            assert again.pid != endpoint.pid
            count = len(writers.acknowledged)
            await writers.until(lambda: len(writers.acknowledged) > count + 100)
            done = await ended(client, job.id, within_s=120)
            writers.stop.set()
        assert (done.state, done.attempts) == ("completed", 2)
        async with db.transaction() as conn:
            cursor = await conn.execute("SELECT n FROM written")
            there = {n for (n,) in await cursor.fetchall()}
            cursor = await conn.execute("SELECT array_agg(n) FROM effects")
            assert await cursor.fetchone() == ([7],)
            await conn.execute("CREATE EXTENSION amcheck")
            await conn.execute("SELECT bt_index_check('written_pkey', true)")
        assert set(writers.acknowledged) - there == set()
        # The same history goes on: nobody promoted anything.
        assert value(make_conninfo(again.dsn), timeline) == before
    await asyncio.to_thread(embedded.stop, own, "immediate")
