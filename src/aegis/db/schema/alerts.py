"""Alerts and what is sent about them; how metrics are watched."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = [
    "alert_channels",
    "alert_deliveries",
    "alert_events",
    "alert_rules",
    "alert_silences",
    "alerts",
    "metric_rules",
    "metric_watch",
    "metric_watch_states",
]


def _text(name: str, default: str | None = None) -> Column[Any]:
    given = None if default is None else text(f"'{default}'::text")
    return Column(name, Text, nullable=False, server_default=given)


def _seconds(name: str, default: str) -> Column[Any]:
    return Column(name, Double, nullable=False, server_default=text(default))


def _flag(name: str, default: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False, server_default=text(default))


def _labels() -> Column[Any]:
    return Column("labels", JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def _names(name: str) -> Column[Any]:
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'::text[]"))


def _choice(table: str, column: str, *choices: str) -> CheckConstraint:
    listed = ", ".join(f"'{choice}'" for choice in choices)
    return CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


alert_rules = Table(
    "alert_rules",
    metadata,
    _text("name"),
    _text("source", "*"),
    _text("condition", "*"),
    _labels(),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    _text("least_severity", "warning"),
    _seconds("hold_s", "60"),
    _seconds("clear_s", "120"),
    _seconds("unknown_s", "900"),
    _names("channels"),
    _seconds("escalate_s", "0"),
    _names("escalate_to"),
    _seconds("remind_s", "0"),
    _seconds("group_s", "5"),
    _flag("enabled", "true"),
    PrimaryKeyConstraint("name", name="alert_rules_pkey"),
    _choice("alert_rules", "least_severity", "warning", "critical"),
    CheckConstraint(
        "hold_s >= 0 AND clear_s >= 0 AND unknown_s >= 0 AND escalate_s >= 0 "
        "AND remind_s >= 0 AND group_s >= 0",
        name="ck_alert_rules_seconds",
    ),
)

alerts = Table(
    "alerts",
    metadata,
    bigserial_id(),
    _text("source"),
    _text("condition_id"),
    _labels(),
    _text("group_key"),
    _text("title"),
    _text("state"),
    _text("severity"),
    _text("condition_state"),
    Column("observed", Text),
    Column("threshold", Text),
    Column("advice", Text),
    Column("link", Text),
    _text("rule"),
    Column("hold_s", Double, nullable=False),
    _flag("lasting", "false"),
    Column("began_at", TIMESTAMPTZ, nullable=False),
    timestamp_now("created_at", nullable=False),
    timestamp_now("observed_at", nullable=False),
    Column("unknown_since", TIMESTAMPTZ),
    Column("fired_at", TIMESTAMPTZ),
    Column("cleared_at", TIMESTAMPTZ),
    Column("resolved_at", TIMESTAMPTZ),
    Column("acknowledged_at", TIMESTAMPTZ),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Column("marked_false_at", TIMESTAMPTZ),
    Column("escalated_at", TIMESTAMPTZ),
    Column("told_at", TIMESTAMPTZ),
    _choice("alerts", "state", "pending", "firing", "recovering", "resolved"),
    _choice("alerts", "severity", "warning", "critical"),
    _choice("alerts", "condition_state", "ok", "warning", "critical", "unknown"),
    CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="ck_alerts_resolved"),
    Index(
        "uq_alerts_open",
        "source",
        "condition_id",
        unique=True,
        postgresql_where=text("state <> 'resolved'::text"),
    ),
    Index("idx_alerts_condition", "source", "condition_id", text("id DESC")),
    Index(
        "idx_alerts_resolved_at",
        "resolved_at",
        postgresql_where=text("state = 'resolved'::text"),
    ),
)

alert_events = Table(
    "alert_events",
    metadata,
    bigserial_id(),
    Column("alert_id", BigInteger, nullable=False),
    timestamp_now("at", nullable=False),
    _text("kind"),
    Column("by", Text),
    Column("text", Text),
    ForeignKeyConstraint(
        ["alert_id"], ["alerts.id"], name="alert_events_alert_id_fkey", ondelete="CASCADE"
    ),
    _choice(
        "alert_events",
        "kind",
        *("fired", "worsened", "eased", "recovered", "acknowledged", "marked_false"),
        *("escalated", "reminded", "silenced", "dropped"),
    ),
    Index("idx_alert_events_alert_id", "alert_id", "id"),
)

alert_silences = Table(
    "alert_silences",
    metadata,
    bigserial_id(),
    _text("source", "*"),
    _text("condition", "*"),
    _labels(),
    Column("until", TIMESTAMPTZ, nullable=False),
    Column("reason", Text),
    Column("created_by", Text),
    timestamp_now("created_at", nullable=False),
    Column("ended_at", TIMESTAMPTZ),
    Index("idx_alert_silences_until", "until", postgresql_where=text("ended_at IS NULL")),
)

alert_channels = Table(
    "alert_channels",
    metadata,
    _text("name"),
    _text("kind"),
    _text("shown"),
    _text("least_severity", "warning"),
    Column("quiet_from", Integer),
    Column("quiet_until", Integer),
    timestamp_now("seen_at", nullable=False),
    Column("sent_at", TIMESTAMPTZ),
    Column("failed_at", TIMESTAMPTZ),
    Column("last_error", Text),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("quiet", Text),
    PrimaryKeyConstraint("name", name="alert_channels_pkey"),
    _choice("alert_channels", "kind", "webhook", "slack", "email", "command", "apprise"),
    _choice("alert_channels", "least_severity", "warning", "critical"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    bigserial_id(),
    Column("delivery_id", UUID, nullable=False, server_default=text("gen_random_uuid()")),
    _text("channel"),
    _text("group_key"),
    _text("state", "pending"),
    Column("critical", Boolean, nullable=False),
    Column("entries", JSONB, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    timestamp_now("next_at", nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", TIMESTAMPTZ),
    Column("token", BigInteger, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    timestamp_now("created_at", nullable=False),
    Column("sent_at", TIMESTAMPTZ),
    UniqueConstraint("delivery_id", name="uq_alert_deliveries_delivery_id"),
    _choice("alert_deliveries", "state", "pending", "sent", "dead"),
    Index("idx_alert_deliveries_due", "next_at", postgresql_where=text("state = 'pending'::text")),
    Index("idx_alert_deliveries_channel", "channel", text("created_at DESC")),
)

metric_rules = Table(
    "metric_rules",
    metadata,
    _text("name"),
    _text("kind"),
    _text("container", "*"),
    _text("metric"),
    _flag("above", "true"),
    Column("value", Double, nullable=False),
    _seconds("for_s", "60"),
    _text("severity", "warning"),
    _flag("enabled", "true"),
    timestamp_now("created_at", nullable=False),
    PrimaryKeyConstraint("name", name="metric_rules_pkey"),
    _choice("metric_rules", "kind", "threshold", "rate", "absence"),
    _choice("metric_rules", "severity", "warning", "critical"),
)

metric_watch = Table(
    "metric_watch",
    metadata,
    Column("id", Integer, nullable=False, server_default=text("1"), autoincrement=False),
    Column("owner", Text),
    Column("lease_until", TIMESTAMPTZ),
    Column("done_until", TIMESTAMPTZ),
    PrimaryKeyConstraint("id", name="metric_watch_pkey"),
    CheckConstraint("id = 1", name="ck_metric_watch_one"),
)

metric_watch_states = Table(
    "metric_watch_states",
    metadata,
    Column("container_name", String(100), nullable=False),
    Column("state", LargeBinary, nullable=False),
    timestamp_now("saved_at", nullable=False),
    PrimaryKeyConstraint("container_name", name="metric_watch_states_pkey"),
)
