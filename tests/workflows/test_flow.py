"""The pure core: what records make of a graph, and what may be kept of a result."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import AegisError, InvalidInput, LimitExceeded, Unavailable
from aegis.workflows import outcomes
from aegis.workflows.advance import World, advance, next_due
from aegis.workflows.execution import StepRecord
from aegis.workflows.flow import Flow, join_of
from aegis.workflows.language import Cel
from aegis.workflows.models import Edge, Graph, Node, Retry
from aegis.workflows.payload import encode

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def graph(nodes: dict[str, dict[str, Any]], *edges: tuple[str, str], start: str = "a") -> Graph:
    return Graph(
        name="g",
        start=start,
        nodes={name: Node(name=name, **fields) for name, fields in nodes.items()},
        edges=[Edge(source=a, target=b) for a, b in edges],
    )


NESTED = graph(
    {
        "a": {"type": "step"},
        "outer": {"type": "fan_out", "params": {"items": "{{ input.rows }}", "concurrency": 2}},
        "inner": {"type": "fan_out", "params": {"items": "{{ item }}", "concurrency": 2}},
        "work": {"type": "step"},
        "meet": {"type": "join"},
        "top": {"type": "join"},
        "end": {"type": "step"},
    },
    ("a", "outer"),
    ("outer", "inner"),
    ("inner", "work"),
    ("work", "meet"),
    ("meet", "top"),
    ("top", "end"),
)


def world() -> World:
    return World(execution_id="e", about={"id": "e"}, language=Cel(), rng=random.Random(1))


def play(flow: Flow, seed: int, *, stop: int = 10_000) -> list[StepRecord]:
    """Run a flow with steps that end in any order, up to `stop` records, and return these."""
    rng, outside = random.Random(seed), world()
    records: list[StepRecord] = []
    while not flow.finished and len(records) < stop:
        records.extend(advance(flow, outside, NOW, most=100).records)
        ready = [p for p in flow.places.values() if p.state == "ready"]
        if not ready:
            continue
        place = rng.choice(ready)
        output = {"at": place.branch, "item": flow.scope(place.branch).get("item")}
        record = outcomes.completed(
            flow, place, output, outside.language, outside.about, started_at=NOW, now=NOW
        )
        flow.apply(record)
        records.append(record)
    return records


@given(
    rows=st.lists(st.lists(st.integers(), max_size=4), max_size=4),
    seed=st.integers(0, 1_000),
    cut=st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_folding_any_part_of_the_records_gives_the_state_that_wrote_them(
    rows: list[list[int]], seed: int, cut: int
) -> None:
    live = Flow(NESTED, {"rows": rows})
    records = play(live, seed, stop=cut)
    folded = Flow.of(NESTED, {"rows": rows}, records)
    assert (folded.places, folded.fans, folded.results) == (live.places, live.fans, live.results)
    assert (folded.seq, folded.current, folded.finished) == (live.seq, live.current, live.finished)


#: Whole numbers of expressions have 64 bits.
WHOLE = st.integers(-(2**63), 2**63 - 1)


@given(rows=st.lists(st.lists(WHOLE, max_size=4), max_size=4), seed=st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_joins_are_in_the_order_of_items_whatever_ends_first(
    rows: list[list[int]], seed: int
) -> None:
    flow = Flow(NESTED, {"rows": rows})
    records = play(flow, seed)
    assert [[r["item"] for r in row] for row in flow.results[""]["top"]] == rows
    keys = [(r.node, r.branch, r.visit, r.attempt) for r in records]
    assert len(set(keys)) == len(keys)
    assert [r.seq for r in records] == list(range(1, len(records) + 1))
    # What the branches held is given up with them.
    assert set(flow.results) == {""}
    assert flow.fans == {}
    assert flow.places == {}


def test_no_more_branches_are_open_than_the_fan_outs_allow() -> None:
    flow = Flow(NESTED, {"rows": [[1, 2, 3, 4]] * 5})
    outside, rng, most = world(), random.Random(3), 0
    while not flow.finished:
        advance(flow, outside, NOW, most=100)
        ready = [p for p in flow.places.values() if p.state == "ready"]
        most = max(most, len(ready))
        if ready:
            place = rng.choice(ready)
            flow.apply(
                outcomes.completed(flow, place, 1, outside.language, {}, started_at=NOW, now=NOW)
            )
    assert most == 4


def test_the_join_of_a_fan_out_is_the_one_that_no_inner_takes() -> None:
    assert join_of(NESTED, "outer") == "top"
    assert join_of(NESTED, "inner") == "meet"
    assert (
        join_of(graph({"a": {"type": "fan_out"}, "b": {"type": "step"}}, ("a", "b")), "a") is None
    )


def test_ten_thousand_items_are_joined_without_going_deep() -> None:
    flat = graph(
        {
            "a": {"type": "fan_out", "params": {"items": "{{ input.rows }}"}},
            "b": {"type": "join"},
        },
        ("a", "b"),
    )
    flow = Flow(flat, {"rows": list(range(10_000))})
    advance(flow, world(), NOW, most=100)
    assert flow.finished
    assert flow.result == list(range(10_000))


def failed(flow: Flow, error: BaseException, attempt: int = 1) -> StepRecord:
    place = flow.places[""]
    place.attempt = attempt
    return outcomes.failed(
        flow, place, error, Cel(), {}, started_at=NOW, now=NOW, rng=random.Random(2)
    )


def one(**fields: Any) -> Flow:
    return Flow(graph({"a": {"type": "step", **fields}}), {})


def test_pauses_between_tries_grow_have_chance_in_them_and_an_end() -> None:
    retry = Retry(attempts=9, first_s=1, factor=2, max_s=10)
    pauses: list[float] = []
    for attempt in range(1, 9):
        record = failed(one(retry=retry), RuntimeError("x"), attempt)
        assert record.due_at is not None
        pauses.append((record.due_at - NOW).total_seconds())
    for attempt, pause in enumerate(pauses):
        whole = min(2.0**attempt, 10.0)
        assert whole / 2 <= pause <= whole
    assert failed(one(retry=retry), RuntimeError("x"), 9).status == "failed"


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("x"),
        LimitExceeded("x", code="payload_too_large"),
        Unavailable("x", code="mine"),
    ],
)
def test_what_no_try_can_mend_is_not_tried_again(error: AegisError) -> None:
    assert failed(one(retry=Retry(non_retryable=["mine"])), error).status == "failed"
    assert failed(one(), Unavailable("x")).status == "retrying"


def test_a_wait_that_is_told_when_it_ends_says_so_and_nothing_else_moves_it() -> None:
    flow = Flow(graph({"a": {"type": "wait_for", "params": {"seconds": 60}}}), {})
    assert [r.status for r in advance(flow, world(), NOW, most=10).records] == ["waiting"]
    assert next_due(flow) == NOW + timedelta(seconds=60)
    assert advance(flow, world(), NOW + timedelta(seconds=59), most=10).records == []
    assert advance(flow, world(), NOW + timedelta(seconds=60), most=10).records[0].status == (
        "completed"
    )
    assert flow.finished


def test_records_of_a_branch_that_was_given_up_change_nothing() -> None:
    flow = Flow(NESTED, {"rows": []})
    stray = StepRecord(
        seq=9, node="work", branch="outer[0]", visit=1, attempt=1, status="completed",
        output=1, started_at=NOW,
    )  # fmt: skip
    flow.apply(stray)
    assert set(flow.places) == {""}
    assert flow.seq == 9


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    )
)
def test_what_is_kept_reads_back_as_it_was_or_is_refused(value: Any) -> None:
    try:
        text = encode(value, "it")
    except InvalidInput:
        shown = json.dumps(value)
        assert "\\u0000" in shown or "\\ud" in shown or "Infinity" in shown
        return
    assert json.loads(text) == value
    assert "\x00" not in text


def test_what_nests_too_deep_or_is_too_large_is_refused() -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(InvalidInput, match="levels deep"):
        encode(deep, "it")
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput, match="not JSON"):
        encode(deep, "it")
    with pytest.raises(LimitExceeded, match="262,144 are kept"):
        encode("é" * 140_000, "it")
