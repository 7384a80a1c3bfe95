"""Claims, leases and fencing; database steps; rows of other programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db.lease import Claim
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.workflows.work import WorkflowsKind
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Step


async def test_a_worker_that_lost_its_lease_writes_nothing(bench: Bench) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    release = asyncio.Event()
    runs = 0

    async def holds(step: Step) -> Any:
        nonlocal runs
        runs += 1
        mine = runs
        (first if mine == 1 else second).set()
        await release.wait()
        return mine

    bench.does("holds", holds)
    await bench.save("w", chain(("a", "holds"), ("b", "echo", {"params": {"v": "{{ nodes.a }}"}})))
    started = await bench.workflows.start("w")
    kind = WorkflowsKind(bench.engine)
    (stale,) = await kind.claim("one", limit=5, lease_s=0.0)
    running = asyncio.create_task(kind.run(stale))
    await first.wait()
    (fresh,) = await kind.claim("two", limit=5, lease_s=30.0)
    assert fresh.token == stale.token + 1
    taking_over = asyncio.create_task(kind.run(fresh))
    await second.wait()
    release.set()
    await asyncio.gather(running, taking_over)
    detail = await bench.workflows.execution(started.id)
    assert detail.output == {"v": 2}
    assert len(await bench.workflows.history(started.id)) == 2
    assert await kind.renew([stale], lease_s=10) == set()


async def test_a_claim_is_renewed_and_handed_back(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo")))
    started = await bench.workflows.start("w")
    kind = WorkflowsKind(bench.engine)
    assert await kind.next_due() == 0
    (claim,) = await kind.claim("one", limit=5, lease_s=30.0)
    assert await kind.claim("two", limit=5, lease_s=30.0) == []
    assert 20 < (await kind.next_due() or 0) <= 30
    assert await kind.renew([claim], lease_s=60) == {started.id}
    await kind.release([claim])
    (again,) = await kind.claim("two", limit=5, lease_s=30.0)
    assert isinstance(again, Claim)
    assert again.token == claim.token + 1
    await kind.run(again)
    assert (await bench.workflows.execution(started.id)).execution.status == "completed"
    assert await kind.next_due() is None


async def test_a_key_that_is_full_is_passed_over(bench: Bench) -> None:
    await bench.save("one", chain(("a", "echo")))
    await bench.save("two", chain(("a", "echo")))
    for name in ("one", "one", "two"):
        await bench.workflows.start(name)
    kind = WorkflowsKind(bench.engine)
    (first,) = await kind.claim("x", limit=1, lease_s=30.0)
    (other,) = await kind.claim("x", limit=5, lease_s=30.0, without_keys=[first.key or ""])
    assert other.key != first.key


async def test_an_execution_that_loses_worker_after_worker_is_given_up(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo")))
    started = await bench.workflows.start("w")
    kind = WorkflowsKind(bench.engine)
    for _ in range(20):
        assert len(await kind.claim("x", limit=1, lease_s=0.0)) == 1
    (claim,) = await kind.claim("x", limit=1, lease_s=0.0)
    await kind.run(claim)
    found = (await bench.workflows.execution(started.id)).execution
    assert (found.status, found.reason) == ("failed", "crashed")
    assert bench.ran == []


async def test_rows_of_other_programs_are_left_alone(bench: Bench) -> None:
    async with bench.db.transaction() as conn:
        cursor = await conn.execute(
            "INSERT INTO workflow_executions (context) VALUES ('[1]') RETURNING id::text"
        )
        row = await cursor.fetchone()
    assert row is not None
    assert await WorkflowsKind(bench.engine).claim("x", limit=5, lease_s=1.0) == []
    detail = await bench.workflows.execution(row[0])
    assert (detail.context, detail.execution.status) == ({"value": [1]}, "running")
    with pytest.raises(Conflict, match="not started by Aegis"):
        await bench.workflows.pause(row[0])
    with pytest.raises(InvalidInput, match="UUID"):
        await bench.workflows.execution("x")
    with pytest.raises(NotFound):
        await bench.workflows.execution("00000000-0000-0000-0000-000000000000")


async def test_a_database_step_commits_with_its_record_or_not_at_all(bench: Bench) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute("CREATE TABLE effects (key text)")

    async def stores(step: Step) -> Any:
        assert step.conn is not None
        await step.conn.execute("INSERT INTO effects VALUES (%s)", [step.idempotency_key])
        if step.attempt == 1:
            raise RuntimeError("after the insert")
        return "stored"

    bench.stores("stores", stores)
    await bench.save("w", chain(("a", "stores", {"retry": {"first_s": 0.01}}), ("b", "echo")))
    ended = await bench.run("w")
    assert ended.status == "completed"
    async with bench.db.transaction() as conn:
        cursor = await conn.execute("SELECT count(*), count(DISTINCT key) FROM effects")
        assert await cursor.fetchone() == (1, 1)


async def test_many_database_steps_at_once_do_not_starve_the_pool(bench: Bench) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute("CREATE TABLE effects (n int)")

    async def stores(step: Step) -> Any:
        assert step.conn is not None
        await step.conn.execute("INSERT INTO effects VALUES (%s)", [step.params["n"]])
        return step.params["n"]

    graph = {
        "start": "each",
        "nodes": {
            "each": {"type": "fan_out", "params": {"items": "{{ input.items }}"}},
            "work": {"type": "stores", "params": {"n": "{{ item }}"}},
            "meet": {"type": "join"},
        },
        "edges": [{"from": "each", "to": "work"}, {"from": "work", "to": "meet"}],
    }
    bench.stores("stores", stores)
    await bench.save("w", graph)
    async with bench.worker():
        ids = [(await bench.workflows.start("w", {"items": list(range(30))})).id for _ in range(5)]
        for id in ids:
            assert (await bench.until(id)).status == "completed"
    async with bench.db.transaction() as conn:
        cursor = await conn.execute("SELECT count(*) FROM effects")
        assert await cursor.fetchone() == (150,)
