"""Ways through a graph: decisions, loops, fan-outs and joins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from tests.workflows.conftest import Bench

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Step

FAST = {"retry": {"attempts": 3, "first_s": 0.01}}


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
