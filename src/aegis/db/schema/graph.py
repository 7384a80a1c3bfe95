"""How memories, facts and entities hang together, and what Graphiti did not take."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, serial_id, timestamp_now

__all__ = [
    "graph_entities",
    "graph_merges",
    "graph_queue",
    "graph_relations",
    "graphiti_failures",
]

_TABLES = {
    "episode": "episodic_memory",
    "fact": "semantic_memory",
    "entity": "graph_entities",
}


def end(side: str, kind: str) -> Column[Any]:
    """Return a column that names a node: an end of a relation, or what says it."""
    name = f"{side}_{kind}"
    return Column(
        name,
        Integer,
        ForeignKey(f"{_TABLES[kind]}.id", name=f"graph_relations_{name}_fkey", ondelete="CASCADE"),
    )


def end_index(side: str, kind: str) -> Index:
    """Return the index by which the foreign key of `end` asks."""
    name = f"{side}_{kind}"
    return Index(f"idx_graph_relations_{name}", name, postgresql_where=text(f"{name} IS NOT NULL"))


def node(name: str, side: str) -> Column[Any]:
    """Return the number of the node at one end."""
    return Column(
        name,
        BigInteger,
        Computed(
            f"coalesce({side}_episode::bigint * 4, {side}_fact::bigint * 4 + 1, "
            f"{side}_entity::bigint * 4 + 2)",
            persisted=True,
        ),
        nullable=False,
    )


def merge_end(name: str) -> Column[Any]:
    """Return one of the two entities of a merge."""
    return Column(
        name,
        Integer,
        ForeignKey("graph_entities.id", name=f"graph_merges_{name}_fkey", ondelete="CASCADE"),
        nullable=False,
    )


graph_entities = Table(
    "graph_entities",
    metadata,
    serial_id(),
    Column("namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("aliases", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("first_seen_at", TIMESTAMPTZ),
    Column("last_seen_at", TIMESTAMPTZ),
    Column("mentions", Integer, nullable=False, server_default=text("0")),
    Column("degree", Integer, nullable=False, server_default=text("0")),
    Column(
        "merged_into",
        Integer,
        ForeignKey("graph_entities.id", name="graph_entities_merged_into_fkey", ondelete="CASCADE"),
    ),
    timestamp_now("created_at", nullable=False),
    CheckConstraint(
        "kind IN ('person', 'project', 'file', 'host', 'url', 'email', 'organisation', 'ticket', "
        "'commit', 'concept')",
        name="ck_graph_entities_kind",
    ),
    CheckConstraint("merged_into <> id", name="ck_graph_entities_merged_into"),
    Index("uq_graph_entities_key", "namespace", "kind", "key", unique=True),
    Index(
        "idx_graph_entities_merged_into",
        "merged_into",
        postgresql_where=text("merged_into IS NOT NULL"),
    ),
)

graph_relations = Table(
    "graph_relations",
    metadata,
    bigserial_id(),
    Column("namespace", Text, nullable=False),
    Column("type", Text, nullable=False),
    end("from", "episode"),
    end("from", "fact"),
    end("from", "entity"),
    end("to", "episode"),
    end("to", "fact"),
    end("to", "entity"),
    end("said_in", "episode"),
    end("said_in", "fact"),
    Column("weight", REAL, nullable=False, server_default=text("1")),
    Column("valid_from", TIMESTAMPTZ),
    Column("valid_to", TIMESTAMPTZ),
    timestamp_now("recorded_at", nullable=False),
    Column("found_by", Text, nullable=False),
    node("source", "from"),
    node("target", "to"),
    CheckConstraint(
        "num_nonnulls(from_episode, from_fact, from_entity) = 1 "
        "AND num_nonnulls(to_episode, to_fact, to_entity) = 1 "
        "AND num_nonnulls(said_in_episode, said_in_fact) <= 1 "
        "AND source <> target",
        name="ck_graph_relations_ends",
    ),
    CheckConstraint("weight >= 0 AND weight <= 1", name="ck_graph_relations_weight"),
    CheckConstraint(
        "isfinite(valid_from) AND isfinite(valid_to) AND valid_from <= valid_to",
        name="ck_graph_relations_validity",
    ),
    CheckConstraint("found_by IN ('rule', 'hand', 'model')", name="ck_graph_relations_found_by"),
    Index(
        "uq_graph_relations",
        "source",
        "target",
        "type",
        "valid_from",
        "said_in_episode",
        "said_in_fact",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    Index("idx_graph_relations_target", "target", "source"),
    *(
        end_index(side, kind)
        for side, kind in (
            ("from", "episode"),
            ("from", "fact"),
            ("from", "entity"),
            ("to", "episode"),
            ("to", "fact"),
            ("to", "entity"),
            ("said_in", "episode"),
            ("said_in", "fact"),
        )
    ),
)

graph_queue = Table(
    "graph_queue",
    metadata,
    bigserial_id(),
    Column("episode_id", Integer),
    Column("fact_id", Integer),
    Column("stage", Text, nullable=False, server_default=text("'rules'::text")),
    CheckConstraint("stage IN ('rules', 'model')", name="ck_graph_queue_stage"),
    Index("idx_graph_queue_stage", "stage", "id"),
)

graph_merges = Table(
    "graph_merges",
    metadata,
    bigserial_id(),
    Column("namespace", Text, nullable=False),
    merge_end("kept"),
    merge_end("merged"),
    Column("before", JSONB, nullable=False),
    timestamp_now("at", nullable=False),
    Column("undone_at", TIMESTAMPTZ),
    Index("idx_graph_merges_kept", "kept"),
    Index("idx_graph_merges_merged", "merged"),
)

graphiti_failures = Table(
    "graphiti_failures",
    metadata,
    Column(
        "episode_id",
        Integer,
        ForeignKey(
            "episodic_memory.id", name="graphiti_failures_episode_id_fkey", ondelete="CASCADE"
        ),
        primary_key=True,
        autoincrement=False,
    ),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    timestamp_now("failed_at", nullable=False),
)
