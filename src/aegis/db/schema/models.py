"""Embedding models, and the vectors that rows do not carry themselves."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import BIT

from aegis.db.schema.types import TIMESTAMPTZ, Vector, metadata, timestamp_now

__all__ = ["embedding_models", "episodic_sketches", "episodic_vectors", "semantic_vectors"]

_ZERO = text("0")
_FALSE = text("false")

embedding_models = Table(
    "embedding_models",
    metadata,
    Column("model", Text, primary_key=True),
    Column("dimensions", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=_FALSE),
    Column("mixed", Boolean, nullable=False, server_default=_FALSE),
    Column("usd_per_million_tokens", Numeric),
    Column("calls", BigInteger, nullable=False, server_default=_ZERO),
    Column("texts", BigInteger, nullable=False, server_default=_ZERO),
    Column("tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("cost_usd", Numeric, nullable=False, server_default=_ZERO),
    Column("failures", BigInteger, nullable=False, server_default=_ZERO),
    Column("last_error", Text),
    Column("last_used_at", TIMESTAMPTZ),
    timestamp_now("created_at", nullable=False),
    timestamp_now("changed_at", nullable=False),
    Column("beside_until", TIMESTAMPTZ),
    CheckConstraint(
        "dimensions >= 1 AND dimensions <= 16000", name="ck_embedding_models_dimensions"
    ),
    CheckConstraint(
        "state IN ('active', 'filling', 'standby', 'retired')", name="ck_embedding_models_state"
    ),
    Index(
        "uq_embedding_models_active",
        "state",
        unique=True,
        postgresql_where=text("state = 'active'::text"),
    ),
    Index(
        "uq_embedding_models_other",
        text("(true)"),
        unique=True,
        postgresql_where=text("state = ANY (ARRAY['filling'::text, 'standby'::text])"),
    ),
)


def _vectors(name: str, owner: str) -> Table:
    key = f"{owner}.id"
    return Table(
        name,
        metadata,
        Column(
            "id",
            Integer,
            ForeignKey(key, name=f"{name}_id_fkey", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        Column("model", Text, primary_key=True),
        Column("embedding", Vector(), nullable=False),
    )


episodic_sketches = Table(
    "episodic_sketches",
    metadata,
    Column(
        "id",
        Integer,
        ForeignKey("episodic_memory.id", name="episodic_sketches_id_fkey", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("signs", BIT(varying=True), nullable=False),
    Index(
        "idx_episodic_sketches_place",
        "namespace",
        "model",
        postgresql_include=["id", "signs"],
    ),
    Index(
        "idx_episodic_sketches_sample",
        "namespace",
        "model",
        postgresql_include=["id", "signs"],
        postgresql_where=text("id % 32 = 0"),
    ),
)
episodic_vectors = _vectors("episodic_vectors", "episodic_memory")
semantic_vectors = _vectors("semantic_vectors", "semantic_memory")
