"""Facts of a large namespace are found by indexes, and are those that reading all would find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.store import fact_reading, fact_search
from tests.memory.filling import indexed_afterwards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings
    from aegis.memory.embedding import Embedder
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

MODEL = "all-MiniLM-L6-v2-onnx-int8"
LARGE = 12_000

#: Facts about subjects in clusters of like vectors; one word in a hundred facts, one in each.
_FILL = """
INSERT INTO semantic_memory (
    concept, content, namespace, embedding, embedding_model, valid_to, expires_at
)
SELECT 'subject' || i % 40,
       'known since word' || i % 120 || ' rare' || i,
       %(namespace)s,
       v.vector,
       %(model)s,
       CASE WHEN i % 11 = 0 THEN now() - interval '1 day' END,
       CASE WHEN i % 13 = 0 THEN now() - interval '1 day' END
FROM generate_series(1, %(rows)s) AS i
CROSS JOIN LATERAL (
    SELECT array_agg(
               sin((i / 60) * (d % 97 + 1) * 12.9898 + d) + 2 * (random() - 0.5)
           )::vector AS vector
    FROM generate_series(1, 384) AS d
) AS v
""".replace(" % ", " %% ")


@pytest.fixture(scope="module")
def large_facts(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with a large namespace of facts, and others beside it; copied, not used."""
    name = f"facts_large_{cluster.major}"
    dsn = cluster.create_database(name, template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("SET maintenance_work_mem = '256MB'")
        with indexed_afterwards(conn, "idx_semantic_embedding_minilm"):
            for namespace, rows in (("default", LARGE), ("middle", 1_500), ("small", 40)):
                conn.execute(_FILL, {"namespace": namespace, "rows": rows, "model": MODEL})
        conn.execute("VACUUM (ANALYZE) semantic_memory")
    yield name
    cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # pyright: ignore


@pytest.fixture
async def large_db(
    cluster: Cluster, large_facts: str, settings: Settings
) -> AsyncIterator[Database]:
    with cluster.database(large_facts) as dsn:
        async with await Database.open(dsn, settings, min_size=1) as database:
            yield database


async def vector_near(db: Database, namespace: str, place: int) -> tuple[str, str]:
    """Return words and a vector that ask for one fact that holds."""
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT concept || ' ' || content, embedding::text
            FROM semantic_memory
            WHERE namespace = %s AND valid_to IS NULL AND expires_at IS NULL
            ORDER BY id
            OFFSET %s
            LIMIT 1
            """,
            [namespace, place],
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def search(
    db: Database,
    query: str,
    vector: str | None,
    *,
    namespace: str = "default",
    limit: int = 10,
) -> list[Any]:
    async with db.transaction() as conn:
        return await fact_reading.search_facts(
            conn,
            query=query,
            vector=vector,
            embedding_model=MODEL if vector else None,
            as_of=None,
            valid_at=None,
            namespace=namespace,
            limit=limit,
        )


@pytest.mark.parametrize("namespace", ["default", "middle"])
@pytest.mark.parametrize("by_vector", [True, False], ids=["both arms", "words"])
async def test_a_large_namespace_answers_as_one_whose_facts_are_all_read(
    large_db: Database, monkeypatch: pytest.MonkeyPatch, namespace: str, by_vector: bool
) -> None:
    used: list[object] = []
    original = fact_search.search_large

    async def watched(*args: Any, **kwargs: Any) -> Any:
        used.append(found := await original(*args, **kwargs))
        return found

    monkeypatch.setattr(fact_reading, "search_large", watched)
    shared = asked = 0
    for place in range(0, 1_000, 50):
        said, vector = await vector_near(large_db, namespace, place)
        query = f"what of {said}?"
        literal = vector if by_vector else None
        found = await search(large_db, query, literal, namespace=namespace)
        with monkeypatch.context() as patch:
            patch.setattr(fact_reading, "SMALL", 1_000_000)
            exact = await search(large_db, query, literal, namespace=namespace)
        # A score is the same whichever way it was found, but for the last digits of a distance.
        assert found[0][0] == exact[0][0]
        scores = {row[0]: row[1:] for row in exact}
        for row in found:
            if row[0] in scores:
                assert row[1:] == pytest.approx(scores[row[0]], abs=1e-6)
        shared += len({row[0] for row in found} & {row[0] for row in exact})
        asked += len(exact)
    assert len(used) == 20
    assert shared / asked > (0.9 if by_vector else 0.3)


async def test_what_ended_or_expired_is_not_found_and_a_new_fact_is_at_once(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, None, namespace="default")
    for row in (11, 13):  # ended, expired
        hits = await memory.facts.recall(f"rare{row}", k=5)
        assert len(hits) == 5
        assert all(f"rare{row}" not in hit.fact.content.split() for hit in hits)
    (hit,) = await memory.facts.recall("rare12", k=1)
    assert hit.fact.content.endswith(" rare12")
    memory = Memory(large_db, embedder, namespace="default")
    fact = await memory.facts.record("zeppelin", "is moored at the lake")
    assert [h.fact.id for h in await memory.facts.recall("where is the zeppelin", k=1)] == [fact.id]


async def test_namespaces_beside_a_large_one_give_theirs_and_all_of_them(
    large_db: Database, embedder: Embedder
) -> None:
    for namespace in ("middle", "small"):
        memory = Memory(large_db, embedder, namespace=namespace)
        hits = await memory.facts.recall("subject7 word7", k=20)
        assert len(hits) == 20
        assert {hit.fact.namespace for hit in hits} == {namespace}
    nobody = Memory(large_db, embedder, namespace="nobody")
    assert await nobody.facts.recall("subject7", k=5) == []


@pytest.mark.parametrize("question", ["the of and", "known", "'; \\ %s \x01default", "x" * 5_000])
async def test_a_question_whose_words_tell_nothing_is_still_answered(
    large_db: Database, embedder: Embedder, question: str
) -> None:
    for memory in (
        Memory(large_db, embedder, namespace="default"),
        Memory(large_db, None, namespace="default"),
    ):
        assert len(await memory.facts.recall(question, k=10)) == 10


async def test_a_question_reads_a_small_part_of_a_large_namespace(large_db: Database) -> None:
    said, vector = await vector_near(large_db, "default", 77)

    async def pages(query: str, literal: str | None) -> int:
        async with large_db.transaction() as conn:
            await conn.execute("SELECT pg_stat_force_next_flush()")
            cursor = await conn.execute(
                """
                SELECT heap_blks_read + heap_blks_hit
                FROM pg_statio_user_tables
                WHERE relname = 'semantic_memory'
                """
            )
            before = await cursor.fetchone()
        await search(large_db, query, literal)
        async with large_db.transaction() as conn:
            await conn.execute("SELECT pg_stat_force_next_flush()")
        async with large_db.transaction() as conn:
            cursor = await conn.execute(
                """
                SELECT heap_blks_read + heap_blks_hit
                FROM pg_statio_user_tables
                WHERE relname = 'semantic_memory'
                """
            )
            after = await cursor.fetchone()
        assert before is not None
        assert after is not None
        return after[0] - before[0]

    assert await pages(said, vector) < LARGE / 3
    assert await pages(said, None) < LARGE / 3
