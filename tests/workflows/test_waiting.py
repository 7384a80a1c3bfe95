"""Waits, signals, approvals; pause, resume, cancel, retry, fork; leases and fencing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, LimitExceeded
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Step

SIGNAL = {"params": {"name": "go"}}


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
