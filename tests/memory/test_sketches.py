"""Sketches: kept with every vector, whoever writes it, and what recall finds by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import Memory, arms
from aegis.memory.models import EpisodeFilter
from aegis.memory.store import misses, search, search_sql, space, statistics
from aegis.memory.store.episodes import filter_params

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.space import Space

pytestmark = pytest.mark.servers("18", "16")

MODEL = "all-MiniLM-L6-v2-onnx-int8"

INSERT = """
INSERT INTO episodic_memory (event_type, summary, namespace, embedding, embedding_model)
SELECT 'note', 'row ' || n, 'one',
       (SELECT array_agg(sin(n * d))::vector FROM generate_series(1, 384) AS d), 'a-model'
FROM generate_series(1, 20) AS n
"""

#: Rows whose sketch is not what their vector says, or that have none, or that are gone.
WRONG = """
SELECT count(*)
FROM (
    SELECT id, namespace, embedding_model AS model, aegis_signs(embedding) AS signs
    FROM episodic_memory
    WHERE embedding IS NOT NULL
      AND embedding_model IS NOT NULL
) AS e
FULL JOIN episodic_sketches s USING (id)
WHERE (e.namespace, e.model, e.signs) IS DISTINCT FROM (s.namespace, s.model, s.signs)
"""

CHANGES = {
    "another vector": """
        UPDATE episodic_memory
        SET embedding = (SELECT array_agg(cos(id * d))::vector FROM generate_series(1, 384) AS d)
        WHERE id % 2 = 0
    """,
    "no vector": "UPDATE episodic_memory SET embedding = NULL WHERE id % 3 = 0",
    "another model": "UPDATE episodic_memory SET embedding_model = 'b-model' WHERE id % 5 = 0",
    "no model": "UPDATE episodic_memory SET embedding_model = NULL WHERE id % 5 = 0",
    "another namespace": "UPDATE episodic_memory SET namespace = 'two' WHERE id % 2 = 1",
    "another text": "UPDATE episodic_memory SET summary = summary || '!'",
    "gone": "DELETE FROM episodic_memory WHERE id % 2 = 0",
    "more": INSERT,
}


async def one(db: Database, statement: Any) -> Any:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement)
        row: Any = await cursor.fetchone() if cursor.description else [cursor.rowcount]
    return row[0]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_sketch_follows_its_vector(db: Database, name: str) -> None:
    await one(db, INSERT)
    before = await one(db, "SELECT string_agg(s::text, ' ' ORDER BY id) FROM episodic_sketches s")
    assert await one(db, WRONG) == 0
    assert await one(db, CHANGES[name]) > 0
    after = await one(db, "SELECT string_agg(s::text, ' ' ORDER BY id) FROM episodic_sketches s")
    assert await one(db, WRONG) == 0
    assert (before == after) == (name == "another text")


async def test_a_sketch_has_the_sign_of_each_dimension(db: Database) -> None:
    signs = await one(db, "SELECT aegis_signs('[0.1, -2, 0, 3e-5, -0.0, 7]'::vector)::text")
    assert signs == "100101"


async def test_rows_that_triggers_did_not_see_are_sketched_with_the_next_sample(
    db: Database,
) -> None:
    async with db.transaction() as conn:
        await conn.execute("ALTER TABLE episodic_memory DISABLE TRIGGER USER")
        await conn.execute(INSERT)
        await conn.execute("ALTER TABLE episodic_memory ENABLE TRIGGER USER")
    assert await one(db, WRONG) == 20
    async with db.transaction() as conn:
        assert await statistics.sample_namespace(conn, "one", small=5)
    assert await one(db, WRONG) == 0


def _never(*_: object) -> bool:
    return False


def _always(*_: object) -> bool:
    return True


@pytest.fixture
def asked_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """How each question's vectors were searched; never by the graph, as in a table of millions."""
    ways: list[str] = []
    find = search.find_near

    async def noting(*args: Any, **kwargs: Any) -> Any:
        ways.append("sketches" if kwargs["sketches"] else "all")
        return await find(*args, **kwargs)

    monkeypatch.setattr(arms, "_approximate", _never)
    monkeypatch.setattr(search, "find_near", noting)
    return lambda: ways


@pytest.fixture
def large_memory(large_db: Database, embedder: Embedder) -> Memory:
    return Memory(large_db, embedder, namespace="default")


async def _found(db: Database, asked: Space, vector: str, *, sketched: bool) -> set[int]:
    where = EpisodeFilter(namespace="default")
    async with db.connection() as conn:
        facts = await search.read_question(conn, query="", namespace="default", ef_search=40)
        found = await search.find_near(
            conn,
            where=where,
            vector=vector,
            space=asked,
            facts=facts,
            approximate=False,
            sketches=200 if sketched else 0,
            limit=30,
        )
    assert len(found) == 30
    return set(found)


async def test_sketches_find_what_comparing_all_vectors_finds(large_db: Database) -> None:
    asked = space.Space(model=MODEL, dimensions=384)
    shares: list[float] = []
    for row in range(100, 6_000, 500):
        vector = await one(
            large_db,
            f"SELECT embedding::text FROM episodic_memory WHERE summary LIKE '% rare{row}'",
        )
        exact = await _found(large_db, asked, vector, sketched=False)
        near = await _found(large_db, asked, vector, sketched=True)
        shares.append(len(exact & near) / len(exact))
    assert sum(shares) / len(shares) > 0.95


async def test_a_large_namespace_is_asked_by_its_sketches(
    large_memory: Memory, asked_by: Callable[[], list[str]]
) -> None:
    hits = await large_memory.recall("common word3 rare1234", k=5)
    assert hits[0].episode.summary.endswith(" rare1234")
    assert asked_by()[-1] == "sketches"


async def test_a_new_row_is_found_by_its_sketch_at_once(
    large_memory: Memory, asked_by: Callable[[], list[str]]
) -> None:
    made = await large_memory.record("note", "a zebra crossed the frozen lake")
    hits = await large_memory.recall("striped animal walking over ice", k=10)
    assert made.id in [hit.episode.id for hit in hits]
    assert asked_by()[-1] == "sketches"


@pytest.mark.parametrize(
    "where", [{"tags": ["marked"]}, {"event_types": ["milestone"]}, {"min_importance": "critical"}]
)
async def test_a_filter_that_lets_little_through_looks_at_every_vector(
    large_memory: Memory, asked_by: Callable[[], list[str]], where: dict[str, Any]
) -> None:
    hits = await large_memory.recall("common word3", k=10, **where)
    assert len(hits) == 10
    assert set(asked_by()) == {"all"}


async def test_sketches_that_are_too_few_do_not_hide_anything(
    large_db: Database, large_memory: Memory, asked_by: Callable[[], list[str]]
) -> None:
    await large_memory.recall("common word3", k=5)
    await one(large_db, "DELETE FROM episodic_sketches WHERE namespace = 'default'")
    hits = await large_memory.recall("common word3 rare1234", k=5)
    assert len(hits) == 5
    assert asked_by()[-2:] == ["sketches", "all"]


def _visited(node: dict[str, Any]) -> float:
    """How many rows a plan's nodes handed on or threw away, in all their loops."""
    rows = sum(v for k, v in node.items() if k == "Actual Rows" or k.startswith("Rows Removed"))
    return rows * node["Actual Loops"] + sum(_visited(n) for n in node.get("Plans", ()))


async def test_a_namespace_that_statistics_do_not_know_yet_is_read_once(
    large_db: Database,
) -> None:
    await one(large_db, "DROP INDEX idx_episodic_embedding_minilm")
    moved = "UPDATE episodic_memory SET namespace = 'late' WHERE id % 2 = 0"
    assert await one(large_db, moved) > 3_000
    where = EpisodeFilter(namespace="late")
    statement = search_sql.near_sql(
        search.asked_for(where),
        space.Space(model=MODEL, dimensions=384),
        approximate=False,
        sketches=200,
        echoes=True,
        limit=30,
    )
    vector = await one(
        large_db, "SELECT embedding::text FROM episodic_memory WHERE namespace = 'late' LIMIT 1"
    )
    async with large_db.connection() as conn:
        cursor = await conn.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement,
            filter_params(where) | {"vector": vector},
            prepare=False,
        )
        row: Any = await cursor.fetchone()
    # Every sketch once or twice over, and the two hundred best rows.
    assert _visited(row[0][0]["Plan"]) < 20_000


def _graph_without(topic: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the graph be one that links to none of these."""
    near, nearest = search.find_near, search.find_nearest

    async def find_near(*args: Any, **kwargs: Any) -> list[int]:
        if not kwargs["approximate"]:
            return await near(*args, **kwargs)
        kept = kwargs["limit"]
        found = await near(*args, **kwargs | {"limit": kept + len(topic)})
        return [i for i in found if i not in topic][:kept]

    async def find_nearest(*args: Any, **kwargs: Any) -> list[tuple[int, float]]:
        kept = kwargs["limit"]
        found = await nearest(*args, **kwargs | {"limit": kept + len(topic)})
        return [pair for pair in found if pair[0] not in topic][:kept]

    monkeypatch.setattr(search, "find_near", find_near)
    monkeypatch.setattr(search, "find_nearest", find_nearest)
    monkeypatch.setattr(arms, "_approximate", _always)
    monkeypatch.setattr(arms, "_MISSED_FROM", 5_000)


async def _sampled_row(db: Database) -> tuple[int, str]:
    row = await one(db, "SELECT min(id) FROM episodic_sketches WHERE id % 32 = 0 AND id > 3000")
    return row, await one(db, f"SELECT embedding::text FROM episodic_memory WHERE id = {row}")


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
async def test_what_the_graph_does_not_reach_is_found_where_a_sample_shows_it(
    large_db: Database, large_memory: Memory, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    row, text = await _sampled_row(large_db)
    vector = [float(x) for x in text[1:-1].split(",")]
    asked = space.Space(model=MODEL, dimensions=384)
    nearest = await _found(large_db, asked, text, sketched=False)
    assert row in nearest
    await large_memory.recall("words", k=1)
    _graph_without(nearest, monkeypatch)
    ranked: list[set[int]] = []
    describe = search.describe

    async def noting(conn: Any, ids: Any, **kwargs: Any) -> Any:
        ranked.append(set(ids))
        return await describe(conn, ids, **kwargs)

    monkeypatch.setattr(search, "describe", noting)

    async def found() -> set[int]:
        hits = await large_memory.recall("qqq", mode=mode, vector=vector, k=10)
        return ranked[-1] if mode == "hybrid" else {hit.episode.id for hit in hits}

    assert len(await found() & nearest) == (30 if mode == "hybrid" else 10)
    # Without a sample nobody would know.
    await one(large_db, "DELETE FROM episodic_sketches WHERE id % 32 = 0")
    assert not await found() & nearest


async def test_a_sample_finds_nothing_nearer_than_the_nearest(large_db: Database) -> None:
    asked = space.Space(model=MODEL, dimensions=384)
    row, vector = await _sampled_row(large_db)
    nearest = await _found(large_db, asked, vector, sketched=False)
    async with large_db.connection() as conn:
        facts = await search.read_question(conn, query="", namespace="default", ef_search=40)

        async def missed(ids: list[int], namespace: str = "default") -> bool:
            return await misses.has_missed(
                conn,
                ids,
                where=EpisodeFilter(namespace=namespace),
                vector=vector,
                space=asked,
                facts=facts,
            )

        assert not await missed(list(nearest))
        assert not await missed([row])
        others = [row + 1, row + 2, row + 3]
        assert await missed(others)
        # Nothing of another namespace, nor of another model, is nearer; nor than nothing.
        assert not await missed(others, namespace="another")
        assert not await missed([])


async def test_a_sample_is_read_from_its_own_index(large_db: Database) -> None:
    await one(large_db, "ANALYZE episodic_sketches")
    where = EpisodeFilter(namespace="default")
    statement = search_sql.missed_sql(
        search.asked_for(where), space.Space(model=MODEL, dimensions=384), echoes=True
    )
    _, vector = await _sampled_row(large_db)
    async with large_db.connection() as conn:
        cursor = await conn.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement,
            filter_params(where) | {"vector": vector, "ids": [1, 2]},
            prepare=False,
        )
        row: Any = await cursor.fetchone()
    plan = row[0][0]["Plan"]
    assert "idx_episodic_sketches_sample" in str(plan)
    assert _visited(plan) < 2_000
