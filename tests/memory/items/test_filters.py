"""What items accept and what filters mean, without a database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory.items.check import check_operation, path_range, verbatim_of
from aegis.memory.items.filters import Condition, read_filter
from aegis.memory.items.models import GetItem, ListPaths, PathMatch, PutItem, SearchItems

labels = st.text(
    st.one_of(st.sampled_from("ab\x01\x02 .%"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=3,
).filter(lambda text: "\0" not in text)
paths = st.lists(labels, min_size=1, max_size=4)


@given(prefix=paths, path=paths, grown=st.booleans())
def test_range_of_a_path_holds_what_begins_with_it_and_nothing_else(
    prefix: list[str], path: list[str], grown: bool
) -> None:
    path = prefix + path if grown else path
    low, high = (as_sorted(bound) for bound in path_range(tuple(prefix)))
    assert (low <= as_sorted(path) < high) == (path[: len(prefix)] == prefix)


def as_sorted(path: list[str]) -> list[bytes]:
    """Return a path as PostgreSQL compares it in collation "C"."""
    return [label.encode() for label in path]


def test_filter_becomes_conditions_on_parts() -> None:
    wanted = {"a": 1, "n": {"$gt": 2, "$lte": 9.5}, "o": {"p": {"q": None}}, "l": ["x", {"y": 1}]}
    assert read_filter(wanted) == [
        Condition(steps=("a",), test="eq", operand=1),
        Condition(steps=("n",), test="gt", operand=2),
        Condition(steps=("n",), test="lte", operand=9.5),
        Condition(steps=("o",), test="object"),
        Condition(steps=("o", "p"), test="object"),
        Condition(steps=("o", "p", "q"), test="eq", operand=None),
        Condition(steps=("l",), test="length", operand=2),
        Condition(steps=("l", 0), test="eq", operand="x"),
        Condition(steps=("l", 1), test="object"),
        Condition(steps=("l", 1, "y"), test="eq", operand=1),
    ]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"a": {"$regex": "x"}}, "operator '\\$regex'; use one of \\$eq"),
        ({"a": {"$gt": 1, "b": 2}}, "operator 'b'"),
        ({"a": {"$gt": None}}, "compares with None by \\$gt"),
        ({"a": {"$lt": [1]}}, "orders numbers and texts"),
        ({"a": {"$lt": True}}, "orders numbers and texts"),
        ({"a": float("nan")}, "cannot be stored as JSON"),
        ({1: 2}, "has the name 1"),
        ({"a": "\0"}, "NUL"),
        ({str(n): n for n in range(200)}, "more than 100 conditions"),
    ],
)
def test_filter_that_means_nothing_is_refused(wanted: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_filter(wanted)


def put(value: Any, **more: Any) -> PutItem:
    fields: dict[str, Any] = {"path": ("a",), "key": "k", "value": value, **more}
    return PutItem(**fields)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (put({"a": "x\0"}), "value contains a NUL"),
        (put({"a\0": 1}), "value contains a NUL"),
        (put({"a": "\ud800"}), "value cannot be stored as JSON"),
        (put({"a": float("inf")}), "value cannot be stored as JSON"),
        (put({"a": {1: "x"}}), "value has the name 1"),
        (put({"a": object()}), "not JSON serializable"),
        (put([1]), "it must be a JSON object"),
        (put({}, path=()), "namespace is empty"),
        (put({}, path=("a", "")), "empty label"),
        (put({}, path=("a\0",)), "NUL"),
        (put({}, path=("\ud800",)), "half of a surrogate pair"),
        (put({}, path="abc"), "give a list of labels"),
        (put({}, path=("ü" * 500,)), "of 800 bytes"),
        (put({}, path=("a",) * 51), "at most 50"),
        (put({}, key="x" * 801), "key has 801 bytes"),
        (put({}, key="a\0"), "NUL"),
        (put({}, key=7), "it must be text"),
        (put({}, ttl_minutes=-1), "ttl is -1"),
        (put({}, ttl_minutes=float("nan")), "ttl is nan"),
        (put({}, ttl_minutes=True), "ttl is True"),
        (put({}, texts=[("f", "t")] * 1001), "1,001 texts"),
        (GetItem(path=(), key="k"), "namespace is empty"),
        (SearchItems(limit=-1), "limit is -1"),
        (SearchItems(limit=10**9), "limit is 1000000000"),
        (SearchItems(offset=-1), "offset is -1"),
        (SearchItems(query="\0"), "query contains a NUL"),
        (ListPaths(max_depth=0), "max_depth is 0"),
        (ListPaths(matches=(PathMatch(kind="middle", labels=("a",)),)), "match_type"),  # pyright: ignore
    ],
)
def test_operation_that_cannot_be_accepted_is_refused(operation: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_operation(operation)


def test_value_nested_without_end_is_refused_in_one_line() -> None:
    value: dict[str, Any] = {}
    for _ in range(5_000):
        value = {"a": value}
    with pytest.raises(InvalidInput, match="value"):
        check_operation(put(value))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)
    )


@given(st.recursive(scalars, nested, max_leaves=6))
def test_value_is_kept_verbatim_only_where_a_number_needs_it(part: Any) -> None:
    kept = verbatim_of({"a": part})
    if kept is not None:
        back = json.loads(kept)
        assert repr(back) == repr({"a": part})


@pytest.mark.parametrize(
    ("value", "kept"),
    [(1e15, False), (1e16, True), (1e300, True), (-0.0, True), (0.0, False), (10**30, False)],
)
def test_numbers_that_jsonb_writes_out_are_kept_verbatim(value: float, kept: bool) -> None:
    assert (verbatim_of({"a": [{"b": value}]}) is not None) == kept
