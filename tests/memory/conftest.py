"""What memory tests share: the real embedder, one that is away, and a memory of one's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import load_settings
from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.embedding import Embedder, open_embedder
from tests.memory.filling import indexed_afterwards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings
    from tests.conftest import Cluster

START = datetime(2025, 1, 1, tzinfo=UTC)
#: More than a namespace may have to be searched exactly.
LARGE = 6_000


_FILL = """
INSERT INTO episodic_memory (
    timestamp, event_type, summary, importance, tags, namespace, session_id, embedding,
    embedding_model
)
SELECT %(start)s::timestamptz + make_interval(mins => i),
       CASE WHEN i %% 500 = 0 THEN 'milestone' ELSE 'note' END,
       'common word' || (i %% 7) || ' rare' || i,
       (CASE WHEN i %% 500 = 0 THEN 'critical' ELSE 'medium' END)::memory_importance,
       CASE WHEN i %% 500 = 0 THEN ARRAY['marked'] END,
       %(namespace)s,
       's' || i / 12,
       v.vector,
       'all-MiniLM-L6-v2-onnx-int8'
FROM generate_series(1, %(rows)s) AS i
CROSS JOIN LATERAL (
    SELECT array_agg(
               sin((i / 60) * (d %% 97 + 1) * 12.9898 + d) + 2 * (random() - 0.5)
           )::vector AS vector
    FROM generate_series(1, 384) AS d
) AS v
"""


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The default embedder, loaded once."""
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    return embedder


@pytest.fixture
def absent_embedder(settings: Settings) -> Embedder:
    """An embedder whose endpoint nobody answers: port 9 of this machine is closed."""
    embedder = open_embedder(
        replace(
            settings,
            embedder="openai",
            embedding_url="http://127.0.0.1:9/v1",
            embedding_timeout_s=0.5,
            embedding_dimensions=384,
        )
    )
    assert embedder is not None
    return embedder


@pytest.fixture
def memory(db: Database, embedder: Embedder) -> Memory:
    """A memory on a database of the test's own, with the default embedder."""
    return Memory(db, embedder, namespace="default")


@pytest.fixture
def plain_memory(db: Database) -> Memory:
    """A memory without an embedder, for what has nothing to do with vectors."""
    return Memory(db, None, namespace="default")


@pytest.fixture(scope="module")
def large_template(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with a large namespace, `default`, and a small one beside it; copied, not used."""
    name = f"recall_large_{cluster.major}"
    dsn = cluster.create_database(name, template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        with indexed_afterwards(conn, "idx_episodic_embedding_minilm"):
            for namespace, rows in (("default", LARGE), ("small", 40)):
                conn.execute(_FILL, {"start": START, "rows": rows, "namespace": namespace})
        conn.execute("VACUUM (ANALYZE) episodic_memory")
    yield name
    cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # pyright: ignore


@pytest.fixture
def large_dsn(cluster: Cluster, large_template: str) -> Iterator[str]:
    with cluster.database(large_template) as dsn:
        yield dsn


@pytest.fixture
async def large_db(large_dsn: str, settings: Settings) -> AsyncIterator[Database]:
    async with await Database.open(large_dsn, settings, min_size=1) as database:
        yield database
