"""What frameworks keep under a path and a key."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema.memory import namespace
from aegis.db.schema.types import TIMESTAMPTZ, Vector, bigserial_id, metadata, timestamp_now

__all__ = ["store_items", "store_vectors"]

store_items = Table(
    "store_items",
    metadata,
    bigserial_id(),
    namespace(),
    Column("path", ARRAY(Text(collation="C")), nullable=False),
    Column("key", Text(collation="C"), nullable=False),
    Column("value", JSONB, nullable=False),
    Column("verbatim", Text),
    timestamp_now("created_at", nullable=False),
    timestamp_now("updated_at", nullable=False),
    Column("ttl_minutes", Double),
    Column("expires_at", TIMESTAMPTZ),
    UniqueConstraint("namespace", "path", "key", name="uq_store_items_key"),
    CheckConstraint("jsonb_typeof(value) = 'object'", name="ck_store_items_value"),
    CheckConstraint(
        "ttl_minutes >= 0 AND (ttl_minutes IS NULL) = (expires_at IS NULL)",
        name="ck_store_items_ttl",
    ),
    Index("idx_store_items_updated_at", "namespace", text("updated_at DESC"), text("id DESC")),
    Index(
        "idx_store_items_expires_at",
        "expires_at",
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
)

store_vectors = Table(
    "store_vectors",
    metadata,
    Column(
        "item_id",
        BigInteger,
        ForeignKey("store_items.id", name="store_vectors_item_id_fkey", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("field", Text, primary_key=True),
    Column("embedding_model", Text, nullable=False),
    Column("embedding", Vector()),
    Column("pending", Text),
    CheckConstraint("(embedding IS NULL) = (pending IS NOT NULL)", name="ck_store_vectors_pending"),
    Index(
        "idx_store_vectors_pending",
        "item_id",
        "field",
        postgresql_where=text("embedding IS NULL"),
    ),
    Index(
        "idx_store_embedding_minilm",
        text("(embedding::halfvec(384)) halfvec_cosine_ops"),
        postgresql_using="hnsw",
        postgresql_where=text("embedding_model = 'all-MiniLM-L6-v2-onnx-int8'"),
        info={"needs_halfvec": True},
    ),
)
