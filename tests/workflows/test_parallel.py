"""Several ways at once: what runs, what the join gives, what a failure, a kill and a fork leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.workflows.checking import check_graph
from aegis.workflows.mermaid import mermaid
from aegis.workflows.nodes.registry import find_type
from aegis.workflows.reading import graph_of
from tests.workflows.conftest import Bench

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Step

ONCE = {"retry": {"attempts": 1}}


def ways(**params: Any) -> dict[str, Any]:
    """Return two ways of two steps, and one that is taken if the input says so."""
    return {
        "start": "both",
        "nodes": {
            "both": {"type": "parallel", "params": params},
            "left": {"type": "echo", "params": {"l": "{{ input.n }}"}},
            "left2": {"type": "echo", "params": {"after": "{{ nodes.left.l }}"}},
            "right": {"type": "work", **ONCE},
            "extra": {"type": "echo"},
            "meet": {"type": "join"},
            "after": {"type": "echo", "params": {"all": "{{ nodes.meet }}"}},
        },
        "edges": [
            {"from": "both", "to": "left"},
            {"from": "both", "to": "right"},
            {"from": "both", "to": "extra", "when": "input.n > 1"},
            {"from": "left", "to": "left2"},
            {"from": "left2", "to": "meet"},
            {"from": "right", "to": "meet"},
            {"from": "extra", "to": "meet"},
            {"from": "meet", "to": "after"},
        ],
    }


async def right(_: Step) -> Any:
    return "right"


async def test_every_way_that_holds_runs_and_the_join_names_their_results(bench: Bench) -> None:
    bench.does("work", right)
    await bench.save("ways", ways())
    ended = await bench.run("ways", {"n": 1})
    assert ended.status == "completed", ended.error
    detail = await bench.workflows.execution(ended.id)
    assert detail.output == {"all": {"left": {"after": 1}, "right": "right"}}
    assert sorted(bench.ran) == ["after", "both[0]/left", "both[0]/left2", "both[1]/right"]
    assert len(set(bench.keys)) == 4

    ended = await bench.run("ways", {"n": 2})
    detail = await bench.workflows.execution(ended.id)
    assert detail.output["all"] == {"left": {"after": 2}, "right": "right", "extra": "extra"}


async def test_ways_run_at_the_same_time(bench: Bench) -> None:
    begun, other = asyncio.Event(), asyncio.Event()

    async def left(_: Step) -> Any:
        begun.set()
        await asyncio.wait_for(other.wait(), 30)

    async def work(_: Step) -> Any:
        other.set()
        await asyncio.wait_for(begun.wait(), 30)

    graph = ways()
    graph["nodes"]["left"] = {"type": "left", **ONCE}
    graph["nodes"]["left2"] = {"type": "echo"}
    bench.does("left", left)
    bench.does("work", work)
    await bench.save("ways", graph)
    assert (await bench.run("ways", {"n": 1})).status == "completed"


async def test_a_way_that_fails_ends_all_or_is_a_result(bench: Bench) -> None:
    fails = True

    async def work(_: Step) -> Any:
        if fails:
            raise InvalidInput("no", code="bad")
        return "mended"

    bench.does("work", work)
    await bench.save("collects", ways(errors="collect"))
    ended = await bench.run("collects", {"n": 1})
    output = (await bench.workflows.execution(ended.id)).output
    assert output["all"] == {
        "left": {"after": 1},
        "right": {"error": {"code": "bad", "message": "no"}},
    }

    await bench.save("fails", ways())
    ended = await bench.run("fails", {"n": 1})
    assert (ended.status, ended.current_node, ended.error) == ("failed", "right", "right: no")
    fails = False
    bench.ran.clear()
    async with bench.worker():
        await bench.workflows.retry(ended.id)
        again = await bench.until(ended.id)
    assert again.status == "completed"
    assert bench.counts()["both[1]/right"] == 1
    # What had ended is not run again.
    recorded = await bench.workflows.history(ended.id)
    assert [(s.node, s.status) for s in recorded if s.node == "left"] == [("left", "completed")]


async def test_a_killed_worker_s_ways_go_on_where_they_were(bench: Bench) -> None:
    held, killed = asyncio.Event(), False

    async def work(_: Step) -> Any:
        if not killed:
            held.set()
            await asyncio.Event().wait()
        return "second"

    bench.does("work", work)
    await bench.save("ways", ways())
    async with bench.worker(lease_s=1.0):
        started = await bench.workflows.start("ways", {"n": 1})
        await asyncio.wait_for(held.wait(), 30)
        async with asyncio.timeout(30):
            async for change in bench.workflows.watch(started.id):
                if any(step.node == "left2" for step in change.steps):
                    break
    killed = True
    async with bench.worker():
        ended = await bench.until(started.id)
    assert ended.status == "completed"
    assert bench.counts() == {
        "both[0]/left": 1, "both[0]/left2": 1, "both[1]/right": 2, "after": 1,
    }  # fmt: skip


async def test_a_fork_inside_ways_shares_what_was_done(bench: Bench) -> None:
    bench.does("work", right)
    await bench.save("ways", ways())
    ended = await bench.run("ways", {"n": 1})
    steps = await bench.workflows.history(ended.id)
    last = next(step.seq for step in steps if step.node == "left2")
    bench.ran.clear()
    async with bench.worker():
        fork = await bench.workflows.fork(ended.id, last)
        again = await bench.until(fork.id)
    assert again.status == "completed"
    assert "both[0]/left" not in bench.ran
    assert "both[0]/left2" in bench.ran


async def test_ways_inside_a_fan_out_know_the_item(bench: Bench) -> None:
    graph = {
        "start": "each",
        "nodes": {
            "each": {"type": "fan_out", "params": {"items": "{{ input.items }}"}},
            "both": {"type": "parallel"},
            "a": {"type": "echo", "params": {"v": "{{ item }}", "i": "{{ index }}"}},
            "b": {"type": "echo", "params": {"v": "{{ item * 2 }}"}},
            "inner": {"type": "join"},
            "meet": {"type": "join"},
        },
        "edges": [
            {"from": "each", "to": "both"},
            {"from": "both", "to": "a"},
            {"from": "both", "to": "b"},
            {"from": "a", "to": "inner"},
            {"from": "b", "to": "inner"},
            {"from": "inner", "to": "meet"},
        ],
    }
    problems = check_graph(graph_of({"name": "nested", **graph}), lambda name: (
        None if name == "echo" else find_type(name)
    ))  # fmt: skip
    assert {problem.field for problem in problems} <= {"type"}
    await bench.save("nested", graph)
    ended = await bench.run("nested", {"items": [1, 2]})
    assert (await bench.workflows.execution(ended.id)).output == [
        {"a": {"v": 1, "i": 0}, "b": {"v": 2}},
        {"a": {"v": 2, "i": 1}, "b": {"v": 4}},
    ]


async def test_no_way_that_holds_fails(bench: Bench) -> None:
    graph = ways()
    for edge in graph["edges"][:3]:
        edge["when"] = "input.n > 5"
    bench.does("work", right)
    await bench.save("ways", graph)
    ended = await bench.run("ways", {"n": 1})
    assert (ended.status, ended.current_node) == ("failed", "both")
    assert "No edge of both holds" in (ended.error or "")


def saved(edges: list[dict[str, Any]], **nodes: Any) -> list[str]:
    kinds = {
        "both": {"type": "parallel"},
        "a": {"type": "set", "params": {"value": 1}},
        "b": {"type": "set", "params": {"value": 1}},
        "meet": {"type": "join"},
        **nodes,
    }
    graph = graph_of({"name": "w", "start": "both", "nodes": kinds, "edges": edges})
    return [str(problem) for problem in check_graph(graph, find_type)]


BOTH = [{"from": "both", "to": "a"}, {"from": "both", "to": "b"}]
MEET = [{"from": "a", "to": "meet"}, {"from": "b", "to": "meet"}]


def test_ways_are_checked_when_they_are_saved() -> None:
    assert saved([*BOTH, *MEET]) == []
    assert saved(BOTH, meet={"type": "set", "params": {"value": 1}}) == [
        "node meet, edges: cannot be reached from both; add an edge to it"
    ]


@pytest.mark.parametrize(
    ("edges", "nodes", "says"),
    [
        ([BOTH[0], *MEET], {}, "fewer than two ways"),
        ([*BOTH, {**BOTH[0], "when": "input.x"}, *MEET], {}, "leads to a twice"),
        ([*BOTH, {"from": "both", "to": "meet"}, *MEET], {}, "straight to the join meet"),
        (
            [*BOTH, *MEET],
            {"b": {"type": "set", "params": {"value": "{{ nodes.a }}"}}},
            "names nodes.a, which never runs before it",
        ),
        (
            [*BOTH, *MEET],
            {"b": {"type": "set", "params": {"value": "{{ item }}"}}},
            "names item, which exists between fan_out and join only",
        ),
        (
            [*BOTH, *MEET, {"from": "meet", "to": "end"}],
            {"end": {"type": "set", "params": {"value": "{{ nodes.a }}"}}},
            "runs inside a fan-out; name the join's result",
        ),
    ],
)
def test_what_is_wrong_with_ways_is_said(
    edges: list[dict[str, Any]], nodes: dict[str, Any], says: str
) -> None:
    assert says in "\n".join(saved(edges, **nodes))


def test_ways_are_drawn_with_all_their_edges() -> None:
    drawn = mermaid(graph_of({"name": "ways", **ways()}))
    lines = [line.strip() for line in drawn.splitlines()]
    (number,) = [line.split("[")[0] for line in lines if '"both' in line]
    assert f'{number}[/"both<br/><small>parallel</small>"/]' in lines
    assert len([line for line in lines if line.startswith(f"{number} -->")]) == 3
