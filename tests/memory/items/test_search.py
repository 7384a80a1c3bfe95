"""Searching many items: a filter never costs results, and the plans are those that were meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.embedding.minilm import MODEL
from aegis.memory.items import SearchItems
from aegis.memory.store import item_search
from aegis.memory.store.search_sql import Space
from tests.memory.filling import indexed_afterwards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings
    from aegis.memory.embedding import Embedder
    from tests.conftest import Cluster

#: As many as a benchmark had in ten namespaces, where another store's one index found too few.
ROWS, PLACES = 6_000, 10

_FILL = """
WITH items AS (
    INSERT INTO store_items (path, key, value)
    SELECT ARRAY['conversation', 'c' || i %% %(places)s],
           'k' || i,
           jsonb_build_object('n', i, 'rare', i %% 997 = 0)
    FROM generate_series(1, %(rows)s) AS i
    RETURNING id, (value ->> 'n')::int AS n
)
INSERT INTO store_vectors (item_id, field, embedding_model, embedding)
SELECT t.id,
       'text',
       %(model)s,
       (
           -- Each place has a direction of its own, so that the nearest are mostly elsewhere.
           SELECT array_agg(sin((t.n %% %(places)s + 1) * d) + random() - 0.5)::vector
           FROM generate_series(1, 384) AS d
       )
FROM items t
"""


@pytest.fixture(scope="module")
def filled_template(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with many items; copied, not used."""
    name = f"items_large_{cluster.major}"
    dsn = cluster.create_database(name, template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        with indexed_afterwards(conn, "idx_store_embedding_minilm"):
            conn.execute("SELECT setseed(0.5)")
            conn.execute(_FILL, {"rows": ROWS, "places": PLACES, "model": MODEL})
        conn.execute("VACUUM (ANALYZE) store_items, store_vectors")
    yield name
    cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # pyright: ignore


@pytest.fixture
async def filled(
    cluster: Cluster, filled_template: str, settings: Settings, embedder: Embedder
) -> AsyncIterator[Memory]:
    with cluster.database(filled_template) as dsn:
        async with await Database.open(dsn, settings, min_size=1) as db:
            yield Memory(db, embedder, namespace="default")


async def test_filtered_search_finds_as_many_as_there_are(
    filled: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every search by the graph: more items than it will read as a whole.
    monkeypatch.setattr(item_search, "SMALL_PATH", 100)
    searches = [
        SearchItems(prefix=("conversation", f"c{n % PLACES}"), query=f"question {n}", limit=20)
        for n in range(100)
    ]
    found = await filled.items.batch(searches)
    assert {len(hits) for hits in found} == {20}
    for search, hits in zip(searches, found, strict=True):
        assert {hit.item.path for hit in hits} == {search.prefix}
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


async def test_rare_filter_over_everything_finds_each_and_the_exact_order(
    filled: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await filled.items.search(query="anything", filter={"rare": True}, limit=20)
    monkeypatch.setattr(item_search, "SMALL_PATH", 100)
    graph = await filled.items.search(query="anything", filter={"rare": True}, limit=20)
    assert len(graph) == ROWS // 997
    assert [h.item.key for h in graph] == [h.item.key for h in exact]
    assert len(await filled.items.search(query="x", filter={"n": {"$lte": 3}}, limit=20)) == 3
    past = await filled.items.search(query="x", filter={"n": {"$lte": 3}}, limit=20, offset=2)
    assert len(past) == 1


async def test_graph_finds_most_of_what_an_exact_scan_finds_in_noise(
    filled: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = [SearchItems(query=f"question {n}", limit=10) for n in range(20)]
    exact = await filled.items.batch(searches)
    monkeypatch.setattr(item_search, "SMALL_PATH", 100)
    graph = await filled.items.batch(searches)
    shared = sum(
        len({h.item.key for h in one} & {h.item.key for h in other})
        for one, other in zip(exact, graph, strict=True)
    )
    # The hardest there is: noise, and questions far from all of it. It was 0.83.
    assert shared >= 0.7 * 10 * len(searches)


@pytest.mark.parametrize(
    ("way", "index"),
    [
        ("newest_small", "uq_store_items_key"),
        ("newest", "idx_store_items_updated_at"),
        ("exact", "uq_store_items_key"),
        ("graph", "idx_store_embedding_minilm"),
    ],
)
async def test_each_way_reads_through_its_index(
    filled: Memory, embedder: Embedder, way: Any, index: str
) -> None:
    near = way in ("exact", "graph")
    plan = item_search.Plan(
        way=way,
        # A small place for what reads it as a whole; everything for the others.
        prefix=("conversation", "c1") if way in ("exact", "newest_small") else (),
        conditions=(),
        limit=10,
        offset=0,
        refresh=True,
        vector="[" + ",".join(["0.1"] * 384) + "]" if near else None,
        space=Space(model=embedder.model, dimensions=384) if near else None,
    )
    statement, params = item_search._statement(plan, omit_expired=True)
    async with filled.database.transaction() as conn:
        cursor = await conn.execute(
            b"EXPLAIN " + statement.as_bytes(conn), params | {"namespace": "default"}
        )
        text = "\n".join(row[0] for row in await cursor.fetchall())
    assert index in text, text
