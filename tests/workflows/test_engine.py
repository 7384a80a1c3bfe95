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


async def test_a_decision_takes_the_first_edge_that_holds_and_fails_without_one(
    bench: Bench,
) -> None:
    graph = {
        "start": "which",
        "nodes": {
            "which": {"type": "decision"},
            "big": {"type": "echo"},
            "small": {"type": "echo"},
        },
        "edges": [
            {"from": "which", "to": "big", "when": "input.n > 10"},
            {"from": "which", "to": "small", "when": "input.n > 0"},
        ],
    }
    await bench.save("which", graph)
    assert (await bench.workflows.execution((await bench.run("which", {"n": 11})).id)).output == (
        "big"
    )
    await bench.run("which", {"n": 1})
    assert bench.ran == ["big", "small"]
    ended = await bench.run("which", {"n": -1})
    assert (ended.status, ended.reason, ended.current_node) == ("failed", "step", "which")
    assert "No edge of the decision" in (ended.error or "")


async def test_a_loop_goes_round_until_its_condition_ends_it(bench: Bench) -> None:
    graph = {
        "start": "count",
        "nodes": {
            "count": {
                "type": "echo",
                "params": {"n": "{{ has(nodes.count) ? nodes.count.n + 1 : 1 }}"},
            },
            "after": {"type": "echo"},
        },
        "edges": [
            {"from": "count", "to": "count", "when": "nodes.count.n < 5"},
            {"from": "count", "to": "after"},
        ],
    }
    await bench.save("loop", graph)
    ended = await bench.run("loop")
    assert ended.status == "completed"
    steps = await bench.workflows.history(ended.id)
    assert [(s.node, s.visit) for s in steps] == [
        *(("count", n) for n in range(1, 6)),
        ("after", 1),
    ]
    assert len(set(bench.keys)) == 6


async def test_a_loop_without_end_meets_the_ceiling_of_steps(bench: Bench) -> None:
    bench.engine.most_steps = 20
    graph = {"start": "a", "nodes": {"a": {"type": "echo"}}, "edges": [{"from": "a", "to": "a"}]}
    await bench.save("endless", graph)
    ended = await bench.run("endless")
    assert (ended.status, ended.reason, ended.steps) == ("failed", "ceiling", 20)


def fan(**params: Any) -> dict[str, Any]:
    return {
        "start": "each",
        "nodes": {
            "each": {"type": "fan_out", "params": {"items": "{{ input.items }}", **params}},
            "work": {"type": "work", "params": {"item": "{{ item }}"}, **FAST},
            "meet": {"type": "join"},
            "after": {"type": "echo", "params": {"all": "{{ nodes.meet }}"}},
        },
        "edges": [
            {"from": "each", "to": "work"},
            {"from": "work", "to": "meet"},
            {"from": "meet", "to": "after"},
        ],
    }


async def test_a_fan_out_joins_in_the_order_of_its_items_and_keeps_its_limit(bench: Bench) -> None:
    running = most = 0

    async def work(step: Step) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        # The later ones are faster.
        for _ in range(10 - step.params["item"] % 10):
            await asyncio.sleep(0)
        running -= 1
        return step.params["item"] * 10

    bench.does("work", work)
    await bench.save("fan", fan(concurrency=3))
    ended = await bench.run("fan", {"items": list(range(20))})
    detail = await bench.workflows.execution(ended.id)
    assert detail.output == {"all": [n * 10 for n in range(20)]}
    assert most == 3
    assert bench.counts()["each[7]/work"] == 1
    assert len(bench.ran) == 21


async def test_a_fan_out_over_nothing_joins_at_once(bench: Bench) -> None:
    bench.does("work", lambda step: asyncio.sleep(0))
    await bench.save("fan", fan())
    ended = await bench.run("fan", {"items": []})
    assert (await bench.workflows.execution(ended.id)).output == {"all": []}


async def test_a_failed_item_is_a_result_or_the_end_as_the_fan_out_says(bench: Bench) -> None:
    async def work(step: Step) -> Any:
        if step.params["item"] == 1:
            raise InvalidInput("one is wrong", code="bad_item")
        return "fine"

    bench.does("work", work)
    await bench.save("collects", fan(errors="collect"))
    ended = await bench.run("collects", {"items": [0, 1, 2]})
    error = {"error": {"code": "bad_item", "message": "one is wrong"}}
    assert (await bench.workflows.execution(ended.id)).output == {"all": ["fine", error, "fine"]}

    await bench.save("fails", fan())
    ended = await bench.run("fails", {"items": [0, 1, 2]})
    assert (ended.status, ended.current_node, ended.error) == (
        "failed",
        "work",
        "work: one is wrong",
    )


async def test_a_fan_out_inside_another_keeps_their_branches_apart(bench: Bench) -> None:
    graph = {
        "start": "outer",
        "nodes": {
            "outer": {"type": "fan_out", "params": {"items": "{{ input.rows }}"}},
            "inner": {"type": "fan_out", "params": {"items": "{{ item }}"}},
            "work": {"type": "echo", "params": {"v": "{{ item + index }}"}},
            "meet": {"type": "join"},
            "top": {"type": "join"},
        },
        "edges": [
            {"from": "outer", "to": "inner"},
            {"from": "inner", "to": "work"},
            {"from": "work", "to": "meet"},
            {"from": "meet", "to": "top"},
        ],
    }
    await bench.save("nested", graph)
    ended = await bench.run("nested", {"rows": [[1, 2], [3]]})
    detail = await bench.workflows.execution(ended.id)
    assert detail.output == [[{"v": 1}, {"v": 3}], [{"v": 3}]]
    assert set(bench.ran) == {
        "outer[0]/inner[0]/work",
        "outer[0]/inner[1]/work",
        "outer[1]/inner[0]/work",
    }


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
