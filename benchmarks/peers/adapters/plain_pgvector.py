"""A table with a vector column, as pgvector's own documentation writes it."""

from __future__ import annotations

import psycopg
from lines import Setup, serve
from psycopg import sql


class Table:
    """A B-tree on the scope, HNSW on the vectors, and iterative scans for the filter."""

    def __init__(self, setup: Setup) -> None:
        self._vectors = setup.vectors
        self._conn = psycopg.connect(setup.dsn, autocommit=True)
        self._conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._conn.execute("SET hnsw.iterative_scan = strict_order")
        self._conn.execute(
            sql.SQL(
                """
                CREATE TABLE memories (
                    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                    scope text NOT NULL,
                    message text NOT NULL,
                    content text NOT NULL,
                    embedding vector({}) NOT NULL
                )
                """
            ).format(sql.Literal(setup.dimensions))
        )
        self._conn.execute("CREATE INDEX ON memories (scope)")
        self._conn.execute("CREATE INDEX ON memories USING hnsw (embedding vector_cosine_ops)")

    def add(self, scope: str, messages: list[dict[str, str]]) -> None:
        with self._conn.transaction(), self._conn.cursor() as cursor:
            cursor.executemany(
                """
                INSERT INTO memories (scope, message, content, embedding)
                VALUES (%(scope)s, %(message)s, %(content)s, %(embedding)s::vector)
                """,
                [
                    {
                        "scope": scope,
                        "message": m["id"],
                        "content": m["text"],
                        "embedding": str(self._vectors.of(m["text"])),
                    }
                    for m in messages
                ],
            )

    def search(self, scope: str, question: str, k: int) -> list[str]:
        rows = self._conn.execute(
            """
            SELECT message, content
            FROM memories
            WHERE scope = %(scope)s
            ORDER BY embedding <=> %(vector)s::vector
            LIMIT %(k)s
            """,
            {"scope": scope, "vector": str(self._vectors.of(question)), "k": k},
        ).fetchall()
        return [row[0] for row in rows]


if __name__ == "__main__":
    serve(Table, "psycopg")
