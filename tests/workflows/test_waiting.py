"""Waits, signals, approvals; pause, resume, cancel, retry, fork; leases and fencing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db.lease import Claim
from aegis.errors import Conflict, InvalidInput, LimitExceeded, NotFound
from aegis.workflows.work import WorkflowsKind
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.workflows.execution import Execution, StepRecord
    from aegis.workflows.nodes.contract import Step

ONCE = {"retry": {"attempts": 1}}
SIGNAL = {"params": {"name": "go"}}


def told(steps: list[StepRecord]) -> list[tuple[str, int, str]]:
    return [(s.node, s.attempt, s.status) for s in steps]


async def released(bench: Bench, id: str) -> Execution:
    """Return an execution once no worker holds it."""
    async with asyncio.timeout(20):
        async for change in bench.workflows.watch(id):
            if change.execution.lease_owner is None:
                return change.execution
    raise AssertionError("it ended")


async def test_a_signal_ends_a_wait_that_holds_no_worker(bench: Bench) -> None:
    await bench.save("w", chain(("wait", "signal", SIGNAL), ("after", "echo")))
    async with bench.worker():
        started = await bench.workflows.start("w")
        found = await bench.until(started.id, waits=True)
        assert (found.status, found.reason, found.lease_owner) == ("running", "waiting", None)
        assert (found.current_node, found.wake_at) == ("wait", None)
        waiting = (await bench.workflows.execution(started.id)).waiting
        assert [(w.node, w.input) for w in waiting] == [("wait", {"signal": "go"})]
        assert await bench.workflows.signal(started.id, "other", 1)
        assert await bench.workflows.signal(started.id, "go", {"n": 1}, key="k")
        assert not await bench.workflows.signal(started.id, "go", {"n": 1}, key="k")
        await bench.until(started.id)
    detail = await bench.workflows.execution(started.id)
    assert detail.context["nodes"]["wait"] == {"n": 1}
    assert detail.waiting == []
    with pytest.raises(Conflict, match="has ended"):
        await bench.workflows.signal(started.id, "go")


async def test_a_signal_may_come_before_the_wait_and_is_taken_once(bench: Bench) -> None:
    await bench.save("w", chain(("one", "signal", SIGNAL), ("two", "signal", SIGNAL)))
    started = await bench.workflows.start("w")
    await bench.workflows.signal(started.id, "go", 1)
    async with bench.worker():
        await bench.until(started.id, node="two", waits=True)
        await bench.workflows.signal(started.id, "go", 2)
        await bench.until(started.id)
    assert (await bench.workflows.execution(started.id)).context["nodes"] == {"one": 1, "two": 2}


async def test_signals_that_nobody_takes_have_a_limit(bench: Bench) -> None:
    await bench.save("w", chain(("wait", "signal", SIGNAL)))
    started = await bench.workflows.start("w")
    async with bench.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO workflow_signals (execution_id, name) "
            "SELECT %s, 'noise' FROM generate_series(1, 1000)",
            [started.id],
        )
    with pytest.raises(LimitExceeded, match="1,000 signals wait"):
        await bench.workflows.signal(started.id, "go")


async def test_a_signal_that_comes_while_a_branch_runs_is_taken_at_once(bench: Bench) -> None:
    """The worker holds the execution meanwhile, and has to be told."""
    began, release = asyncio.Event(), asyncio.Event()

    async def holds(step: Step) -> Any:
        if step.params["item"] == "hold":
            began.set()
            await release.wait()
        return step.params["item"]

    graph = {
        "start": "each",
        "nodes": {
            "each": {"type": "fan_out", "params": {"items": "{{ input.items }}"}},
            "which": {"type": "decision"},
            "holds": {"type": "holds", "params": {"item": "{{ item }}"}},
            "wait": {"type": "signal", "params": {"name": "go"}},
            "meet": {"type": "join"},
        },
        "edges": [
            {"from": "each", "to": "which"},
            {"from": "which", "to": "holds", "when": "item == 'hold'"},
            {"from": "which", "to": "wait"},
            {"from": "holds", "to": "meet"},
            {"from": "wait", "to": "meet"},
        ],
    }
    bench.does("holds", holds)
    await bench.save("w", graph)
    async with bench.worker():
        started = await bench.workflows.start("w", {"items": ["hold", "wait"]})
        await began.wait()
        await bench.workflows.signal(started.id, "go", "came")
        async with asyncio.timeout(20):
            async for change in bench.workflows.watch(started.id):
                if any(s.node == "wait" and s.status == "completed" for s in change.steps):
                    break
        release.set()
        await bench.until(started.id)
    assert (await bench.workflows.execution(started.id)).output == ["hold", "came"]


async def test_a_wait_for_a_time_ends_by_itself_and_one_in_the_past_at_once(bench: Bench) -> None:
    await bench.save(
        "w",
        chain(
            ("past", "wait_until", {"params": {"time": "2020-01-01T00:00:00Z"}}),
            ("short", "wait_for", {"params": {"seconds": 0.05}}),
            ("longer", "wait_for", {"params": {"seconds": "{{ input.s }}"}}),
            ("after", "echo"),
        ),
    )
    before = datetime.now(UTC)
    ended = await bench.run("w", {"s": 0.6})
    assert ended.status == "completed"
    steps = await bench.workflows.history(ended.id)
    waits = [s for s in steps if s.status == "waiting"]
    assert [s.node for s in waits] == ["past", "short", "longer"]
    ends = datetime.fromisoformat(
        (await bench.workflows.execution(ended.id)).context["nodes"]["longer"]
    )
    assert ends - before >= timedelta(seconds=0.65)


@pytest.mark.parametrize("time", ["tomorrow", "2026-01-01T00:00:00", "", 5])
async def test_a_time_that_is_none_fails_the_wait(bench: Bench, time: Any) -> None:
    await bench.save("w", chain(("a", "wait_until", {"params": {"time": time}})))
    ended = await bench.run("w")
    assert ended.status == "failed"
    assert (await bench.workflows.history(ended.id))[-1].error_code == "not_a_time"


async def test_a_wait_survives_its_worker(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo"), ("wait", "signal", SIGNAL), ("b", "echo")))
    async with bench.worker():
        started = await bench.workflows.start("w")
        await bench.until(started.id, node="wait", waits=True)
    await bench.workflows.signal(started.id, "go", 7)
    async with bench.worker():
        await bench.until(started.id)
    assert bench.ran == ["a", "b"]


async def test_a_wait_that_times_out_fails_or_goes_where_on_error_says(bench: Bench) -> None:
    graph = chain(
        ("wait", "signal", {"params": {"name": "go", "timeout_s": 0.05}, "on_error": "late"}),
        ("b", "echo"),
    )
    graph["nodes"]["late"] = {"type": "echo", "params": {"code": "{{ error.code }}"}}
    await bench.save("w", graph)
    ended = await bench.run("w")
    assert (await bench.workflows.execution(ended.id)).output == {"code": "timed_out"}


async def test_an_approval_is_answered_once_by_a_person(bench: Bench) -> None:
    ask = {"params": {"message": "Release {{ input.v }}?", "data": {"v": "{{ input.v }}"}}}
    graph = chain(("ask", "approval", ask), ("yes", "echo"), ("no", "echo"))
    graph["edges"] = [
        {"from": "ask", "to": "yes", "when": "nodes.ask.approved"},
        {"from": "ask", "to": "no"},
    ]
    await bench.save("w", graph)
    async with bench.worker():
        started = await bench.workflows.start("w", {"v": "1.2"})
        await bench.until(started.id, waits=True)
        (waiting,) = (await bench.workflows.execution(started.id)).waiting
        assert waiting.input["message"] == "Release 1.2?"
        assert waiting.input["data"] == {"v": "1.2"}
        with pytest.raises(InvalidInput, match="approve it"):
            await bench.workflows.signal(started.id, "approval:ask", {"approved": True})
        with pytest.raises(Conflict, match="waits for no approval"):
            await bench.workflows.approve(started.id, "yes")
        await bench.workflows.approve(started.id, "ask", approved=False, by="ada", comment="later")
        await bench.until(started.id)
        with pytest.raises(Conflict):
            await bench.workflows.approve(started.id, "ask")
    assert bench.ran == ["no"]
    assert (await bench.workflows.execution(started.id)).context["nodes"]["ask"] == {
        "approved": False,
        "by": "ada",
        "comment": "later",
    }


async def test_pausing_lets_the_step_end_and_begins_no_other_until_resumed(bench: Bench) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def holds(step: Step) -> Any:
        began.set()
        await release.wait()
        return "kept"

    bench.does("holds", holds)
    await bench.save("w", chain(("a", "holds"), ("b", "echo", {"params": {"x": "{{ input.x }}"}})))
    async with bench.worker():
        started = await bench.workflows.start("w", {"x": 1})
        await began.wait()
        paused = await bench.workflows.pause(started.id)
        assert (paused.status, paused.reason) == ("interrupted", "paused")
        release.set()
        let_go = await released(bench, started.id)
        assert (let_go.status, let_go.current_node) == ("interrupted", "b")
        assert bench.ran == ["a"]
        await bench.workflows.resume(started.id, {"x": 2})
        ended = await bench.until(started.id)
    assert ended.status == "completed"
    assert bench.ran == ["a", "b"]
    detail = await bench.workflows.execution(started.id)
    assert detail.context == {"input": {"x": 2}, "nodes": {"a": "kept", "b": {"x": 2}}}
    with pytest.raises(Conflict, match="only an interrupted"):
        await bench.workflows.resume(started.id)


async def test_resuming_while_the_step_still_runs_keeps_it(bench: Bench) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def holds(step: Step) -> Any:
        began.set()
        await release.wait()
        return 1

    bench.does("holds", holds)
    await bench.save("w", chain(("a", "holds"), ("b", "echo", {"params": {"x": "{{ input.x }}"}})))
    async with bench.worker():
        started = await bench.workflows.start("w", {"x": 1})
        await began.wait()
        await bench.workflows.pause(started.id)
        await bench.workflows.resume(started.id, {"x": 5})
        release.set()
        await bench.until(started.id)
    assert bench.ran == ["a", "b"]
    assert (await bench.workflows.execution(started.id)).output == {"x": 5}


async def test_cancelling_ends_steps_and_children_at_once(bench: Bench) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def hangs(step: Step) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench.does("hangs", hangs)
    await bench.save("inner", chain(("x", "hangs")))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))
    async with bench.worker():
        started = await bench.workflows.start("outer")
        await began.wait()
        cancelled = await bench.workflows.cancel(started.id, reason="no longer wanted")
        await asyncio.wait_for(ended.wait(), 20)
    assert (cancelled.status, cancelled.reason) == ("failed", "cancelled")
    assert cancelled.error == "Cancelled: no longer wanted"
    for found in await bench.workflows.executions():
        assert (found.status, found.reason, found.lease_owner) == ("failed", "cancelled", None)
    again = await bench.workflows.cancel(started.id)
    assert again.error == cancelled.error


async def test_a_child_that_is_cancelled_fails_its_parent(bench: Bench) -> None:
    await bench.save("inner", chain(("x", "signal", SIGNAL)))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))
    async with bench.worker():
        started = await bench.workflows.start("outer")
        await bench.until(started.id, waits=True)
        (child,) = await bench.workflows.executions(workflow="inner")
        await bench.workflows.cancel(child.id)
        ended = await bench.until(started.id)
        assert ended.error == "sub: inner failed: Cancelled."
        # A new child takes the place of the one that is gone.
        await bench.workflows.retry(started.id)
        await bench.until(started.id, waits=True)
        (second, _) = await bench.workflows.executions(workflow="inner")
        await bench.workflows.signal(second.id, "go", 3)
        assert (await bench.until(started.id)).status == "completed"


async def test_retrying_goes_on_where_it_failed_and_keeps_what_was_done(bench: Bench) -> None:
    broken = True

    async def fails(step: Step) -> Any:
        if broken:
            raise RuntimeError("down")
        return "up"

    bench.does("fails", fails)
    await bench.save("w", chain(("a", "echo"), ("b", "fails", ONCE), ("c", "echo")))
    async with bench.worker():
        started = await bench.workflows.start("w")
        failed = await bench.until(started.id)
        assert (failed.status, failed.current_node) == ("failed", "b")
        broken = False
        again = await bench.workflows.retry(started.id)
        assert (again.error, again.completed_at, again.current_node) == (None, None, "b")
        assert (await bench.until(started.id)).status == "completed"
        assert bench.ran == ["a", "b", "b", "c"]
        assert bench.keys[1] == bench.keys[2]
        with pytest.raises(Conflict, match="only a failed"):
            await bench.workflows.retry(started.id)
    assert told(await bench.workflows.history(started.id)) == [
        ("a", 1, "completed"),
        ("b", 1, "failed"),
        ("@retry", 1, "retried"),
        ("b", 2, "completed"),
        ("c", 1, "completed"),
    ]


async def test_retrying_from_a_node_runs_that_and_what_follows(bench: Bench) -> None:
    async def fails(step: Step) -> Any:
        raise RuntimeError("down")

    bench.does("fails", fails)
    await bench.save("w", chain(("a", "echo"), ("b", "echo"), ("c", "fails", ONCE)))
    async with bench.worker():
        started = await bench.workflows.start("w")
        await bench.until(started.id)
        with pytest.raises(InvalidInput, match="no node 'z'"):
            await bench.workflows.retry(started.id, "z")
        await bench.workflows.retry(started.id, "b")
        await bench.until(started.id)
    assert bench.ran == ["a", "b", "c", "b", "c"]


async def test_a_failed_fan_out_is_retried_for_the_items_that_failed(bench: Bench) -> None:
    broken = True

    async def work(step: Step) -> Any:
        if broken and step.params["item"] == 2:
            raise RuntimeError("down")
        return step.params["item"]

    graph = {
        "start": "each",
        "nodes": {
            "each": {"type": "fan_out", "params": {"items": "{{ input.items }}", "concurrency": 1}},
            "work": {"type": "work", "params": {"item": "{{ item }}"}, **ONCE},
            "meet": {"type": "join"},
        },
        "edges": [{"from": "each", "to": "work"}, {"from": "work", "to": "meet"}],
    }
    bench.does("work", work)
    await bench.save("w", graph)
    async with bench.worker():
        started = await bench.workflows.start("w", {"items": [1, 2, 3]})
        await bench.until(started.id)
        broken = False
        await bench.workflows.retry(started.id)
        assert (await bench.until(started.id)).status == "completed"
    assert (await bench.workflows.execution(started.id)).output == [1, 2, 3]
    assert bench.ran == [f"each[{n}]/work" for n in (0, 1, 1, 2)]


async def test_a_fork_shares_the_steps_before_and_runs_the_rest_anew(bench: Bench) -> None:
    await bench.save(
        "w",
        chain(("a", "echo"), ("b", "echo", {"params": {"x": "{{ input.x }}"}}), ("c", "echo")),
    )
    first = await bench.run("w", {"x": 1})
    fork = await bench.workflows.fork(first.id, 2, {"x": 9})
    assert (fork.forked_from, fork.current_node, fork.version) == (first.id, "b", 1)
    async with bench.worker():
        await bench.until(fork.id)
    assert bench.ran == ["a", "b", "c", "b", "c"]
    detail = await bench.workflows.execution(fork.id)
    assert detail.context == {"input": {"x": 9}, "nodes": {"a": "a", "b": {"x": 9}, "c": "c"}}
    assert (await bench.workflows.execution(first.id)).context["nodes"]["b"] == {"x": 1}
    with pytest.raises(InvalidInput, match="has steps 1 to 3"):
        await bench.workflows.fork(first.id, 4)


async def test_pruned_executions_keep_their_context_and_are_not_forked(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo"), ("wait", "signal", SIGNAL)))
    async with bench.worker():
        done = await bench.workflows.start("w")
        await bench.workflows.signal(done.id, "go", 1)
        await bench.until(done.id)
        open_ = await bench.workflows.start("w")
        await bench.until(open_.id, waits=True)
    assert await bench.workflows.prune(keep_days=1) == 0
    assert await bench.workflows.prune(keep_days=0) == 1
    assert await bench.workflows.history(done.id) == []
    assert (await bench.workflows.execution(done.id)).context["nodes"] == {"a": "a", "wait": 1}
    assert len(await bench.workflows.history(open_.id)) == 2
    with pytest.raises(Conflict, match="were removed"):
        await bench.workflows.fork(done.id, 1)


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
