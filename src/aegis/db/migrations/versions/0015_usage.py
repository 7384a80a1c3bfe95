"""Metering: events of calls by month, and sums of them by hour and day.

`api_usage_events` becomes a table of partitions, one a month (UTC), with the columns, types and
defaults it had. There is no default partition: an event of a month that has none is refused,
loudly. Triggers keep the sums in step in the transaction that writes the events, whoever writes
them.

Events without a time, or with one outside the years 1 to 9999, are given that of the event with
the nearest lower number (else the nearest higher one, else now), since a partition needs one;
their own is set aside in `aegis_kept_0015_times`. What the owner added to the table (columns,
indexes that are not unique, rights) is taken along; what cannot be, such as a view on it, stops
the upgrade with a line that names it.

Going back loses nothing: what the older tables cannot hold is set aside in tables whose names begin
with `aegis_kept_0015`, and put back by the next upgrade.

Locks and cost: ACCESS EXCLUSIVE on `api_usage_events` until the revision commits. The events are
copied, so the disk has to hold them twice for a moment.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

TABLES = (
    """
    CREATE TABLE usage_hourly (
        hour TIMESTAMPTZ NOT NULL,
        customer_id VARCHAR(100) NOT NULL,
        api_key_id UUID,
        endpoint VARCHAR(200) NOT NULL,
        method VARCHAR(10) NOT NULL,
        calls BIGINT NOT NULL DEFAULT 0,
        errors BIGINT NOT NULL DEFAULT 0,
        tokens BIGINT NOT NULL DEFAULT 0,
        cost_usd NUMERIC(20, 6) NOT NULL DEFAULT 0,
        response_ms_sum BIGINT NOT NULL DEFAULT 0,
        response_histogram INTEGER[] NOT NULL DEFAULT '{}',
        CONSTRAINT uq_usage_hourly
            UNIQUE NULLS NOT DISTINCT (customer_id, hour, api_key_id, endpoint, method)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX idx_usage_hourly_hour ON usage_hourly (hour)",
    """
    CREATE TABLE usage_daily (
        day DATE NOT NULL,
        customer_id VARCHAR(100) NOT NULL,
        api_key_id UUID,
        endpoint VARCHAR(200) NOT NULL,
        method VARCHAR(10) NOT NULL,
        calls BIGINT NOT NULL DEFAULT 0,
        errors BIGINT NOT NULL DEFAULT 0,
        tokens BIGINT NOT NULL DEFAULT 0,
        cost_usd NUMERIC(20, 6) NOT NULL DEFAULT 0,
        response_ms_sum BIGINT NOT NULL DEFAULT 0,
        response_histogram INTEGER[] NOT NULL DEFAULT '{}',
        CONSTRAINT uq_usage_daily
            UNIQUE NULLS NOT DISTINCT (customer_id, day, api_key_id, endpoint, method)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX idx_usage_daily_day ON usage_daily (day)",
    """
    CREATE TABLE usage_event_ids (
        customer_id VARCHAR(100) NOT NULL,
        event_id VARCHAR(200) NOT NULL,
        created_at TIMESTAMPTZ NOT NULL,
        recorded_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT usage_event_ids_pkey PRIMARY KEY (customer_id, event_id)
    )
    """,
    # Rows come in the order of this column: enough to find those that can be forgotten.
    "CREATE INDEX idx_usage_event_ids_recorded_at ON usage_event_ids USING brin (recorded_at)",
    """
    CREATE TABLE usage_archives (
        month DATE NOT NULL,
        state TEXT NOT NULL,
        path TEXT NOT NULL,
        rows BIGINT NOT NULL,
        size_bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        digest TEXT NOT NULL,
        exported_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        dropped_at TIMESTAMPTZ,
        CONSTRAINT usage_archives_pkey PRIMARY KEY (month, path),
        CONSTRAINT ck_usage_archives_state CHECK (state IN ('exported', 'dropped')),
        CONSTRAINT ck_usage_archives_dropped CHECK ((state = 'dropped') = (dropped_at IS NOT NULL))
    )
    """,
)

#: Both ways begin so.
AWAY = "ALTER TABLE api_usage_events RENAME TO api_usage_events_before"

#: The sequence of `id` outlives the table.
SEQUENCE = """
DO $$
BEGIN
    EXECUTE format(
        'ALTER SEQUENCE %s OWNED BY api_usage_events.id',
        pg_get_serial_sequence('api_usage_events_before', 'id')
    );
END
$$
"""

UP = (
    AWAY,
    """
    CREATE TABLE api_usage_events (
        LIKE api_usage_events_before
            INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING GENERATED
            INCLUDING STORAGE,
        event_id VARCHAR(200),
        recorded_at TIMESTAMPTZ DEFAULT NOW(),
        source VARCHAR(50)
    ) PARTITION BY RANGE (created_at)
    """,
    "ALTER TABLE api_usage_events ALTER COLUMN created_at SET NOT NULL",
    # No constraint: `pg_restore --clean` fails to drop those of partitions.
    "CREATE UNIQUE INDEX uq_api_usage_events_id ON api_usage_events (id, created_at)",
    SEQUENCE,
)

#: The months that have events, those that late events come for, and the six that come.
MONTHS = """
SELECT aegis_usage_partition(m.month)
FROM (
    SELECT DISTINCT date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month
    FROM api_usage_events_before
    UNION
    SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date
    FROM generate_series(-2, 6) AS n
) m
ORDER BY m.month
"""

TRIGGERS = {
    "aegis_count_usage": (
        "INSERT",
        "NEW TABLE AS added",
        "SELECT 1 AS sign, a.* FROM added a",
    ),
    "aegis_uncount_usage": (
        "DELETE",
        "OLD TABLE AS removed",
        "SELECT -1 AS sign, r.* FROM removed r",
    ),
    "aegis_recount_usage": (
        "UPDATE",
        "OLD TABLE AS removed NEW TABLE AS added",
        "SELECT 1 AS sign, a.* FROM added a UNION ALL SELECT -1, r.* FROM removed r",
    ),
}

FUNCTIONS = {
    "aegis_usage_bucket(integer)": "Number of the histogram's bucket for a response time.",
    "aegis_usage_histogram(integer[], numeric[])": "A histogram from buckets and their counts.",
    "aegis_add_histograms(integer[], integer[])": "The sum of two histograms, bucket by bucket.",
    "aegis_usage_partition(date)": "Make the partition of a month's events, if there is none yet.",
}
TRIGGER_COMMENTS = {
    "aegis_count_usage()": "Add events to the sums, in the transaction that writes them.",
    "aegis_uncount_usage()": "Take deleted events out of the sums.",
    "aegis_recount_usage()": "Bring changed events into the sums as they are now.",
}

SUMS = {
    "customer_id": "Who pays.",
    "api_key_id": "The key that was used; NULL for none, which is one value like any other.",
    "endpoint": "Template of the path, such as /v1/things/{id}.",
    "method": "HTTP method.",
    "calls": "How many calls.",
    "errors": "How many of them were answered with a status of 400 or above.",
    "tokens": "Tokens of language models they used.",
    "cost_usd": "What they cost the customer, US dollars.",
    "response_ms_sum": "Milliseconds until the answer, summed over calls that have it.",
    "response_histogram": (
        "Calls by response time; element n > 1 counts those above 1.1^(n-3) and up to 1.1^(n-2) "
        "milliseconds, element 1 those of 0."
    ),
}
TABLE_COMMENTS = {
    "api_usage_events": (
        "One row a call, partitioned by month (UTC): what rate limits and bills are made from."
    ),
    "usage_hourly": "Sums of api_usage_events by hour; kept when the month's events are dropped.",
    "usage_daily": "Sums of api_usage_events by day (UTC); kept when the events are dropped.",
    "usage_event_ids": "Senders' ids of events, so that none is counted twice.",
    "usage_archives": "Files that a month's events were exported to.",
}
COLUMN_COMMENTS = {
    "api_usage_events": {
        "event_id": "The sender's id, unique for the customer; NULL if it gave none.",
        "recorded_at": "When it was written; NULL if that was before events had this column.",
        "source": "Who reported it: v1, middleware, events, import; NULL for other programs.",
    },
    "usage_hourly": {"hour": "Beginning of the hour.", **SUMS},
    "usage_daily": {"day": "Calendar day, UTC.", **SUMS},
    "usage_event_ids": {
        "customer_id": "Who pays for the event.",
        "event_id": "The sender's id.",
        "created_at": "When the call was made.",
        "recorded_at": "When the event was written.",
    },
    "usage_archives": {
        "month": "First day of the month.",
        "state": "exported: the events are in their table too; dropped: in the file alone.",
        "path": "The file, on the machine that wrote it.",
        "rows": "How many events it holds.",
        "size_bytes": "Size of the file.",
        "sha256": "SHA-256 of the file, hexadecimal.",
        "digest": "SHA-256 of the events' values, hexadecimal.",
        "exported_at": "When it was written, and compared with the table.",
        "dropped_at": "When the events left the database.",
    },
}

#: Sums of months whose events were dropped cannot be computed again.
SET_ASIDE = (
    "CREATE TABLE aegis_kept_0015_hourly AS SELECT * FROM usage_hourly",
    "CREATE TABLE aegis_kept_0015_daily AS SELECT * FROM usage_daily",
    "CREATE TABLE aegis_kept_0015_ids AS SELECT * FROM usage_event_ids",
    "CREATE TABLE aegis_kept_0015_archives AS SELECT * FROM usage_archives",
    """
    CREATE TABLE aegis_kept_0015_events AS
    SELECT id, created_at, event_id, recorded_at, source
    FROM api_usage_events
    WHERE event_id IS NOT NULL
       OR recorded_at IS NOT NULL
       OR source IS NOT NULL
    """,
)

DOWN = (
    AWAY,
    """
    CREATE TABLE api_usage_events (
        LIKE api_usage_events_before
            INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING GENERATED
            INCLUDING STORAGE
    )
    """,
    "ALTER TABLE api_usage_events "
    "DROP COLUMN event_id, DROP COLUMN recorded_at, DROP COLUMN source, "
    "ALTER COLUMN created_at DROP NOT NULL",
    SEQUENCE,
)


def upgrade() -> None:
    for name in ("refuse", "remember", *(name.partition("(")[0] for name in FUNCTIONS)):
        op.execute(_read(name))
    for statement in (*TABLES, *UP, _read("times")):
        op.execute(statement)
    _make_triggers()
    _make_comments()
    op.execute(MONTHS)
    op.execute(_read("copy_up"))
    op.execute("DROP TABLE api_usage_events_before")
    op.execute(_read("replay"))
    op.execute(_read("put_back"))


def downgrade() -> None:
    # Our own triggers go with their functions.
    for function in TRIGGER_COMMENTS:
        op.execute(f"DROP FUNCTION {function} CASCADE")
    for statement in (_read("refuse"), _read("remember"), *SET_ASIDE, *DOWN, _read("copy_down")):
        op.execute(statement)
    op.execute("DROP TABLE api_usage_events_before")
    op.execute(_read("replay"))
    _comment("TABLE api_usage_events", FORMER_COMMENT)
    op.execute("DROP TABLE usage_archives, usage_event_ids, usage_daily, usage_hourly")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")


FORMER_COMMENT = "One row a call of the HTTP API: what rate limits and bills are made from."


def _make_triggers() -> None:
    text = _read("aegis_count_usage")
    for name, (event, transition, source) in TRIGGERS.items():
        op.execute(text.replace("{name}", name).replace("{source}", source))
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON api_usage_events "
            f"REFERENCING {transition} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )


def _make_comments() -> None:
    """Comment on everything, before partitions copy the columns' comments."""
    for function, comment in {**FUNCTIONS, **TRIGGER_COMMENTS}.items():
        _comment(f"FUNCTION {function}", comment)
    for table, comment in TABLE_COMMENTS.items():
        _comment(f"TABLE {table}", comment)
    for table, columns in COLUMN_COMMENTS.items():
        for column, comment in columns.items():
            _comment(f"COLUMN {table}.{column}", comment)


def _read(name: str) -> str:
    return (SQL / f"{revision}_{name}.sql").read_text(encoding="utf-8")


def _comment(place: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {place} IS '{quoted}'")
