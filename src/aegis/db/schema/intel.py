"""The watching of competitors: pages, what they said, what changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, serial_id, timestamp_now

__all__ = [
    "competitor_changes",
    "competitor_hosts",
    "competitor_pages",
    "competitor_snapshots",
    "competitors",
]


def _lease() -> list[Column[Any]]:
    return [
        Column("lease_owner", Text),
        Column("lease_until", TIMESTAMPTZ),
        Column("lease_token", BigInteger, nullable=False, server_default=text("0")),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("last_error", Text),
    ]


def _selectors(name: str) -> Column[Any]:
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'::text[]"))


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


competitors = Table(
    "competitors",
    metadata,
    serial_id(),
    Column("name", String(200), nullable=False),
    Column("domain", String(200), nullable=False),
    Column("category", String(100)),
    Column("last_checked_at", TIMESTAMPTZ),
    Column("enabled", Boolean, server_default=text("true")),
    timestamp_now("created_at"),
    Column("url", Text),
    Column("check_every_s", Integer, nullable=False, server_default=text("86400")),
    Column("discover_at", TIMESTAMPTZ),
    Column("discovered_at", TIMESTAMPTZ),
    *_lease(),
    CheckConstraint("check_every_s >= 60", name="ck_competitors_check_every_s"),
    Index(
        "idx_competitors_discover_at",
        "discover_at",
        postgresql_where=text("discover_at IS NOT NULL"),
    ),
    Index("idx_competitors_domain", text("lower(domain::text)")),
)

competitor_pages = Table(
    "competitor_pages",
    metadata,
    serial_id(),
    Column(
        "competitor_id",
        Integer,
        ForeignKey("competitors.id", name="competitor_pages_competitor_id_fkey"),
    ),
    Column("url", Text, nullable=False),
    Column("page_type", String(50)),
    Column("content_hash", String(64)),
    Column("screenshot_url", Text),
    Column("last_checked_at", TIMESTAMPTZ),
    timestamp_now("created_at"),
    Column(
        "host",
        Text,
        Computed("lower(\"substring\"(url, '^[A-Za-z]+://[^/?#]+'::text))", persisted=True),
    ),
    Column("state", Text, nullable=False, server_default=text("'watched'::text")),
    _flag("browser"),
    _selectors("include_selectors"),
    _selectors("exclude_selectors"),
    Column("check_every_s", Integer),
    timestamp_now("next_check_at"),
    *_lease(),
    Column("last_status", Integer),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("body_hash", Text),
    Column("extractor", Text),
    Column("noise", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("last_changed_at", TIMESTAMPTZ),
    CheckConstraint(
        "state = ANY (ARRAY['proposed'::text, 'watched'::text, 'ignored'::text, 'gone'::text])",
        name="ck_competitor_pages_state",
    ),
    CheckConstraint("check_every_s >= 60", name="ck_competitor_pages_check_every_s"),
    Index(
        "idx_competitor_pages_next_check_at",
        "next_check_at",
        postgresql_where=text(
            "(state = ANY (ARRAY['watched'::text, 'gone'::text])) AND next_check_at IS NOT NULL"
        ),
    ),
    Index(
        "idx_competitor_pages_lease_until",
        "host",
        "lease_until",
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    Index(
        "idx_competitor_pages_host",
        "host",
        "next_check_at",
        postgresql_where=text(
            "(state = ANY (ARRAY['watched'::text, 'gone'::text])) AND next_check_at IS NOT NULL"
        ),
    ),
    Index("idx_competitor_pages_competitor_id", "competitor_id", "id"),
)

competitor_snapshots = Table(
    "competitor_snapshots",
    metadata,
    bigserial_id(),
    Column(
        "page_id",
        Integer,
        ForeignKey(
            "competitor_pages.id", name="competitor_snapshots_page_id_fkey", ondelete="CASCADE"
        ),
        nullable=False,
    ),
    Column("state", Text, nullable=False),
    timestamp_now("taken_at", nullable=False),
    Column("url", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("extractor", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("prices", Text, nullable=False),
    Column("outline", Text, nullable=False),
    Column("html", BYTEA),
    Column("body_hash", Text),
    Column("screenshot_url", Text),
    Column("picture", BYTEA),
    CheckConstraint(
        "state = ANY (ARRAY['baseline'::text, 'pending'::text, 'old'::text])",
        name="ck_competitor_snapshots_state",
    ),
    CheckConstraint(
        "method = ANY (ARRAY['article'::text, 'blocks'::text])",
        name="ck_competitor_snapshots_method",
    ),
    Index("idx_competitor_snapshots_page_id", "page_id", text("id DESC")),
    Index(
        "uq_competitor_snapshots_baseline",
        "page_id",
        unique=True,
        postgresql_where=text("state = 'baseline'::text"),
    ),
)

competitor_hosts = Table(
    "competitor_hosts",
    metadata,
    Column("host", Text, primary_key=True),
    Column("robots", Text),
    Column("robots_status", Integer),
    Column("robots_at", TIMESTAMPTZ),
    Column("next_request_at", TIMESTAMPTZ),
)

competitor_changes = Table(
    "competitor_changes",
    metadata,
    serial_id(),
    Column(
        "page_id",
        Integer,
        ForeignKey("competitor_pages.id", name="competitor_changes_page_id_fkey"),
    ),
    Column("change_type", String(50)),
    Column("old_value", Text),
    Column("new_value", Text),
    Column("diff", Text),
    timestamp_now("detected_at"),
    Column("importance", Text, nullable=False, server_default=text("'medium'::text")),
    Column("summary", Text),
    Column("word_diff", Text),
    Column("details", JSONB),
    Column("old_screenshot_url", Text),
    Column("new_screenshot_url", Text),
    _flag("telling_due"),
    Column("acknowledged_at", TIMESTAMPTZ),
    CheckConstraint(
        "importance = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])",
        name="ck_competitor_changes_importance",
    ),
    Index("idx_competitor_changes_page_id", "page_id", text("id DESC")),
    Index("idx_competitor_changes_detected_at", text("detected_at DESC")),
    Index("idx_competitor_changes_telling_due", "id", postgresql_where=text("telling_due")),
)
