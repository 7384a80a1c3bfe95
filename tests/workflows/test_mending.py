"""Pause, resume, cancel, retry, fork, prune: what people do to executions."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput
from aegis.workflows.store import writes
from aegis.workflows.store.writes import NewExecution
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.workflows.execution import Execution, StepRecord
    from aegis.workflows.nodes.contract import Step


ONCE = {"retry": {"attempts": 1}}
SIGNAL = {"params": {"name": "go"}}


async def released(bench: Bench, id: str) -> Execution:
    """Return an execution once no worker holds it."""
    async with asyncio.timeout(20):
        async for change in bench.workflows.watch(id):
            if change.execution.lease_owner is None:
                return change.execution
    raise AssertionError("it ended")


def told(steps: list[StepRecord]) -> list[tuple[str, int, str]]:
    return [(s.node, s.attempt, s.status) for s in steps]


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


async def test_pausing_holds_children_too_and_they_go_on_together(bench: Bench) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Step) -> Any:
        began.set()
        await go.wait()
        return "slow"

    bench.does("slow", slow)
    await bench.save("leaf", chain(("slow", "slow"), ("last", "echo")))
    await bench.save("inner", chain(("deep", "sub_workflow", {"params": {"workflow": "leaf"}})))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))

    async def family() -> list[Execution]:
        found = {e.workflow: e for e in await bench.workflows.executions()}
        return [found[name] for name in ("outer", "inner", "leaf")]

    async with bench.worker():
        outer = await bench.workflows.start("outer")
        await asyncio.wait_for(began.wait(), 30)
        await bench.workflows.pause(outer.id)
        states = [(e.workflow, e.status, e.reason) for e in await family()]
        assert states == [
            ("outer", "interrupted", "paused"),
            ("inner", "interrupted", "parent_paused"),
            ("leaf", "interrupted", "parent_paused"),
        ]
        go.set()
        leaf = (await family())[-1]
        async with asyncio.timeout(30):
            async for change in bench.workflows.watch(leaf.id):
                if any(step.node == "slow" for step in change.steps):
                    break
        # The step that ran is recorded, and no other begins.
        assert "last" not in bench.ran
        await bench.workflows.resume(outer.id)
        ended = await bench.until(outer.id)
    assert ended.status == "completed"
    assert [e.status for e in await family()] == ["completed"] * 3
    assert bench.counts() == {"slow": 1, "last": 1}


async def test_a_child_that_a_person_paused_stays_so_when_its_parent_goes_on(bench: Bench) -> None:
    await bench.save("inner", chain(("s", "signal", {"params": {"name": "go"}})))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))
    async with bench.worker():
        outer = await bench.workflows.start("outer")
        await bench.until(outer.id, node="sub", waits=True)
        (inner,) = await bench.workflows.executions(workflow="inner")
        await bench.workflows.pause(inner.id)
        await bench.workflows.pause(outer.id)
        await bench.workflows.resume(outer.id)
        still = (await bench.workflows.execution(inner.id)).execution
        assert (still.status, still.reason) == ("interrupted", "paused")
        await bench.workflows.resume(inner.id)
        await bench.workflows.signal(inner.id, "go", 1)
        assert (await bench.until(outer.id)).status == "completed"


async def test_cancelling_ends_children_that_are_paused(bench: Bench) -> None:
    await bench.save("inner", chain(("s", "signal", {"params": {"name": "go"}})))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))
    async with bench.worker():
        outer = await bench.workflows.start("outer")
        await bench.until(outer.id, node="sub", waits=True)
        await bench.workflows.pause(outer.id)
        await bench.workflows.cancel(outer.id)
        (inner,) = await bench.workflows.executions(workflow="inner")
        assert (inner.status, inner.reason) == ("failed", "cancelled")


async def test_a_child_that_starts_while_its_parent_is_being_paused_waits_with_it(
    bench: Bench,
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Step) -> Any:
        began.set()
        await go.wait()

    bench.does("slow", slow)
    await bench.save("inner", chain(("a", "echo")))
    sub = {"params": {"workflow": "inner"}}
    await bench.save("outer", chain(("slow", "slow"), ("sub", "sub_workflow", sub)))
    async with bench.worker():
        outer = await bench.workflows.start("outer")
        await asyncio.wait_for(began.wait(), 30)
        await bench.workflows.pause(outer.id)
    # A worker that did not know yet records the start of the child.
    async with bench.db.transaction() as conn:
        (workflow_id,) = await fetch_ids(conn)
        child = NewExecution(
            id=str(uuid.uuid4()), workflow_id=workflow_id, version=1, namespace="default",
            context={"input": {}}, current_node="a", parent_id=outer.id,
        )  # fmt: skip
        await writes.insert_executions(conn, [child])
    found = (await bench.workflows.execution(child.id)).execution
    assert (found.status, found.reason) == ("interrupted", "parent_paused")
    go.set()


async def fetch_ids(conn: Connection) -> list[str]:
    cursor = await conn.execute("SELECT id::text FROM workflows WHERE name = 'inner'")
    return [row[0] for row in await cursor.fetchall()]


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
