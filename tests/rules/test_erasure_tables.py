"""No table is forgotten by erasures: each holds words of memories, or there is a reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema import metadata
from aegis.memory.store.erasure_tables import (
    CLEARED,
    MEMORY_TABLES,
    OUTSIDE,
    OWNERS,
    WORDLESS,
    unclassified,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aegis.db import Connection

#: Columns of tables without words that are texts all the same: fixed words, models, paths, digests.
FIXED = {
    "decision_episodes.role",
    "episodic_sketches.namespace",
    "episodic_sketches.model",
    "episodic_vectors.model",
    "semantic_vectors.model",
    "graph_queue.stage",
    "memory_archives.namespace",
    "memory_archives.kind",
    "memory_archives.reason",
    "memory_archives.state",
    "memory_archives.path",
    "memory_archives.sha256",
    "memory_archives.digest",
    "memory_erasures.namespace",
    "memory_erasures.state",
    "memory_erasures.stage",
    "memory_erasures.subject",
    "memory_erasures.actor",
    "memory_erasures.counts",
    "memory_erasures.digests",
    "memory_erasures.files",
    "memory_erasures.verification",
    "memory_erasures.signature",
    "session_usage.message_key",
    "session_usage.model",
}


async def test_every_table_is_erased_or_has_a_reason_not_to_be(conn: Connection) -> None:
    cursor = await conn.execute(
        """
        SELECT c.relname::text
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p', 'm')
          AND NOT c.relispartition
          AND c.relname <> 'alembic_version'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        """
    )
    there = {row[0] for row in await cursor.fetchall()} | {*metadata.tables}
    assert unclassified(there) == [], "say in erasure_tables.py what an erasure does with these"
    said = {*MEMORY_TABLES, *CLEARED, *WORDLESS, *OUTSIDE}
    assert said - there == set(), "these are said to be tables and are none"
    assert all(reason.endswith(".") for reason in (CLEARED | WORDLESS | OUTSIDE).values())


def test_a_new_table_of_which_nobody_thought_is_noticed() -> None:
    assert unclassified([*metadata.tables, "memory_dreams"]) == ["memory_dreams"]


def test_a_table_without_words_has_no_text_that_is_not_fixed() -> None:
    assert _texts(metadata, WORDLESS) - FIXED == set()
    assert FIXED - _texts(metadata, WORDLESS) == set()
    other = MetaData()
    Table("memory_usage", other, Column("id", Integer), Column("why", Text))
    assert _texts(other, WORDLESS) == {"memory_usage.why"}


def test_a_row_is_told_by_its_key_and_by_a_namespace() -> None:
    for name, key in MEMORY_TABLES.items():
        columns = metadata.tables[name].columns
        assert key in columns
        if "namespace" not in columns:
            owner, column = OWNERS[name]
            assert column in columns
            assert "namespace" in metadata.tables[owner].columns


def _texts(schema: MetaData, tables: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in tables:
        if name not in schema.tables:
            continue
        for column in schema.tables[name].columns:
            array = isinstance(column.type, ARRAY) and isinstance(column.type.item_type, Text)
            if array or isinstance(column.type, Text | JSONB):
                found.add(f"{name}.{column.name}")
    return found
