"""Pause, resume and cancel while several branches are under way: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.workflows.conftest import Bench

if TYPE_CHECKING:
    from aegis.workflows.execution import Execution
    from aegis.workflows.nodes.contract import Step

ONCE = {"retry": {"attempts": 1}}
ECHO_X = {"type": "echo", "params": {"x": "{{ input.x }}"}}


class Held:
    """Steps that note when they begin and when they are cut off, and wait to be let through."""

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.cut: set[str] = set()
        self.go = asyncio.Event()
        self._came = asyncio.Event()

    async def __call__(self, step: Step) -> Any:
        self.begun.add(step.branch)
        self._came.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut.add(step.branch)
            raise
        return step.branch

    async def hold(self, count: int) -> None:
        """Wait until so many have begun."""
        async with asyncio.timeout(30):
            while len(self.begun) < count:
                self._came.clear()
                await self._came.wait()


def deaf(*_: Any) -> Any:
    """Hear nothing while a block runs."""
    return nullcontext()


def ways(kind: str = "held") -> dict[str, Any]:
    """Two ways of a held step and one after it, and one that waits for a signal."""
    return {
        "start": "both",
        "nodes": {
            "both": {"type": "parallel"},
            "left": {"type": kind, **ONCE},
            "left2": ECHO_X,
            "right": {"type": kind, **ONCE},
            "right2": ECHO_X,
            "told": {"type": "signal", "params": {"name": "go"}},
            "meet": {"type": "join"},
            "after": {"type": "echo", "params": {"all": "{{ nodes.meet }}"}},
        },
        "edges": [
            {"from": "both", "to": "left"},
            {"from": "both", "to": "right"},
            {"from": "both", "to": "told"},
            {"from": "left", "to": "left2"},
            {"from": "right", "to": "right2"},
            {"from": "left2", "to": "meet"},
            {"from": "right2", "to": "meet"},
            {"from": "told", "to": "meet"},
            {"from": "meet", "to": "after"},
        ],
    }


def each(concurrency: int) -> dict[str, Any]:
    return {
        "start": "each",
        "nodes": {
            "each": {
                "type": "fan_out",
                "params": {"items": "{{ input.items }}", "concurrency": concurrency},
            },
            "work": {"type": "held", **ONCE},
            "meet": {"type": "join"},
        },
        "edges": [{"from": "each", "to": "work"}, {"from": "work", "to": "meet"}],
    }


async def released(bench: Bench, id: str) -> Execution:
    async with asyncio.timeout(30):
        async for change in bench.workflows.watch(id):
            if change.execution.lease_owner is None:
                return change.execution
    raise AssertionError("it ended")


async def completed(bench: Bench, id: str) -> list[str]:
    """Return branch and node of each step that is recorded as completed."""
    return sorted(
        f"{step.branch}/{step.node}" if step.branch else step.node
        for step in await bench.workflows.history(id)
        if step.status == "completed"
    )


async def test_pausing_lets_every_branch_s_step_end_and_begins_no_other(bench: Bench) -> None:
    held = Held()
    bench.does("held", held)
    await bench.save("ways", ways())
    async with bench.worker():
        started = await bench.workflows.start("ways", {"x": 1})
        await held.hold(2)
        await bench.workflows.pause(started.id)
        # What comes while it stands still is kept for it.
        await bench.workflows.signal(started.id, "go", "signalled")
        held.go.set()
        let_go = await released(bench, started.id)
        assert (let_go.status, let_go.reason, let_go.current_node) == (
            "interrupted",
            "paused",
            "both",
        )
        assert sorted(bench.ran) == ["both[0]/left", "both[1]/right"]
        assert await completed(bench, started.id) == ["both", "both[0]/left", "both[1]/right"]
        await bench.workflows.resume(started.id, {"x": 2})
        ended = await bench.until(started.id)
    assert ended.status == "completed", ended.error
    assert held.cut == set()
    assert set(bench.counts().values()) == {1}
    assert (await bench.workflows.execution(started.id)).output == {
        "all": {"left": {"x": 2}, "right": {"x": 2}, "told": "signalled"}
    }


async def test_branches_that_still_run_when_it_is_resumed_are_kept(bench: Bench) -> None:
    held = Held()
    bench.does("held", held)
    await bench.save("each", each(3))
    async with bench.worker():
        started = await bench.workflows.start("each", {"items": [*range(5)]})
        await held.hold(3)
        await bench.workflows.pause(started.id)
        await bench.workflows.resume(started.id)
        await bench.workflows.pause(started.id)
        await bench.workflows.resume(started.id)
        held.go.set()
        ended = await bench.until(started.id)
    assert ended.status == "completed", ended.error
    assert bench.counts() == {f"each[{n}]/work": 1 for n in range(5)}
    assert held.cut == set()


@pytest.mark.parametrize("kind", ["step", "database"])
async def test_a_resume_that_the_worker_has_not_heard_of_is_seen_with_what_it_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # A notification may come later than the end of a step under way.
    monkeypatch.setattr(bench.engine.told, "calling", deaf)
    held = Held()
    (bench.stores if kind == "database" else bench.does)("held", held)
    await bench.save("ways", ways())
    async with bench.worker():
        started = await bench.workflows.start("ways", {"x": 1})
        await held.hold(2)
        await bench.workflows.pause(started.id)
        await bench.workflows.resume(started.id, {"x": 2})
        await bench.workflows.signal(started.id, "go")
        held.go.set()
        ended = await bench.until(started.id)
    assert ended.status == "completed", ended.error
    output = (await bench.workflows.execution(started.id)).output
    assert output["all"] == {"left": {"x": 2}, "right": {"x": 2}, "told": None}
    assert set(bench.counts().values()) == {1}
    # The next worker is told the same by the records.
    fork = await bench.workflows.fork(ended.id, ended.steps)
    async with bench.worker():
        again = await bench.until(fork.id)
    assert (await bench.workflows.execution(again.id)).output == output


async def test_a_pause_that_the_worker_has_not_heard_of_begins_nothing_after_a_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.engine.told, "calling", deaf)
    held = Held()
    bench.stores("held", held)
    await bench.save("ways", ways())
    async with bench.worker():
        started = await bench.workflows.start("ways", {"x": 1})
        await held.hold(2)
        await bench.workflows.pause(started.id)
        held.go.set()
        let_go = await released(bench, started.id)
    assert let_go.status == "interrupted"
    assert sorted(bench.ran) == ["both[0]/left", "both[1]/right"]


async def test_paused_branches_of_database_steps_commit_once_and_are_recorded(
    bench: Bench,
) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute("CREATE TABLE effects (key text)")
    held = Held()

    async def stores(step: Step) -> Any:
        assert step.conn is not None
        await step.conn.execute("INSERT INTO effects VALUES (%s)", [step.idempotency_key])
        return await held(step)

    bench.stores("held", stores)
    await bench.save("each", each(2))
    async with bench.worker():
        started = await bench.workflows.start("each", {"items": [*range(4)]})
        await held.hold(2)
        await bench.workflows.pause(started.id)
        held.go.set()
        await released(bench, started.id)
        assert await effects(bench) == (2, 2)
    async with bench.worker():
        await bench.workflows.resume(started.id)
        assert (await bench.until(started.id)).status == "completed"
    assert await effects(bench) == (4, 4)
    assert set(bench.counts().values()) == {1}


async def effects(bench: Bench) -> Any:
    async with bench.db.transaction() as conn:
        cursor = await conn.execute("SELECT count(*), count(DISTINCT key) FROM effects")
        return await cursor.fetchone()


async def test_a_branch_that_fails_while_it_is_paused_fails_all_and_the_rest_is_kept(
    bench: Bench,
) -> None:
    held = Held()
    broken = True

    async def work(step: Step) -> Any:
        await held(step)
        if broken and step.branch == "each[1]":
            raise RuntimeError("down")
        return step.branch

    bench.does("held", work)
    await bench.save("each", each(2))
    async with bench.worker():
        started = await bench.workflows.start("each", {"items": [0, 1, 2]})
        await held.hold(2)
        await bench.workflows.pause(started.id)
        held.go.set()
        ended = await bench.until(started.id)
        assert (ended.status, ended.reason, ended.error) == (
            "failed",
            "step",
            "work: RuntimeError: down",
        )
        broken = False
        await bench.workflows.retry(started.id)
        again = await bench.until(started.id)
    assert again.status == "completed", again.error
    assert bench.counts()["each[1]/work"] == 2
    assert (await bench.workflows.execution(started.id)).output == [f"each[{n}]" for n in range(3)]


async def test_a_branch_between_two_tries_is_not_tried_while_it_is_paused(bench: Bench) -> None:
    held = Held()
    tries = 0

    async def work(step: Step) -> Any:
        nonlocal tries
        await held(step)
        tries += 1
        if tries == 1:
            raise RuntimeError("busy")
        return tries

    graph = each(1)
    graph["nodes"]["work"]["retry"] = {"attempts": 3, "first_s": 0.001}
    bench.does("held", work)
    await bench.save("each", graph)
    async with bench.worker():
        started = await bench.workflows.start("each", {"items": [0]})
        await held.hold(1)
        await bench.workflows.pause(started.id)
        held.go.set()
        await released(bench, started.id)
        assert tries == 1
        await bench.workflows.resume(started.id)
        assert (await bench.until(started.id)).status == "completed"
    assert (await bench.workflows.execution(started.id)).output == [2]


async def test_cancelling_cuts_every_branch_and_records_nothing_after(bench: Bench) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute("CREATE TABLE effects (key text)")
    held, inside = Held(), Held()

    async def stores(step: Step) -> Any:
        assert step.conn is not None
        await step.conn.execute("INSERT INTO effects VALUES (%s)", [step.idempotency_key])
        return await held(step)

    graph = ways()
    graph["nodes"]["right"] = {"type": "stores", **ONCE}
    graph["nodes"]["told"] = {"type": "sub_workflow", "params": {"workflow": "inner"}}
    bench.does("held", held)
    bench.stores("stores", stores)
    bench.does("inside", inside)
    await bench.save(
        "inner",
        {"start": "deep", "nodes": {"deep": {"type": "inside", **ONCE}}, "edges": []},
    )
    await bench.save("ways", graph)
    async with bench.worker() as worker:
        started = await bench.workflows.start("ways", {"x": 1})
        await held.hold(2)
        await inside.hold(1)
        cancelled = await bench.workflows.cancel(started.id)
        async with asyncio.timeout(30):
            while worker._held.count():  # pyright: ignore[reportPrivateUsage]
                await asyncio.sleep(0.01)
        assert (held.cut, inside.cut) == ({"both[0]", "both[1]"}, {""})
        found = await bench.workflows.executions()
        assert {(e.status, e.reason, e.lease_owner) for e in found} == {
            ("failed", "cancelled", None)
        }
        assert await effects(bench) == (0, 0)
        assert await completed(bench, started.id) == ["both"]
        # Tried again, each branch goes on where it was cut.
        held.go.set()
        inside.go.set()
        await bench.workflows.retry(cancelled.id)
        ended = await bench.until(started.id)
    assert ended.status == "completed", ended.error
    assert await effects(bench) == (1, 1)
    counts = bench.counts()
    assert (counts["both[0]/left"], counts["both[1]/right"], counts["after"]) == (2, 2, 1)


async def test_cancelled_between_branches_what_has_ended_is_not_run_again(bench: Bench) -> None:
    held = Held()

    async def work(step: Step) -> Any:
        return "quick" if step.branch == "each[0]" else await held(step)

    bench.does("held", work)
    await bench.save("each", each(3))
    async with bench.worker():
        started = await bench.workflows.start("each", {"items": [0, 1, 2]})
        async with asyncio.timeout(30):
            async for change in bench.workflows.watch(started.id):
                if any(s.branch == "each[0]" and s.status == "completed" for s in change.steps):
                    break
        await held.hold(2)
        await bench.workflows.cancel(started.id)
        held.go.set()
        await bench.workflows.retry(started.id)
        ended = await bench.until(started.id)
    assert ended.status == "completed", ended.error
    assert (await bench.workflows.execution(started.id)).output == ["quick", "each[1]", "each[2]"]
    assert bench.counts()["each[0]/work"] == 1
