"""The whole of Aegis behind a PgBouncer that gives each transaction another process."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import aegis
from aegis.db import Database, fetch_value
from aegis.db.opening import connect_once, server_pid
from aegis.errors import AegisError, Conflict
from aegis.memory.models import NewEpisode
from aegis.memory.store import search
from aegis.metrics.models import Sample
from aegis.ops.backup.service import Backups
from aegis.ops.health import Health
from aegis.security.columns.service import Encryption
from aegis.worker.kinds import kinds_of
from aegis.worker.listener import listen
from aegis.worker.loop import Worker
from aegis.workflows.examples import example
from aegis.workflows.reader import make_reader
from tests.pooler import UNTOUCHED, Pooler, left_in, pooled, taking_turns, warm
from tests.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from aegis.client import Aegis
    from aegis.config import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A pooler's first client waits until the server has let the pooler in."""
    return replace(settings, connect_timeout_s=30.0)


@pytest.fixture
def turning(dsn: str) -> Iterator[Pooler]:
    with taking_turns(dsn) as pooler:
        yield pooler


@pytest.fixture
def ways(turning: Pooler, settings: Settings) -> Settings:
    """Both addresses: through the pooler, and past it."""
    return replace(settings, database_url=turning.url, direct_database_url=turning.direct)


@pytest.fixture
async def through(turning: Pooler, settings: Settings) -> AsyncIterator[Aegis]:
    """A client that knows no way past the pooler."""
    async with aegis.connect(turning.url, settings=settings) as client:
        await warm(turning)
        yield client


@pytest.fixture
async def past(ways: Settings, turning: Pooler) -> AsyncIterator[Aegis]:
    async with aegis.connect(settings=ways) as client:
        await warm(turning)
        yield client


async def test_memory(turning: Pooler, through: Aegis) -> None:
    memory = through.memory
    episodes = (NewEpisode(event_type="note", summary=f"Note {n} of host h{n}.") for n in range(40))
    assert (await memory.record_many(episodes)).recorded == 40
    one = await memory.record("deploy", "The deployment runs at noon on Fridays.")
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    timed = await memory.record("deploy", "It was late once.", timestamp=at)
    for _ in range(9):
        hits = await memory.recall("when does the deployment run?", k=3)
        assert hits[0].episode.id == one.id
        assert (await memory.get(timed.id)).timestamp == at
    fact = await memory.facts.record("deployment", "runs on Fridays")
    known = await memory.facts.recall("when is the deployment?")
    assert [hit.fact.id for hit in known] == [fact.id]
    await memory.items.put(("a", "b"), "k", {"n": 1, "text": "deployment"})
    assert (await memory.items.get(("a", "b"), "k")).value["n"] == 1  # type: ignore[union-attr]
    assert len(await memory.items.search(("a",), query="deployment")) == 1
    assert "noon" in (await memory.context("deployment", budget_tokens=99)).text
    assert await left_in(turning) == {UNTOUCHED}


async def test_width_of_a_search_is_set_where_it_is_searched(
    turning: Pooler, through: Aegis
) -> None:
    for _ in range(4):
        async with through.db.reading() as conn:
            await search.read_question(conn, query="a", namespace="default", ef_search=77)
            assert await fetch_value(conn, "SHOW hnsw.ef_search") == "77"
            assert await fetch_value(conn, "SHOW hnsw.iterative_scan") == "relaxed_order"
    assert await left_in(turning) == {UNTOUCHED}


async def test_keys_and_usage_of_many_at_once(turning: Pooler, through: Aegis) -> None:
    issued = [await through.keys.issue("c", monthly_quota=40) for _ in range(2)]
    calls = [through.keys.verify(one.key) for one in issued for _ in range(50)]
    valid = [done.valid for done in await asyncio.gather(*calls)]
    assert (sum(valid[:50]), sum(valid[50:])) == (40, 40)
    event = {"customer_id": "c", "endpoint": "/a", "method": "GET", "status_code": 200}
    for n in range(12):
        done = await through.usage.record([event | {"event_id": f"e{n}"}])
        again = await through.usage.record([event | {"event_id": f"e{n}"}])
        assert (done.recorded, again.recorded) == (1, 0)
    assert await left_in(turning) == {UNTOUCHED}


async def test_the_role_that_workflows_read_with_goes_past_the_pooler(
    turning: Pooler, past: Aegis
) -> None:
    url = await make_reader(past.db, role="reads_past_it")
    try:
        async with await connect_once(url, past.settings) as conn:
            assert await fetch_value(conn, "SELECT session_user::text") == "reads_past_it"
            assert await server_pid(conn) == conn.info.backend_pid
    finally:
        with psycopg.connect(turning.direct) as conn:
            conn.execute("DROP OWNED BY reads_past_it; DROP ROLE reads_past_it")


async def test_samples_and_their_charts(turning: Pooler, through: Aegis) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    samples = [
        Sample(container_name="web", timestamp=at - timedelta(minutes=n), cpu_percent=float(n))
        for n in range(30)
    ]
    assert await through.metrics.record(samples) == 30
    await through.metrics.keep()
    chart = await through.metrics.chart("web", "cpu_percent", since=at - timedelta(hours=2))
    assert max(point.highest or 0 for point in chart.points) == 29
    assert await left_in(turning) == {UNTOUCHED}


async def test_doctor_makes_nobody_read_only(turning: Pooler, through: Aegis) -> None:
    report = await through.health.check()
    failed = {r.id: r.observed for r in report.results if "SET LOCAL" in r.observed}
    assert report.critical + report.warning + report.ok + report.unknown > 60
    assert not failed
    assert await left_in(turning) == {UNTOUCHED}
    for _ in range(6):
        await through.memory.record("note", "written by somebody else")


async def test_doctor_cannot_write(through: Aegis, monkeypatch: pytest.MonkeyPatch) -> None:
    from aegis.ops.health.checks.activity import latency

    async def writes(conn: Any, ask: Any) -> Any:
        del ask
        await conn.execute("INSERT INTO memory_namespaces (namespace) VALUES ('by a check')")

    monkeypatch.setattr("aegis.ops.health.service.CATALOG", (replace(latency, run=writes),))
    (found,) = (await through.health.check()).results
    assert found.state == "unknown"
    assert "read-only" in found.observed


async def test_worker_without_notifications_says_so_once_and_looks_by_the_clock(
    through: Aegis, caplog: pytest.LogCaptureFixture
) -> None:
    through.functions.add("shout", _shout)
    heard: list[Any] = []
    with caplog.at_level(logging.WARNING, logger="aegis.worker"):
        task = asyncio.create_task(listen(through.db, told=heard.append, connected=heard.append))
        while not heard:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not any(heard)
        said = [r for r in caplog.records if r.message == "worker.polls"]
        assert len(said) == 1
        assert "AEGIS_DIRECT_DATABASE_URL" in said[0].__dict__["why"]
    await _work(through)


async def test_worker_whose_way_past_leads_elsewhere_goes_on_looking(
    turning: Pooler, ways: Settings, empty_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    astray = replace(ways, direct_database_url=empty_dsn)
    async with aegis.connect(settings=astray) as client:
        client.functions.add("shout", _shout)
        heard: list[Any] = []
        with caplog.at_level(logging.WARNING, logger="aegis.worker"):
            task = asyncio.create_task(listen(client.db, told=heard.append, connected=heard.append))
            while not heard:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert not any(heard)
        said = [r.__dict__["why"] for r in caplog.records if r.message == "worker.listener_lost"]
        assert "leads to another database" in said[0]
        await _work(client)


async def test_worker_with_a_way_past_is_notified(past: Aegis) -> None:
    past.functions.add("shout", _shout)
    told: list[str] = []
    connected = asyncio.Event()
    task = asyncio.create_task(
        listen(past.db, told=told.append, connected=lambda there: there and connected.set())
    )
    try:
        async with asyncio.timeout(30):
            await connected.wait()
            await past.jobs.enqueue("shout", arguments={"text": "a"})
            while not told:
                await asyncio.sleep(0.01)
        assert told == ["jobs"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await _work(past)


async def _shout(_: Any, arguments: dict[str, Any]) -> str:
    return arguments["text"].upper()


async def _work(client: Aegis) -> None:
    """Have a job and an execution done by a worker, watched meanwhile."""
    await client.memory.record("error", "The disk was full.", importance="high")
    await client.workflows.save(example("nightly-memory-review"))
    worker = Worker(client.db, kinds_of(client, client.functions), grace_s=1.0)
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(60):
            job = await client.jobs.enqueue("shout", arguments={"text": "hello"})
            begun = await client.workflows.start("nightly-memory-review")
            async for _ in client.workflows.watch(begun.id):
                pass
            while (done := await client.jobs.get(job.id)).finished_at is None:
                await asyncio.sleep(0.05)
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)
    assert done.result == "HELLO"
    execution = (await client.workflows.execution(begun.id)).execution
    assert execution.status == "completed", execution.error


REFUSED: dict[str, Callable[[Aegis], Awaitable[Any]]] = {
    "maintenance": lambda a: a.maintenance.run(outside_window=True),
    "consolidation": lambda a: a.memory.consolidation.run(),
    "indexes": lambda a: a.memory.vectors.reindex(m=8, ef_construction=32),
    "columns": lambda a: Encryption(a.db, a.settings).enable("billing_accounts.email"),
    "erasing": lambda a: a.memory.erasures.run("nobody@example.org"),
    "backup": lambda a: Backups(a.settings).create(),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_needs_a_session_is_refused_in_one_line_and_done_past_the_pooler(
    turning: Pooler, settings: Settings, ways: Settings, what: str
) -> None:
    alone = replace(settings, database_url=turning.url)
    async with aegis.connect(settings=alone) as client:
        with pytest.raises(AegisError) as caught:
            await REFUSED[what](client)
        assert caught.value.code == "db_needs_session"
        assert "AEGIS_DIRECT_DATABASE_URL" in caught.value.message
        assert "\n" not in caught.value.message
    async with aegis.connect(settings=ways) as client:
        await REFUSED[what](client)
    await warm(turning)
    assert await left_in(turning) == {UNTOUCHED}


async def test_locks_past_the_pooler_keep_others_out(past: Aegis, ways: Settings) -> None:
    from aegis.memory.store import consolidation_marks as marks

    async with aegis.connect(settings=ways) as other, other.db.session() as conn:
        assert await marks.lock_run(conn, "default")
        with pytest.raises(Conflict):
            await past.memory.consolidation.run()
    await past.memory.consolidation.run()


async def test_check_of_the_pooler(
    turning: Pooler, settings: Settings, ways: Settings, empty_dsn: str
) -> None:
    async def look(url: str, chosen: Settings) -> Any:
        async with await Database.open(url, chosen, min_size=1) as db:
            (found,) = (await Health(db, chosen).check(only=["pooler"])).results
        return found

    assert (await look(turning.direct, settings)).state == "ok"
    assert (await look(turning.url, ways)).state == "ok"
    without = await look(turning.url, replace(settings, database_url=turning.url))
    assert without.state == "warning"
    assert "AEGIS_DIRECT_DATABASE_URL is not set" in without.observed
    for astray in (empty_dsn, "host=/nowhere user=u"):
        found = await look(turning.url, replace(ways, direct_database_url=astray))
        assert found.state == "critical"
        assert [f.object for f in found.findings] == ["AEGIS_DIRECT_DATABASE_URL"]
    with pooled(turning.direct, "session") as pooler:
        assert (await look(pooler.url, settings)).state == "ok"
    with pooled(turning.direct, database={"connect_query": "SELECT 1"}) as pooler:
        found = await look(pooler.url, replace(ways, database_url=pooler.url))
        assert [(f.object, f.state) for f in found.findings] == [("statement_timeout", "warning")]
    with psycopg.connect(turning.direct, autocommit=True) as conn:
        conn.execute("CREATE ROLE somebody LOGIN")
    try:
        users = {"somebody": "let-me-through"}
        with pooled(turning.direct, users=users, database={"user": "aegis"}) as pooler:
            url = pooler.url_of("somebody")
            found = await look(url, replace(ways, database_url=url))
            assert [(f.object, f.state) for f in found.findings] == [("user", "critical")]
            assert "logs somebody in as aegis" in found.observed
    finally:
        with psycopg.connect(turning.direct, autocommit=True) as conn:
            conn.execute("DROP ROLE somebody")


def test_aegis_up_serves_behind_it(turning: Pooler, tmp_path: Path) -> None:
    addresses = {"database_url": turning.url, "direct_database_url": turning.direct}
    with serving(tmp_path / "data", **addresses) as served, served.http() as http:
        made = http.post("/v1/memory/episodes", json={"event_type": "note", "summary": "A cat."})
        assert made.status_code == 201, made.text
        for _ in range(5):
            found = http.post("/v1/memory/recall", json={"query": "cat"})
            assert found.status_code == 200, found.text
        assert http.get("/v1/health").status_code == 200


def test_aegis_up_makes_the_schema_past_it(empty_dsn: str, tmp_path: Path) -> None:
    with pooled(empty_dsn) as pooler:
        addresses = {"database_url": pooler.url, "direct_database_url": pooler.direct}
        with serving(tmp_path / "data", **addresses) as served, served.http() as http:
            assert http.get("/v1/health").status_code == 200
        assert make_conninfo(pooler.url) != empty_dsn
