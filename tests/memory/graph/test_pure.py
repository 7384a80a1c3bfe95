"""Where searches meet, what a model may say, and how nodes are named."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory.graph import models
from aegis.memory.graph.asking import read_answer
from aegis.memory.graph.models import NodeRef
from aegis.memory.graph.nodes import EntityName, parse_node, relation_type
from aegis.memory.graph.routes import by_depth, meeting

if TYPE_CHECKING:
    from aegis.db import Connection

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


def reach(edges: set[tuple[int, int]], start: int, depth: int) -> dict[int, int]:
    depths, frontier = {start: 0}, {start}
    for step in range(1, depth + 1):
        frontier = {
            b for x, y in edges for a, b in ((x, y), (y, x)) if a in frontier
        } - depths.keys()
        depths |= dict.fromkeys(frontier, step)
    return depths


@given(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=14), st.integers(1, 8))
def test_two_half_searches_find_a_shortest_way(edges: set[tuple[int, int]], end: int) -> None:
    longest = 6
    whole = reach(edges, 0, longest).get(end)
    ahead, back = reach(edges, 0, 3), reach(edges, end, 3)
    middle = meeting(ahead, back)
    assert (middle is None) is (whole is None)
    if middle is not None:
        assert ahead[middle] + back[middle] == whole
    assert sum(map(len, by_depth(ahead).values())) == len(ahead)


@given(st.sampled_from(models.NODE_KINDS), st.integers(1, 2**31 - 1))
def test_number_of_a_node_is_its_own(kind: models.NodeKind, node_id: int) -> None:
    node = NodeRef(kind=kind, id=node_id)
    assert NodeRef.of(node.number) == node == parse_node("node", str(node))


@given(st.text(max_size=40) | st.integers() | st.none() | st.booleans())
def test_any_value_names_a_node_or_is_refused(value: Any) -> None:
    try:
        assert isinstance(parse_node("node", value), NodeRef | EntityName)
    except InvalidInput as error:
        assert "\n" not in error.message


@given(st.text(max_size=80))
def test_type_is_kept_in_one_form_or_refused(text: str) -> None:
    try:
        kind = relation_type(text)
    except InvalidInput:
        return
    assert kind == relation_type(kind)
    assert kind.isascii()


TEXT = "Alice works on Rocket at Acme"


def test_answer_of_a_model_is_taken_where_it_fits_the_text() -> None:
    found, claims = read_answer(
        {
            "entities": [
                {"kind": "person", "name": "Alice"},
                {"kind": "project", "name": "rocket"},
                {"kind": "person", "name": "Mallory"},
                {"kind": "weapon", "name": "Acme"},
                "Acme",
            ],
            "relations": [
                {"source": "Alice", "type": "works on", "target": "Rocket", "confidence": 0.8},
                {"source": "Alice", "type": "mentions", "target": "Rocket", "confidence": 1},
                {"source": "Alice", "type": "owns", "target": "Acme", "confidence": 1},
                {"source": "Alice", "type": "owns", "target": "Rocket", "confidence": 7},
                {"source": "Alice", "type": "drop'", "target": "Rocket", "confidence": 1},
                {"source": "Alice", "type": "is", "target": "alice", "confidence": 1},
            ],
        },
        TEXT,
    )
    assert [(f.kind, f.name) for f in found] == [("person", "Alice"), ("project", "rocket")]
    assert [(c.source.key, c.type, c.target.key, c.weight) for c in claims] == [
        ("alice", "works_on", "rocket", 0.8)
    ]


@given(st.dictionaries(st.sampled_from(["entities", "relations", "x"]), JSON))
def test_any_answer_of_a_model_is_read(answer: dict[str, Any]) -> None:
    found, claims = read_answer(answer, TEXT)
    assert all(f.name.casefold() in TEXT.casefold() for f in found)
    assert all(c.source in found and c.target in found for c in claims)


@pytest.mark.parametrize(
    ("names", "literal"),
    [
        (models.NODE_KINDS, models.NodeKind),
        (models.ENTITY_KINDS, models.EntityKind),
        (models.ENTITY_ORDERS, models.EntityOrder),
        (models.DIRECTIONS, models.Direction),
        (models.FOUND_BY, models.FoundBy),
    ],
)
def test_tuple_of_choices_equals_its_literal(names: tuple[str, ...], literal: Any) -> None:
    assert names == typing.get_args(literal)


@pytest.mark.parametrize(
    ("constraint", "literal"),
    [
        ("ck_graph_entities_kind", models.EntityKind),
        ("ck_graph_relations_found_by", models.FoundBy),
    ],
)
async def test_literal_equals_the_check(conn: Connection, constraint: str, literal: Any) -> None:
    cursor = await conn.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [constraint]
    )
    row = await cursor.fetchone()
    assert row is not None
    for value in typing.get_args(literal):
        assert f"'{value}'" in row[0]
    assert row[0].count("'") == 2 * len(typing.get_args(literal))
