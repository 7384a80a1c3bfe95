"""Workflows as data: read, checked, saved as versions, compared, drawn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.db import execute
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.workflows import definitions
from aegis.workflows.mermaid import mermaid
from aegis.workflows.reading import InvalidWorkflow, graph_of, json_of, to_yaml, yaml_of

if TYPE_CHECKING:
    from aegis.db import Database

TEXT = """
name: team/nightly.review
description: Looks at what happened.
start: fetch
deadline_s: 3600
required: [url]
defaults: {most: 3}
output: nodes.keep
nodes:
  fetch:
    type: http
    params: {url: "{{ input.url }}", headers: {Authorization: "Bearer ${secret:TOKEN}"}}
    retry: {attempts: 5, first_s: 2, non_retryable: [http_status]}
    timeout_s: 60
    on_error: keep
  many: {type: decision}
  each: {type: fan_out, params: {items: "{{ nodes.fetch.body.items }}", concurrency: 2}}
  one: {type: set, params: {value: "{{ item }} of {{ size(nodes.fetch.body.items) }}"}}
  all: {type: join}
  keep: {type: memory_record, params: {event_type: note, summary: "{{ string(input.most) }}"}}
edges:
  - {from: fetch, to: many}
  - {from: many, to: each, when: nodes.fetch.status == 200}
  - {from: many, to: keep}
  - {from: each, to: one}
  - {from: one, to: all}
  - {from: all, to: keep}
"""


def changed(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = yaml_of(TEXT)
    return {**value, **changes}


def with_node(name: str, **node: Any) -> dict[str, Any]:
    value = changed()
    return {**value, "nodes": {**value["nodes"], name: {**value["nodes"].get(name, {}), **node}}}


def problems_of(value: Any) -> list[str]:
    with pytest.raises(InvalidWorkflow) as caught:
        definitions.read(value)
    assert "\n" not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def test_a_graph_goes_through_json_and_yaml_unchanged() -> None:
    graph = definitions.read(TEXT)
    assert graph_of(json_of(graph)) == graph
    assert graph_of(yaml_of(to_yaml(graph))) == graph
    assert graph.nodes["fetch"].retry.attempts == 5
    assert [edge.target for edge in graph.edges_from("many")] == ["each", "keep"]


def with_edges(*edges: Any) -> dict[str, Any]:
    value = changed()
    return {**value, "edges": [*value["edges"], *edges]}


WRONG: list[tuple[Any, str]] = [
    (with_node("fetch", type="htp"), "node fetch, type: 'htp' is not known; did you mean http?"),
    (with_node("lost", type="join"), "node lost, edges: cannot be reached"),
    (with_node("fetch", params={"method": "GET"}), "node fetch, params.url: is missing"),
    (with_node("fetch", params={"url": "ftp://x"}), "node fetch, params.url: is 'ftp://x'"),
    (with_node("fetch", params={"url": "https://x", "methd": 1}), "params.methd: is not known"),
    (
        with_node("fetch", params={"url": "https://x", "headers": {"Authorization": "Bearer x"}}),
        "params.headers.Authorization: would store a credential",
    ),
    (with_node("fetch", retry={"attempts": 0}), "node fetch, retry.attempts: is 0"),
    (with_node("fetch", retry={"tries": 2}), "node fetch, retry.tries: is not known"),
    (with_node("fetch", timeout_s="soon"), "node fetch, timeout_s: is 'soon'"),
    (with_node("fetch", on_error="nowhere"), "node fetch, on_error: is 'nowhere'"),
    (with_node("one", params={"value": "{{ item + }}"}), "node one, params.value"),
    (with_node("one", params={"value": "{{ nodes.gone.x }}"}), "nodes.gone, which does not exist"),
    (with_node("one", params={"value": "{{ nodes.keep }}"}), "nodes.keep, which never runs before"),
    (with_node("keep", params={"event_type": "a", "summary": "{{ item }}"}), "names item"),
    (with_node("keep", params={"event_type": "a", "summary": "{{ nodes.one }}"}), "fan-out"),
    (with_node("fetch", params={"url": "{{ nodes.fetch.url }}"}), "never runs before it"),
    (changed(start="nowhere"), "start: is 'nowhere', which is no node"),
    (changed(start=None), "start: is missing"),
    (changed(output="nodes.gone"), "output: names nodes.gone"),
    (changed(name="no name"), "name: 'no name' is no name"),
    (changed(extra=1), "extra: is not known"),
    (changed(nodes={}), "nodes: there are 0"),
    (changed(edges={}), "edges: is no list"),
    (changed(nodes={"fail": {"type": "set"}}), "node fail, nodes: 'fail' is no name"),
    (with_edges({"from": "keep", "to": "fetch"}), "node"),
    (with_edges({"from": "keep", "to": "gone"}), "edges[6].to: is 'gone'"),
    (with_edges({"from": "all", "to": "each"}), "node all, edges[6]: is never taken"),
    (with_edges({"from": "keep", "to": "all", "when": "true"}), "outside"),
    (with_edges({"from": "keep", "to": "many", "when": "size("}), "edges[6].when"),
    (changed(edges=[{"from": "fetch", "to": "many"}]), "is a decision that no edge leaves"),
    ([], "is a list; write names and values"),
]


@pytest.mark.parametrize(("value", "says"), WRONG)
def test_problems_name_node_and_field(value: Any, says: str) -> None:
    if isinstance(value, list):
        with pytest.raises(InvalidWorkflow, match="write names and values"):
            graph_of(value)
        return
    assert any(says in problem for problem in problems_of(value)), problems_of(value)


def test_all_problems_are_said_at_once() -> None:
    value = with_node("fetch", type="htp")
    value["output"] = "1 +"
    value["nodes"]["lost"] = {"type": "join"}
    assert len(problems_of(value)) >= 3


def looping(*edges: dict[str, str]) -> dict[str, Any]:
    return {
        "name": "loop",
        "start": "a",
        "nodes": {name: {"type": "set", "params": {"value": 1}} for name in "abc"},
        "edges": list(edges),
    }


def edge(source: str, target: str, **more: str) -> dict[str, str]:
    return {"from": source, "to": target, **more}


def test_a_circle_needs_a_way_out() -> None:
    shut = looping(edge("a", "b"), edge("b", "a"))
    assert any("circle without an end (a, b)" in p for p in problems_of(shut))
    shadowed = looping(edge("a", "b"), edge("b", "a"), edge("b", "c"))
    assert any("circle without an end" in p for p in problems_of(shadowed))
    itself = looping(edge("a", "b"), edge("b", "c"), edge("c", "c"))
    assert any("circle without an end (c)" in p for p in problems_of(itself))
    left = looping(edge("a", "b"), edge("b", "a", when="input.again == true"), edge("b", "c"))
    assert definitions.read(left).start == "a"
    ends = looping(edge("a", "b"), edge("b", "c"), edge("c", "a", when="nodes.c == 2"))
    assert definitions.read(ends).start == "a"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [1]\nb: *x", "line 1"),
        ("a: &x {b: &y {c: 1}}", "anchor"),
        ("!!python/object/apply:os.system ['id']", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: 1\na: 2", "twice"),
        ("a: 1\n---\nb: 2", "document"),
        ("{" * 5_000, "levels"),
        ("[" * 200 + "]" * 200, "levels"),
        ("? [a]\n: 1", "no text"),
        ("a: 1e999", "beyond"),
        ("a: " + "9" * 50, "40 characters"),
        ("x" * 300_000, "larger"),
        ("a: [", "line"),
        ("\x00", "no YAML"),
    ],
)
def test_texts_that_are_no_plain_yaml_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        yaml_of(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_reads_words_as_words() -> None:
    text = "on: yes\nday: 2026-01-01\noctal: 0777\nt: true\nn: null\nf: 1.5\ni: -3\ns: '1'\n1: x"
    assert yaml_of(text) == {
        "on": "yes",
        "day": "2026-01-01",
        "octal": 777,
        "t": True,
        "n": None,
        "f": 1.5,
        "i": -3,
        "s": "1",
        "1": "x",
    }
    assert yaml_of('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(json_values)
def test_what_is_written_as_yaml_reads_the_same(value: Any) -> None:
    from aegis.workflows.yaml_text import dump, load

    assert load(dump({"value": value}), most_depth=40) == {"value": value}


def test_a_drawing_has_every_node_and_edge_and_no_markup_of_others() -> None:
    text = mermaid(definitions.read(TEXT), states={"fetch": "completed", "keep": "current"})
    assert text.startswith("flowchart TD\n")
    for name in ("fetch", "many", "each", "one", "all", "keep"):
        assert f'"{name}' in text
    assert text.count("-->") == 7
    assert text.count("-.->") == 1
    hostile = looping(edge("a", "b", when="'\"]; click <script> %%' == input.x"))
    drawn = mermaid(graph_of({**hostile, "nodes": {**hostile["nodes"]}}))
    assert "<script>" not in drawn
    assert "%%" not in drawn


async def test_saving_the_same_again_makes_no_version(db: Database) -> None:
    first, new = await definitions.save(db, TEXT)
    assert (first.version, new) == (1, True)
    same, new = await definitions.save(db, yaml_of(TEXT))
    assert (same.version, new) == (1, False)
    second, new = await definitions.save(db, changed(description="Another."))
    assert (second.version, new, second.id) == (2, True, first.id)
    assert (await definitions.get(db, second.name, 1)).graph == first.graph
    assert (await definitions.get(db, second.name)).graph == second.graph
    assert [d.version for d in await definitions.versions(db, second.name)] == [2, 1]
    assert [d.name for d in await definitions.list_definitions(db)] == ["team/nightly.review"]


async def test_many_who_save_at_once_make_one_version_each(db: Database) -> None:
    saved = await asyncio.gather(
        *(definitions.save(db, changed(description=f"number {n % 4}")) for n in range(8))
    )
    numbers = sorted(d.version for d, new in saved if new)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(await definitions.versions(db, "team/nightly.review")) == len(numbers)


async def test_nothing_is_saved_of_what_is_wrong(db: Database) -> None:
    with pytest.raises(InvalidWorkflow):
        await definitions.save(db, with_node("fetch", type="htp"))
    assert await definitions.list_definitions(db) == []


async def test_versions_are_compared_and_exported(db: Database) -> None:
    await definitions.save(db, TEXT)
    await definitions.save(db, changed(description="Another."))
    name = "team/nightly.review"
    told = await definitions.diff(db, name, 1)
    assert "-description: Looks at what happened." in told
    assert "+description: Another." in told
    assert await definitions.diff(db, name, 2, 2) == ""
    text = await definitions.export(db, name, 1)
    assert definitions.read(text) == definitions.read(TEXT)


async def test_archived_versions_are_kept_and_saving_makes_them_active(db: Database) -> None:
    await definitions.save(db, TEXT)
    name = "team/nightly.review"
    await definitions.set_status(db, name, "archived")
    assert await definitions.list_definitions(db) == []
    assert len(await definitions.list_definitions(db, archived=True)) == 1
    again, new = await definitions.save(db, TEXT)
    assert (again.version, new) == (2, True)
    with pytest.raises(NotFound):
        await definitions.set_status(db, name, "archived", 9)


async def test_only_what_was_never_started_is_deleted(db: Database) -> None:
    saved, _ = await definitions.save(db, TEXT)
    await definitions.delete(db, saved.name)
    with pytest.raises(NotFound):
        await definitions.get(db, saved.name)
    saved, _ = await definitions.save(db, TEXT)
    async with db.transaction() as conn:
        await execute(
            conn,
            "INSERT INTO workflow_executions (workflow_id, context, version) "
            "VALUES (%(id)s::uuid, '{}', 1)",
            {"id": saved.id},
        )
    with pytest.raises(Conflict, match="archive"):
        await definitions.delete(db, saved.name)


async def test_rows_of_other_programs_are_left_alone(db: Database) -> None:
    async with db.transaction() as conn:
        await execute(
            conn,
            "INSERT INTO workflows (name, graph) VALUES ('team/nightly.review', '[1]')",
        )
    saved, _ = await definitions.save(db, TEXT)
    assert saved.version == 1
    assert len(await definitions.list_definitions(db)) == 1
    await definitions.delete(db, saved.name)
    async with db.transaction() as conn:
        assert await execute(conn, "SELECT FROM workflows WHERE version IS NULL") == 1


def test_the_largest_graph_is_checked() -> None:
    nodes = {f"n{i}": {"type": "set", "params": {"value": f"{{{{ nodes.n{max(i - 1, 0)} }}}}"}}
             for i in range(500)}  # fmt: skip
    nodes["n0"]["params"] = {"value": "x"}
    edges = [
        {"from": f"n{i}", "to": f"n{j}", "when": "true"}
        for i in range(500)
        for j in (i + 1, i + 2, i + 3)
        if j < 500
    ]
    assert (
        len(definitions.read({"name": "big", "start": "n0", "nodes": nodes, "edges": edges}).nodes)
        == 500
    )
