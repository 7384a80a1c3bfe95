"""A graph that is made by hand, and items that are put, come back from an export the same."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.errors import Conflict, InvalidInput
from aegis.memory import Memory
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path
from tests.memory.test_export_beside import beside
from tests.memory.test_export_identity import JSON, SOMETHING

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database
    from aegis.memory.exporting import Format
    from aegis.memory.importing import Kind

#: Few, so that relations meet and merges form chains; 0 to 2 are episodes, 3 and 4 facts.
NAMES = ("person:Ann", "person:Annie", "person:A. Baker", "project:Apollo", "host:db1")
NODES = st.integers(0, 4) | st.sampled_from(NAMES)
TIMES = st.none() | st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001
    datetime(2040, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
RELATIONS = st.lists(
    st.tuples(
        NODES,
        NODES,
        st.sampled_from(["related", "works on", "follows from"]),
        st.floats(0.01, 1.0),
        TIMES,
        TIMES,
    ),
    max_size=5,
)
MERGES = st.lists(st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(NAMES[:3])), max_size=3)
ITEMS = st.lists(
    st.tuples(
        st.lists(SOMETHING, min_size=1, max_size=2),
        SOMETHING,
        st.dictionaries(SOMETHING, JSON, max_size=3),
        st.none() | st.integers(1, 10**6),
    ),
    max_size=3,
)

_numbers = itertools.count()


async def make(memory: Memory, relations: Any, merges: Any, items: Any) -> None:
    """Do what is asked as far as memory accepts it."""
    notes = [(await memory.record("note", f"note {n} of Ann")).id for n in range(3)]
    facts = [(await memory.facts.record(f"thing {n}", "is let")).id for n in range(2)]
    ids: list[Any] = [*notes, *(f"fact:{i}" for i in facts)]
    for start, end, kind, weight, since, until in relations:
        one, other = (ids[node] if isinstance(node, int) else node for node in (start, end))
        with suppress(InvalidInput):
            await memory.graph.relate(
                one, other, kind, weight=weight, valid_from=since, valid_to=until
            )
    for kept, merged in merges:
        for name in (kept, merged):
            await memory.graph.relate(notes[0], name, "mentions")
        with suppress(InvalidInput, Conflict):
            await memory.graph.merge_entities(kept, merged)
    for path, key, value, minutes in items:
        with suppress(InvalidInput):
            await memory.items.put(path, key, value, ttl_minutes=minutes)


@given(relations=RELATIONS, merges=MERGES, items=ITEMS)
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_what_is_made_by_hand_and_what_is_put_comes_back(
    db: Database, tmp_path: Path, relations: Any, merges: Any, items: Any, format: Format
) -> None:
    number = next(_numbers)
    here = Memory(db, None, namespace=f"here {number}")
    await make(here, relations, merges, items)
    path = tmp_path / f"{number}.{format}"
    told = await export_file(here, path, format=format)
    there = Memory(db, None, namespace=f"there {number}")
    kind: Kind = format
    first = await import_path(there, kind, path)
    assert (first.recorded, first.skipped, first.dangling) == (told.items, 0, 0)
    assert await beside(there) == await beside(here)
    again = await import_path(there, kind, path)
    assert (again.recorded, again.dangling) == (0, 0)
    assert await beside(there) == await beside(here)
