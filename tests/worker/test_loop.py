"""The worker: how much at once, leases kept and lost, an orderly end, a database that goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db.lease import Claim, notify
from aegis.errors import InvalidInput, Unavailable
from aegis.worker import loop
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker
from aegis.worker.models import NewJob
from tests.worker.conftest import ended, working

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.client import Aegis
    from aegis.db import Database


class Gate:
    """A function that waits to be let through, and counts who is in it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside: Counter[str] = Counter()
        self.most = 0
        self.cancelled = 0
        self.entered = asyncio.Event()

    async def __call__(self, arguments: dict[str, Any]) -> str:
        self.inside[arguments.get("key", "")] += 1
        self.most = max(self.most, sum(self.inside.values()))
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.inside[arguments.get("key", "")] -= 1
        return "through"


@pytest.fixture
async def gate(client: Aegis) -> Gate:
    gate = Gate()

    async def wait(_: Any, arguments: dict[str, Any]) -> str:
        return await gate(arguments)

    client.functions.add("wait", wait)
    return gate


class Made:
    """A kind of the test's own: pieces in memory, run until they are let go."""

    def __init__(self, name: str, keys: Sequence[str | None]) -> None:
        self.name = name
        self.concurrency: int | None = None
        self.per_key: int | None = None
        self.waiting = [
            Claim(kind=name, id=f"{name}{n}", token=1, key=key) for n, key in enumerate(keys)
        ]
        self.released: list[Claim] = []
        self.running: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()
        self.most_in_all = 0
        self.done: list[str] = []
        self.lost: set[str] = set()
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        if self.error is not None:
            raise self.error
        free = [claim for claim in self.waiting if claim.key not in without_keys][:limit]
        self.waiting = [claim for claim in self.waiting if claim not in free]
        return free

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        return {claim.id for claim in claims} - self.lost

    async def release(self, claims: Sequence[Claim]) -> None:
        self.released += claims
        self.waiting += claims

    async def run(self, claim: Claim) -> None:
        self.running[claim.key] += 1
        self.most[claim.key] = max(self.most[claim.key], self.running[claim.key])
        self.most_in_all = max(self.most_in_all, self.running.total())
        self.begun.set()
        try:
            await self.go.wait()
            self.done.append(claim.id)
        finally:
            self.running[claim.key] -= 1

    async def next_due(self) -> float | None:
        return 0.0 if self.waiting else None


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def run_until(worker: Worker, condition: Any) -> None:
    task = asyncio.create_task(worker.run())
    try:
        await until(condition)
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)


async def test_never_more_at_once_than_it_may_and_no_kind_starves(db: Database) -> None:
    greedy, modest = Made("greedy", [None] * 20), Made("modest", [None] * 2)
    worker = Worker(db, [greedy, modest], concurrency=4, per_kind={"greedy": 10})
    task = asyncio.create_task(worker.run())
    await until(lambda: greedy.running.total() == 3 and modest.running.total() == 1)
    greedy.go.set()
    modest.go.set()
    await until(lambda: len(greedy.done) == 20 and len(modest.done) == 2)
    worker.stop()
    await asyncio.wait_for(task, 30)
    assert greedy.most_in_all + modest.most_in_all <= 5
    assert greedy.most_in_all <= 4


async def test_room_that_a_claim_gives_back_is_had_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LONGEST_S", 3_600.0)
    slow, quick = Made("slow", []), Made("quick", [None] * 2)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def claim(*_: object, **__: object) -> list[Claim]:
        asked.set()
        await answered.wait()
        return []

    monkeypatch.setattr(slow, "claim", claim)
    worker = Worker(db, [slow, quick], concurrency=3)
    task = asyncio.create_task(worker.run())
    # The slow one asks for two places; there is none left for the second of the other.
    await until(lambda: asked.is_set() and quick.running.total() == 1)
    answered.set()
    await until(lambda: quick.running.total() == 2)
    worker.stop()
    await asyncio.wait_for(task, 30)


async def test_limits_of_a_kind_and_of_its_keys_hold(db: Database) -> None:
    kind = Made("k", ["a", "a", "a", "b", "b", None, None])
    worker = Worker(db, [kind], concurrency=10, per_kind={"k": 4}, per_key={"k": 2})
    task = asyncio.create_task(worker.run())
    await until(lambda: kind.running.total() == 4)
    assert kind.most["a"] == 2
    kind.go.set()
    await until(lambda: len(kind.done) == 7)
    worker.stop()
    await asyncio.wait_for(task, 30)
    assert (kind.most_in_all, kind.most["a"]) == (4, 2)


async def test_a_kind_may_say_its_limits_itself(db: Database) -> None:
    kind = Made("k", ["a", "a", "b", "b", None])
    kind.concurrency, kind.per_key = 3, 1
    kind.go.set()
    await run_until(Worker(db, [kind], concurrency=10), lambda: len(kind.done) == 5)
    assert kind.most_in_all <= 3
    assert (kind.most["a"], kind.most["b"]) == (1, 1)


async def test_one_kinds_failure_keeps_no_other_from_its_work(db: Database) -> None:
    for error in (RuntimeError("a defect"), Unavailable("an outage")):
        broken, sound = Made("broken", [None]), Made("sound", [None])
        broken.error = error
        sound.go.set()
        broken.go.set()
        await run_until(Worker(db, [broken, sound]), lambda s=sound: s.done == ["sound0"])
        broken.error = None
        await run_until(Worker(db, [broken]), lambda b=broken: b.done == ["broken0"])


async def test_a_lost_lease_cancels_the_run_and_is_not_handed_back(db: Database) -> None:
    kind = Made("k", [None, None])
    worker = Worker(db, [kind], lease_s=0.3, grace_s=0)
    task = asyncio.create_task(worker.run())
    await until(lambda: kind.running.total() == 2)
    kind.lost = {"k0"}
    await until(lambda: kind.running.total() == 1)
    worker.stop()
    await asyncio.wait_for(task, 30)
    assert [claim.id for claim in kind.released] == ["k1"]
    assert kind.done == []


async def test_a_worker_that_is_given_its_own_piece_again_runs_it_once_at_a_time(
    db: Database,
) -> None:
    kind = Made("k", [None])
    worker = Worker(db, [kind], grace_s=0)
    task = asyncio.create_task(worker.run())
    await until(lambda: kind.running.total() == 1)
    # The server's clock was set: the lease is over, and the same worker claims it anew.
    kind.waiting = [Claim(kind="k", id="k0", token=2)]
    await notify_kind(db, "k")
    await until(lambda: kind.most_in_all == 1 and len(kind.waiting) + kind.running.total() == 1)
    await until(lambda: kind.running.total() == 1)
    worker.stop()
    await asyncio.wait_for(task, 30)
    assert kind.most_in_all == 1
    assert kind.released[0].token == 2


async def notify_kind(db: Database, name: str) -> None:
    async with db.transaction() as conn:
        await notify(conn, name)


async def test_a_lease_that_cannot_be_renewed_is_given_up_before_it_runs_out(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Made("k", [None])
    hangs = asyncio.Event()

    async def renew(claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        await hangs.wait()
        return set()

    monkeypatch.setattr(kind, "renew", renew)
    worker = Worker(db, [kind], lease_s=1.0)
    began = asyncio.get_running_loop().time()
    task = asyncio.create_task(worker.run())
    await until(lambda: kind.running.total() == 1)
    await until(lambda: kind.running.total() == 0)
    assert kind.done == kind.released == []
    assert asyncio.get_running_loop().time() - began > 0.7
    hangs.set()
    worker.stop()
    await asyncio.wait_for(task, 30)


async def test_stopped_it_lets_finish_what_does_in_time_and_hands_back_the_rest(
    client: Aegis, gate: Gate
) -> None:
    stopped, begun = asyncio.Event(), asyncio.Event()

    async def quick(_: Any, __: dict[str, Any]) -> str:
        begun.set()
        await stopped.wait()
        return "done"

    client.functions.add("quick", quick)
    long = await client.jobs.enqueue("wait")
    short = await client.jobs.enqueue("quick")
    # The long one takes the whole of it, the short one no more than writing down its end.
    async with working(client, grace_s=6.0) as worker:
        await asyncio.wait_for(asyncio.gather(gate.entered.wait(), begun.wait()), 30)
        worker.stop()
        stopped.set()
    assert (await client.jobs.get(short.id)).state == "completed"
    back = await client.jobs.get(long.id)
    assert (back.state, back.attempts, back.lease_owner) == ("waiting", 0, None)
    assert gate.cancelled == 1
    (row,) = await client.workers.list(all_of_them=True)
    assert (row.alive, row.stopped_at is not None, row.running) == (False, True, 0)
    assert await client.workers.list() == []


async def test_cancelled_it_hands_back_as_well(client: Aegis, gate: Gate) -> None:
    job = await client.jobs.enqueue("wait")
    worker = Worker(client.db, kinds_of(client, client.functions))
    task = asyncio.create_task(worker.run())
    await asyncio.wait_for(gate.entered.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.jobs.get(job.id)).state == "waiting"


async def test_a_cancelled_job_is_stopped_at_once_not_at_the_next_heartbeat(
    client: Aegis, gate: Gate
) -> None:
    job = await client.jobs.enqueue("wait")
    async with working(client, lease_s=3_600.0):
        await asyncio.wait_for(gate.entered.wait(), 30)
        await client.jobs.cancel(job.id)
        await until(lambda: gate.cancelled == 1)
    assert (await client.jobs.get(job.id)).state == "cancelled"


async def test_workers_are_listed_while_they_live(client: Aegis, gate: Gate) -> None:
    async with working(client, concurrency=3) as one, working(client) as two:
        async with asyncio.timeout(30):
            while len(rows := await client.workers.list()) < 2:
                await asyncio.sleep(0.01)
        assert {row.id for row in rows} == {one.id, two.id}
        assert {row.concurrency for row in rows} == {3, 8}
        assert {"jobs", "schedules", "workflows"} <= {*rows[0].kinds}


async def test_work_without_a_notification_is_found_all_the_same(client: Aegis) -> None:
    async def nothing(_: Any, __: dict[str, Any]) -> None:
        return None

    client.functions.add("nothing", nothing)
    async with working(client):
        async with client.db.connection() as conn:
            cursor = await conn.execute(
                "INSERT INTO jobs (function, due_at) VALUES ('nothing', now()) RETURNING id"
            )
            row = await cursor.fetchone()
            assert row is not None
        assert (await ended(client, row[0])).state == "completed"


@pytest.mark.parametrize("later_s", [0.0, 1.5])
async def test_a_notification_wakes_it_and_it_knows_when_the_next_is_due(
    client: Aegis, gate: Gate, monkeypatch: pytest.MonkeyPatch, later_s: float
) -> None:
    # Looking by itself comes too late for this test.
    for name in ("_SHORTEST_S", "_LONGEST_S", "_DEAF_S"):
        monkeypatch.setattr(loop, name, 300.0)
    gate.open.set()
    async with working(client):
        await ended(client, (await client.jobs.enqueue("wait")).id)
        due_at = datetime.now(UTC) + timedelta(seconds=later_s)
        job = await client.jobs.enqueue("wait", due_at=due_at)
        done = await ended(client, job.id, within_s=60)
    assert done.started_at is not None
    assert done.started_at >= due_at - timedelta(milliseconds=50)


async def test_a_connection_that_is_cut_is_made_again_and_notifications_come(
    client: Aegis, gate: Gate
) -> None:
    gate.open.set()
    async with working(client, lease_s=3_600.0):
        first = await client.jobs.enqueue("wait")
        await ended(client, first.id)
        for n in range(3):
            async with client.db.connection() as conn:
                await conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            async with asyncio.timeout(30):
                while True:
                    try:
                        job = await client.jobs.enqueue("wait", unique_key=f"u{n}")
                        break
                    except Unavailable:
                        await asyncio.sleep(0.01)
            assert (await ended(client, job.id)).state == "completed"


async def test_calls_of_a_provider_keep_its_rate_over_workers(client: Aegis) -> None:
    at: list[float] = []
    loop = asyncio.get_running_loop()

    async def call(_: Any, __: dict[str, Any]) -> None:
        at.append(loop.time())

    client.functions.add("call", call)
    await client.workers.set_rate("slow", 600, burst=2)
    assert [rate.per_minute for rate in await client.workers.rates()] == [600]
    made = await client.jobs.enqueue_many(
        [NewJob(function="call", provider="slow") for _ in range(8)]
    )
    async with working(client), working(client):
        for job in made:
            await ended(client, job.id)
    # Ten a second after a burst of two: the eighth is six intervals after the first. Reserving
    # takes a moment itself, so none may come early, and late is right.
    assert max(at) - min(at) > 0.5
    await client.workers.set_rate("slow", None)
    assert await client.workers.rates() == []
    with pytest.raises(InvalidInput, match="per_minute"):
        await client.workers.set_rate("slow", 0)


async def test_notifications_of_others_are_none_of_its_business(client: Aegis) -> None:
    async with working(client), client.db.transaction() as conn:
        for payload in ("", "!", "unknown", "unknown!", "jobs!", "'; DROP TABLE jobs"):
            await notify(conn, payload)
