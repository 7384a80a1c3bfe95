"""Executions from start to end: order, results, branches, loops, sub-workflows, failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, LimitExceeded, NotFound, Unavailable
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Step

FAST = {"retry": {"attempts": 3, "first_s": 0.01}}


async def test_steps_run_in_order_and_hand_results_on(bench: Bench) -> None:
    await bench.save(
        "chain",
        chain(
            ("a", "echo", {"params": {"n": "{{ input.n + 1 }}"}}),
            ("b", "echo", {"params": {"n": "{{ nodes.a.n * 2 }}"}}),
        ),
    )
    ended = await bench.run("chain", {"n": 4})
    assert (ended.status, ended.reason, ended.error) == ("completed", None, None)
    assert bench.ran == ["a", "b"]
    detail = await bench.workflows.execution(ended.id)
    assert detail.output == {"n": 10}
    assert detail.context == {"input": {"n": 4}, "nodes": {"a": {"n": 5}, "b": {"n": 10}}}
    steps = await bench.workflows.history(ended.id)
    assert [(s.seq, s.node, s.status, s.next_node) for s in steps] == [
        (1, "a", "completed", "b"),
        (2, "b", "completed", None),
    ]
    assert ended.completed_at is not None
    assert ended.lease_owner is None


async def test_a_step_is_tried_again_with_the_same_key_and_not_after_a_final_error(
    bench: Bench,
) -> None:
    async def flaky(step: Step) -> Any:
        if step.attempt < 3:
            raise RuntimeError("boom")
        return step.attempt

    async def wrong(step: Step) -> Any:
        raise NotFound("never there")

    bench.does("flaky", flaky)
    bench.does("wrong", wrong)
    await bench.save("flaky", chain(("a", "flaky", FAST)))
    ended = await bench.run("flaky")
    assert (await bench.workflows.execution(ended.id)).output == 3
    assert len(bench.ran) == 3
    assert len(set(bench.keys)) == 1
    steps = await bench.workflows.history(ended.id)
    assert [(s.attempt, s.status) for s in steps] == [
        (1, "retrying"),
        (2, "retrying"),
        (3, "completed"),
    ]
    assert steps[0].error == "RuntimeError: boom"
    assert steps[0].due_at is not None

    bench.ran.clear()
    await bench.save("wrong", chain(("a", "wrong", FAST)))
    ended = await bench.run("wrong")
    assert (ended.status, ended.error) == ("failed", "a: never there")
    assert bench.ran == ["a"]


async def test_codes_that_a_node_calls_final_are(bench: Bench) -> None:
    async def fails(step: Step) -> Any:
        raise Unavailable("gone", code="gone_for_good")

    bench.does("fails", fails)
    node = {"retry": {"attempts": 5, "first_s": 0.01, "non_retryable": ["gone_for_good"]}}
    await bench.save("final", chain(("a", "fails", node)))
    ended = await bench.run("final")
    assert ended.status == "failed"
    assert bench.ran == ["a"]


async def test_a_failure_goes_on_or_elsewhere_as_on_error_says(bench: Bench) -> None:
    async def fails(step: Step) -> Any:
        raise InvalidInput("no", code="nope")

    bench.does("fails", fails)
    await bench.save("goes_on", chain(("a", "fails", {"on_error": "continue"}), ("b", "echo")))
    ended = await bench.run("goes_on")
    detail = await bench.workflows.execution(ended.id)
    assert ended.status == "completed"
    assert detail.context["nodes"]["a"] == {"error": {"code": "nope", "message": "no"}}

    graph = chain(("a", "fails", {"on_error": "mend"}), ("b", "echo"))
    graph["nodes"]["mend"] = {"type": "echo", "params": {"why": "{{ error.code }}"}}
    await bench.save("elsewhere", graph)
    ended = await bench.run("elsewhere")
    assert (await bench.workflows.execution(ended.id)).output == {"why": "nope"}


async def test_a_step_that_takes_too_long_is_cancelled(bench: Bench) -> None:
    ended_how: list[str] = []

    async def hangs(step: Step) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended_how.append("cancelled")
            raise

    bench.does("hangs", hangs)
    await bench.save("slow", chain(("a", "hangs", {"timeout_s": 0.05, "retry": {"attempts": 1}})))
    ended = await bench.run("slow")
    assert ended.status == "failed"
    assert "took longer than 0.05 s" in (ended.error or "")
    assert ended_how == ["cancelled"]


async def test_a_deadline_ends_what_runs_and_what_waits(bench: Bench) -> None:
    bench.does("hangs", lambda step: asyncio.Event().wait())
    await bench.save("runs", chain(("a", "hangs"), deadline_s=0.2))
    await bench.save("waits", chain(("a", "signal", {"params": {"name": "go"}}), deadline_s=0.5))
    for name in ("runs", "waits"):
        ended = await bench.run(name)
        assert (ended.status, ended.reason, ended.current_node) == ("failed", "deadline", "a")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 300_000, "payload_too_large"),
        ({"n": float("nan")}, "not_json"),
        ({"o": object()}, "not_json"),
        ("zero \0 byte", "not_json"),
        ("lone \ud800", "not_json"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_step_alone(
    bench: Bench, value: Any, code: str
) -> None:
    async def gives(step: Step) -> Any:
        return value

    bench.does("gives", gives)
    await bench.save("gives", chain(("a", "gives", FAST)))
    await bench.save("fine", chain(("a", "echo")))
    async with bench.worker():
        bad = await bench.workflows.start("gives")
        good = await bench.workflows.start("fine")
        assert (await bench.until(good.id)).status == "completed"
        assert (await bench.until(bad.id)).status == "failed"
    assert (await bench.workflows.history(bad.id))[-1].error_code == code
    assert bench.ran.count("a") == 2


async def test_a_backslash_before_u0000_is_text_like_any_other(bench: Bench) -> None:
    await bench.save("a", chain(("a", "echo", {"params": {"t": "{{ input.t }}"}})))
    ended = await bench.run("a", {"t": "\\u0000"})
    assert (await bench.workflows.execution(ended.id)).output == {"t": "\\u0000"}


async def test_a_sub_workflow_is_an_execution_and_gives_its_output(bench: Bench) -> None:
    await bench.save(
        "inner", chain(("x", "echo", {"params": {"n": "{{ input.n + 1 }}"}})), version=1
    )
    sub = {"params": {"workflow": "inner", "input": {"n": "{{ input.n }}"}}}
    await bench.save("outer", chain(("sub", "sub_workflow", sub), ("b", "echo")))
    ended = await bench.run("outer", {"n": 1})
    detail = await bench.workflows.execution(ended.id)
    assert detail.context["nodes"]["sub"] == {"n": 2}
    children = await bench.workflows.executions(workflow="inner")
    assert [c.parent_id for c in children] == [ended.id]


async def test_a_child_that_fails_or_cannot_be_fails_its_parent(bench: Bench) -> None:
    async def fails(step: Step) -> Any:
        raise InvalidInput("no")

    bench.does("fails", fails)
    await bench.save("inner", chain(("x", "fails")))
    await bench.save("outer", chain(("sub", "sub_workflow", {"params": {"workflow": "inner"}})))
    ended = await bench.run("outer")
    assert (ended.status, ended.error) == ("failed", "sub: inner failed: x: no")
    await bench.save("lost", chain(("sub", "sub_workflow", {"params": {"workflow": "nowhere"}})))
    ended = await bench.run("lost")
    assert "There is no active version of workflow 'nowhere'" in (ended.error or "")


async def test_a_workflow_that_starts_itself_is_stopped(bench: Bench) -> None:
    await bench.save("self", chain(("sub", "sub_workflow", {"params": {"workflow": "self"}})))
    ended = await bench.run("self")
    assert ended.status == "failed"
    assert "does one start itself?" in (ended.error or "")
    assert len(await bench.workflows.executions()) == 16


async def test_an_execution_stays_with_its_version(bench: Bench) -> None:
    release = asyncio.Event()

    async def holds(step: Step) -> Any:
        await release.wait()
        return 1

    bench.does("holds", holds)
    await bench.save("w", chain(("a", "holds"), ("old", "echo")))
    async with bench.worker():
        first = await bench.workflows.start("w")
        await bench.save("w", chain(("a", "holds"), ("new", "echo")), version=2)
        second = await bench.workflows.start("w")
        release.set()
        assert (await bench.until(first.id)).version == 1
        assert (await bench.until(second.id)).version == 2
    assert sorted(n for n in bench.ran if n != "a") == ["new", "old"]


async def test_a_key_starts_once_however_many_ask_at_once(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo")))
    started = await asyncio.gather(
        *(bench.workflows.start("w", {"n": 1}, key="order-1") for _ in range(20))
    )
    assert len({s.id for s in started}) == 1
    with pytest.raises(Conflict, match="with other input"):
        await bench.workflows.start("w", {"n": 2}, key="order-1")


async def test_what_cannot_be_started_is_refused(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo"), required=["n"], defaults={"m": 2}))
    with pytest.raises(InvalidInput, match="lacks n"):
        await bench.workflows.start("w", {})
    with pytest.raises(NotFound, match="nowhere"):
        await bench.workflows.start("nowhere")
    with pytest.raises(NotFound, match="version 7"):
        await bench.workflows.start("w", {"n": 1}, version=7)
    with pytest.raises(LimitExceeded, match="bytes"):
        await bench.workflows.start("w", {"n": "x" * 300_000})
    started = await bench.workflows.start("w", {"n": 1})
    assert (await bench.workflows.execution(started.id)).context["input"] == {"n": 1, "m": 2}
    assert started.current_node == "a"


async def test_an_unknown_type_fails_its_step(bench: Bench) -> None:
    await bench.save("w", chain(("a", "no-such-type")))
    ended = await bench.run("w")
    assert (ended.status, ended.error) == ("failed", "a: no type no-such-type")


async def test_a_step_that_ends_the_process_fails_alone(bench: Bench) -> None:
    async def leaves(step: Step) -> Any:
        raise SystemExit(3)

    bench.does("leaves", leaves)
    await bench.save("w", chain(("a", "leaves", {"retry": {"attempts": 1}})))
    ended = await bench.run("w")
    assert ended.error == "a: RuntimeError: a tried to end the worker"


async def test_higher_priority_is_claimed_first(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo", {"params": {"p": "{{ input.p }}"}})))
    ids = [(await bench.workflows.start("w", {"p": p}, priority=p)).id for p in (-10, 0, 10, 0)]
    async with bench.worker(concurrency=1):
        for id in ids:
            await bench.until(id)
    listed = {e.id: e for e in await bench.workflows.executions()}
    ended = sorted(ids, key=lambda id: listed[id].completed_at)  # type: ignore
    assert [listed[id].priority for id in ended] == [10, 0, 0, -10]
