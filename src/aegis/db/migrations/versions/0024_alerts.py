"""Alerts: what conditions become, who is told, and what waits to be sent; how metrics are watched.

Nine tables are new, and `infra_anomaly_alerts` says of each row which incident of which series it
is, so that two processes write it once. A price of a model says as of which date it was known.

Going back loses nothing: what the new tables and columns held is set aside in `aegis_kept_0024_*`,
and put back by the next upgrade.

Locks and cost: new columns without defaults rewrite nothing; the index on `infra_anomaly_alerts`
reads that table once, which is small.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0024"
down_revision = "0018"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"
TABLES = (
    *("alert_events", "alerts", "alert_rules", "alert_silences", "alert_channels"),
    *("alert_deliveries", "metric_rules", "metric_watch", "metric_watch_states"),
)

FIRST_ROWS = (
    "INSERT INTO alert_rules (name) VALUES ('default')",
    "INSERT INTO metric_watch (id) VALUES (1)",
    # Those that the revision of sessions brought along; whoever changes one says when.
    """
    UPDATE model_prices
    SET known_on = '2025-11-30',
        note = 'list price of the vendor''s interface, USD for a million tokens'
    WHERE valid_from = '2024-01-01 00:00:00+00'
      AND model LIKE 'claude-%'
    """,
)

TABLE_COMMENTS = {
    "alert_rules": "What becomes of conditions: how long they have to last, and who is told.",
    "alerts": "Conditions that were bad, from the first observation until they were over.",
    "alert_events": "What happened to alerts, one row each.",
    "alert_silences": "Alerts that nobody is told of for a time.",
    "alert_channels": "Ways to people by name. Their addresses are settings, and in no table.",
    "alert_deliveries": "Messages that are due, sent or given up: the outbox of alerts.",
    "metric_rules": "Rules by hand about metrics of containers, beside the detector.",
    "metric_watch": "Which process watches metrics, and how far it has come.",
    "metric_watch_states": "What the detectors know of each container.",
}

COLUMN_COMMENTS = {
    "alert_rules": {
        "name": "Name of the rule.",
        "source": "Who looks, as a glob.",
        "condition": "Id of the condition, as a glob.",
        "labels": "Labels that a condition must have, their values as globs.",
        "priority": "Of the rules that fit, the one with the highest counts.",
        "least_severity": "Less severe conditions raise no alert.",
        "hold_s": "Seconds that a condition has to be bad before it fires.",
        "clear_s": "Seconds that it has to be good before it is over.",
        "unknown_s": "Seconds that it may be unknown before that is a warning; 0 for ever.",
        "channels": "Who is told; every channel where it names none.",
        "escalate_s": "Seconds without acknowledgement until it is escalated; 0 for never.",
        "escalate_to": "Who is told then; every channel where it names none.",
        "remind_s": "Seconds between reminders while it lasts unacknowledged; 0 for none.",
        "group_s": "Seconds that the first alert of a group waits for others.",
        "enabled": "Whether it counts.",
    },
    "alerts": {
        "id": "Number of the alert.",
        "source": "Who looked, such as doctor or metrics.",
        "condition_id": "What was looked at; stable within the source.",
        "labels": "What rules and silences may ask for.",
        "group_key": "Alerts with the same one are told in one message.",
        "title": "What it is about, in a line.",
        "state": "pending, firing, recovering or resolved.",
        "severity": "warning or critical; the worst so far.",
        "condition_state": "What was last observed: ok, warning, critical or unknown.",
        "observed": "What was seen, with its unit.",
        "threshold": "From where on it is bad.",
        "advice": "What to do.",
        "link": "Where more is written.",
        "rule": "Name of the rule that counted.",
        "hold_s": "Seconds that it had to last before it fired.",
        "lasting": "Whether it lasts until the source says otherwise.",
        "began_at": "Since when it is bad.",
        "created_at": "When it was first observed.",
        "observed_at": "When it was last observed.",
        "unknown_since": "Since when it cannot be found out; NULL where it can.",
        "fired_at": "When it fired; NULL before.",
        "cleared_at": "When it was good again; NULL while it is bad.",
        "resolved_at": "When it was over; NULL before.",
        "acknowledged_at": "When somebody took it on.",
        "acknowledged_by": "Who did.",
        "note": "What was said to it.",
        "marked_false_at": "When somebody said that it was no alert.",
        "escalated_at": "When it was escalated.",
        "told_at": "When people were last told; NULL while nobody was.",
    },
    "alert_events": {
        "id": "Order of events.",
        "alert_id": "The alert; its events go with it.",
        "at": "When it happened.",
        "kind": "What happened.",
        "by": "Who did it; NULL where it came by itself.",
        "text": "More about it.",
    },
    "alert_silences": {
        "id": "Number of the silence.",
        "source": "Who looks, as a glob.",
        "condition": "Id of the condition, as a glob.",
        "labels": "Labels that an alert must have, their values as globs.",
        "until": "When it ends by itself.",
        "reason": "Why.",
        "created_by": "Who made it.",
        "created_at": "When it was made.",
        "ended_at": "When it was taken back; NULL where it was not.",
    },
    "alert_channels": {
        "name": "Name of the channel, as the settings have it.",
        "kind": "webhook, slack, email, command or apprise.",
        "shown": "Scheme and host of its address, nothing secret.",
        "least_severity": "It is told of nothing less severe.",
        "quiet_from": "Minute of the day in UTC from which only critical alerts are sent.",
        "quiet_until": "Minute of the day in UTC at which that ends.",
        "seen_at": "When a process that knows its address last said so.",
        "sent_at": "When a message last arrived.",
        "failed_at": "When one last did not.",
        "last_error": "Why not.",
        "failures": "Failures since the last message that arrived.",
    },
    "alert_deliveries": {
        "id": "Order of messages.",
        "delivery_id": "Told to the receiver with each attempt, so that it can tell repetitions.",
        "channel": "Name of the channel.",
        "group_key": "What may still be added to this message.",
        "state": "pending, sent, or dead after the last attempt.",
        "critical": "Whether it tells of anything critical.",
        "entries": "What it tells, one object an alert.",
        "attempts": "How often sending was begun.",
        "next_at": "Not before this time.",
        "lease_owner": "Who sends it now.",
        "lease_until": "Until when nobody else does.",
        "token": "Rises with each claim; who names an older one changes nothing.",
        "last_error": "Why the last attempt failed.",
        "created_at": "When it became due.",
        "sent_at": "When it arrived.",
    },
    "metric_rules": {
        "name": "Name of the rule.",
        "kind": "threshold, rate or absence.",
        "container": "Name of containers, as a glob.",
        "metric": "What is measured.",
        "above": "Whether values above the limit are bad, or those below.",
        "value": "The limit: of the metric, of its change per minute, or seconds of silence.",
        "for_s": "Seconds that it has to last.",
        "severity": "warning or critical.",
        "enabled": "Whether it counts.",
        "created_at": "When it was made.",
    },
    "metric_watch": {
        "id": "Always 1: there is one row.",
        "owner": "The process that watches.",
        "lease_until": "Until when no other does.",
        "done_until": "Samples up to here are in the saved states.",
    },
    "metric_watch_states": {
        "container_name": "The container, by name.",
        "state": "The state of its detectors, in a form of its own.",
        "saved_at": "When it was saved.",
    },
    "infra_anomaly_alerts": {
        "incident": "Series and number of the incident, written once; NULL for rows of plain SQL.",
        "marked_false_at": "When somebody said that it was no anomaly; NULL otherwise.",
        "first_id": "The first alert of those that began at about the same time; NULL for itself.",
    },
    "model_prices": {
        "known_on": "Day on which the price was looked up; NULL where nobody said.",
        "note": "Where it is from.",
    },
}

#: In the order in which rows may be put back.
KEPT = (
    *("alert_rules", "alerts", "alert_events", "alert_silences", "alert_channels"),
    *("alert_deliveries", "metric_rules", "metric_watch", "metric_watch_states"),
)
NUMBERED = ("alerts", "alert_events", "alert_silences", "alert_deliveries")

ANOMALIES_ASIDE = """
    CREATE TABLE aegis_kept_0024_anomalies AS
    SELECT id, incident, marked_false_at, first_id
    FROM infra_anomaly_alerts
    WHERE incident IS NOT NULL OR marked_false_at IS NOT NULL OR first_id IS NOT NULL
"""
PRICES_ASIDE = """
    CREATE TABLE aegis_kept_0024_prices AS
    SELECT model, valid_from, known_on, note
    FROM model_prices
"""
BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0024_anomalies') IS NULL THEN
        RETURN;
    END IF;
    UPDATE infra_anomaly_alerts a
    SET incident = k.incident,
        marked_false_at = k.marked_false_at,
        first_id = k.first_id
    FROM aegis_kept_0024_anomalies k
    WHERE a.id = k.id;
    UPDATE model_prices p
    SET known_on = k.known_on,
        note = k.note
    FROM aegis_kept_0024_prices k
    WHERE p.model = k.model
      AND p.valid_from = k.valid_from;
    DROP TABLE aegis_kept_0024_anomalies, aegis_kept_0024_prices;
END
$$
"""
TABLE_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0024_{table}') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM {table};
    INSERT INTO {table} SELECT * FROM aegis_kept_0024_{table};
    DROP TABLE aegis_kept_0024_{table};
END
$$
"""
NUMBERS_BACK = """
    SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id))
    FROM {table}
    HAVING max(id) IS NOT NULL
"""


def upgrade() -> None:
    op.execute((SQL / "0024_alert_tables.sql").read_text(encoding="utf-8"))
    for statement in (*FIRST_ROWS, BACK):
        op.execute(statement)
    for table in KEPT:
        op.execute(TABLE_BACK.format(table=table))
    for table in NUMBERED:
        op.execute(NUMBERS_BACK.format(table=table))
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute(ANOMALIES_ASIDE)
    op.execute(PRICES_ASIDE)
    for table in KEPT:
        op.execute(f"CREATE TABLE aegis_kept_0024_{table} AS SELECT * FROM {table}")
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX idx_session_events_at")
    for table in ("infra_anomaly_alerts", "model_prices"):
        drops = ", ".join(f"DROP COLUMN {name}" for name in COLUMN_COMMENTS[table])
        op.execute(f"ALTER TABLE {table} {drops}")
