"""The same operations on LangGraph's own in-memory store and on ours come to the same.

Where the reference has a bug of its own (it lists namespaces that only a read made, and keeps
vectors of fields that a later put no longer has) it is put right before it is asked; a put that
indexes `$`, the whole value, is left out, because the reference finds nothing there. Without a
query each store has an order of its own, so that pages are then compared by their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from tests.langgraph_face.conftest import DIMS, HashEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.store.base import Op

    from aegis.langgraph import AegisStore

ALL = 1_000

labels = st.sampled_from(["a", "b", "ab", "A", "a%", "a_", "ü", "a'b", 'q"', "{x,y}", "\\", "😀"])
paths = st.lists(labels, min_size=1, max_size=3).map(tuple)
prefixes = st.lists(labels, max_size=2).map(tuple)
keys = st.sampled_from(["k", "k.1", "K", "%", "'; --", "ключ"])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
numbers = st.one_of(st.integers(-3, 3), st.floats(-3, 3, allow_nan=False), st.just(1e22))
flags = st.sampled_from([True, False, None, "yes", "no"])
values = st.fixed_dictionaries(
    {"n": numbers},
    optional={
        "flag": flags,
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "o": st.fixed_dictionaries({}, optional={"p": st.integers(0, 1), "q": flags}),
        "more": st.lists(st.fixed_dictionaries({"c": texts}), max_size=2),
    },
)
tests_of_numbers = st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"])
filters = st.one_of(
    st.none(),
    st.fixed_dictionaries({"n": numbers}),
    st.fixed_dictionaries({"n": st.dictionaries(tests_of_numbers, numbers, min_size=1)}),
    st.fixed_dictionaries({"flag": flags}),
    st.fixed_dictionaries({"flag": st.fixed_dictionaries({"$ne": flags})}),
    st.fixed_dictionaries({"tags": st.lists(st.sampled_from(["x", "y"]), max_size=2)}),
    st.fixed_dictionaries({"o": st.fixed_dictionaries({}, optional={"p": st.integers(0, 1)})}),
    st.fixed_dictionaries(
        {"o": st.fixed_dictionaries({"q": st.fixed_dictionaries({"$eq": flags})})}
    ),
    st.fixed_dictionaries({"more": st.lists(st.just({"c": "a"}), max_size=1)}),
)
indexes = st.one_of(st.none(), st.just(False), st.just(["text"]), st.just(["more[*].c", "text"]))
conditions = st.builds(
    MatchCondition,
    match_type=st.sampled_from(["prefix", "suffix"]),
    path=st.lists(st.one_of(labels, st.just("*")), max_size=2).map(tuple),
)
operations = st.one_of(
    st.builds(GetOp, paths, keys, st.booleans()),
    st.builds(PutOp, paths, keys, values, indexes, st.none()),
    st.builds(PutOp, paths, keys, st.none(), st.none(), st.none()),
    st.builds(
        SearchOp,
        namespace_prefix=prefixes,
        filter=filters,
        limit=st.sampled_from([1, 2, ALL]),
        offset=st.just(0),
        query=st.sampled_from([None, "cats", "dogs"]),
        refresh_ttl=st.booleans(),
    ),
    st.builds(
        SearchOp, prefixes, st.none(), st.just(2), st.integers(0, 3), st.none(), st.booleans()
    ),
    st.builds(
        ListNamespacesOp,
        match_conditions=st.lists(conditions, max_size=2).map(tuple),
        max_depth=st.sampled_from([None, 1, 2]),
        limit=st.sampled_from([2, ALL]),
        offset=st.integers(0, 2),
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.lists(operations, min_size=1, max_size=6), min_size=1, max_size=6))
def test_any_sequence_of_batches_comes_to_what_the_reference_comes_to(
    make_store: Callable[..., AegisStore], batches: list[list[Op]]
) -> None:
    index: Any = {"dims": DIMS, "embed": HashEmbeddings(), "fields": ["text", "more[*].c"]}
    ours, reference = make_store(index=index), InMemoryStore(index=index)
    texts = 0
    for batch in batches:
        ops: list[Op] = []
        for drawn in batch:
            op = drawn
            if isinstance(op, PutOp) and op.value is not None:
                # The reference embeds no text twice in one batch.
                texts += 1
                more = [
                    {"c": f"{part['c']} {texts} {n}"}
                    for n, part in enumerate(op.value.get("more", []))
                ]
                op = op._replace(value={**op.value, "text": f"text {texts}", "more": more})
            ops.append(op)
        expected = [put_right(reference).batch([op])[0] for op in ops if not isinstance(op, PutOp)]
        found = ours.batch(ops)
        puts = last_puts(ops)
        for put in puts:
            reference._vectors[put.namespace].pop(put.key, None)
        reference.batch(puts)
        reads = [(op, r) for op, r in zip(ops, found, strict=True) if not isinstance(op, PutOp)]
        for (op, ours_found), theirs in zip(reads, expected, strict=True):
            assert_same(op, ours_found, theirs)
        assert all(r is None for op, r in zip(ops, found, strict=True) if isinstance(op, PutOp))
    everything = SearchOp(namespace_prefix=(), limit=ALL)
    assert_same(
        everything, ours.batch([everything])[0], put_right(reference).batch([everything])[0]
    )


def last_puts(ops: list[Op]) -> list[PutOp]:
    """Return the last put to each place: an earlier one would leave its vectors behind."""
    return list({(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}.values())


def put_right(reference: InMemoryStore) -> InMemoryStore:
    for namespace in [n for n, items in reference._data.items() if not items]:
        del reference._data[namespace]
    return reference


def assert_same(op: Op, ours: Any, theirs: Any) -> None:
    if isinstance(op, GetOp):
        assert plain(ours) == plain(theirs)
    elif isinstance(op, ListNamespacesOp):
        assert ours == theirs
    elif isinstance(op, SearchOp):
        assert len(ours) == len(theirs)
        scored = [item for item in theirs if item.score is not None]
        assert [plain(item) for item in ours[: len(scored)]] == [plain(item) for item in scored]
        for one, other in zip(ours, scored, strict=False):
            assert abs(one.score - other.score) < 1e-6
        assert all(item.score is None for item in ours[len(scored) :])
        if op.limit == ALL:
            assert sorted(map(repr, map(plain, ours))) == sorted(map(repr, map(plain, theirs)))


def plain(item: Any) -> Any:
    if item is None:
        return None
    value = {name: item.value[name] for name in sorted(item.value)}
    value["o"] = sorted((value.get("o") or {}).items(), key=repr)
    return item.namespace, item.key, value
