"""Metering: events of calls by month, and sums of them by hour and day.

`api_usage_events` becomes a table of partitions, one a month (UTC), with the columns, types and
defaults it had. There is no default partition: an event of a month that has none is refused, loudly.
Triggers keep the sums in step in the transaction that writes the events, whoever writes them.

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

#: What hangs on the table and cannot be moved to one of partitions.
REFUSE = """
DO $$
DECLARE
    found text;
BEGIN
    LOCK TABLE api_usage_events IN ACCESS EXCLUSIVE MODE;
    SELECT w.what INTO found
    FROM (
        SELECT DISTINCT 'view ' || v.relname AS what
        FROM pg_depend d
        JOIN pg_rewrite r ON r.oid = d.objid
        JOIN pg_class v ON v.oid = r.ev_class
        WHERE d.classid = 'pg_rewrite'::regclass
          AND d.refobjid = 'api_usage_events'::regclass
          AND v.oid <> d.refobjid
        UNION ALL
        SELECT 'rule ' || r.rulename
        FROM pg_rewrite r
        WHERE r.ev_class = 'api_usage_events'::regclass
        UNION ALL
        SELECT 'trigger ' || t.tgname
        FROM pg_trigger t
        WHERE t.tgrelid = 'api_usage_events'::regclass
          AND NOT t.tgisinternal
        UNION ALL
        SELECT 'foreign key ' || k.conname || ' of ' || k.conrelid::regclass
        FROM pg_constraint k
        WHERE k.confrelid = 'api_usage_events'::regclass
          AND k.conparentid = 0
        UNION ALL
        SELECT 'policy ' || p.polname
        FROM pg_policy p
        WHERE p.polrelid = 'api_usage_events'::regclass
        UNION ALL
        SELECT 'unique index ' || i.relname
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = 'api_usage_events'::regclass
          AND x.indisunique
          AND i.relname NOT IN ('api_usage_events_pkey', 'uq_api_usage_events_id')
        UNION ALL
        SELECT 'table ' || c.inhrelid::regclass
        FROM pg_inherits c
        JOIN pg_class p ON p.oid = c.inhparent AND p.relkind = 'r'
        WHERE c.inhparent = 'api_usage_events'::regclass
    ) w
    ORDER BY 1
    LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '% hangs on api_usage_events, which this revision replaces; '
            'drop it, upgrade, and create it again', found;
    END IF;
END
$$
"""

#: What the owner added and goes along: definitions to run on the new table.
REMEMBER = """
CREATE TEMP TABLE aegis_usage_extras ON COMMIT DROP AS
SELECT pg_get_indexdef(x.indexrelid) AS statement
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = 'api_usage_events'::regclass
  AND NOT x.indisunique
UNION ALL
SELECT format(
    'ALTER TABLE api_usage_events ADD CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)
)
FROM pg_constraint k
WHERE k.conrelid = 'api_usage_events'::regclass
  AND k.contype = 'f'
UNION ALL
SELECT format(
    'GRANT %s ON api_usage_events TO %s%s',
    a.privilege_type,
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM pg_class c
CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE c.oid = 'api_usage_events'::regclass
  AND a.grantee <> c.relowner
UNION ALL
SELECT format('ALTER TABLE api_usage_events OWNER TO %I', pg_get_userbyid(c.relowner))
FROM pg_class c
WHERE c.oid = 'api_usage_events'::regclass
  AND pg_get_userbyid(c.relowner) <> current_user
"""

REPLAY = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT statement FROM aegis_usage_extras LOOP
        EXECUTE one.statement;
    END LOOP;
    DROP TABLE aegis_usage_extras;
END
$$
"""

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

#: Times for events that have none a partition could be found for.
TIMES = """
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM api_usage_events_before
        WHERE created_at IS NULL
           OR created_at NOT BETWEEN '0001-01-02 00:00:00+00' AND '9999-11-30 00:00:00+00'
    ) THEN
        CREATE TABLE aegis_kept_0015_times AS
        SELECT b.id, b.created_at
        FROM api_usage_events_before b
        WHERE b.created_at IS NULL
           OR b.created_at NOT BETWEEN '0001-01-02 00:00:00+00' AND '9999-11-30 00:00:00+00';
        UPDATE api_usage_events_before b
        SET created_at = coalesce(
            (
                SELECT l.created_at FROM api_usage_events_before l
                WHERE l.id < b.id AND NOT EXISTS (
                    SELECT FROM aegis_kept_0015_times t WHERE t.id = l.id
                )
                ORDER BY l.id DESC LIMIT 1
            ),
            (
                SELECT h.created_at FROM api_usage_events_before h
                WHERE h.id > b.id AND NOT EXISTS (
                    SELECT FROM aegis_kept_0015_times t WHERE t.id = h.id
                )
                ORDER BY h.id LIMIT 1
            ),
            now()
        )
        FROM aegis_kept_0015_times t
        WHERE t.id = b.id;
    END IF;
END
$$
"""

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

#: All columns that both have, those that the owner added too.
COPY_UP = """
DO $$
DECLARE
    columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
        FROM pg_attribute
        WHERE attrelid = 'api_usage_events_before'::regclass
          AND attnum > 0
          AND NOT attisdropped
          AND attgenerated = ''
    );
BEGIN
    EXECUTE format(
        'INSERT INTO api_usage_events (%s, recorded_at) OVERRIDING SYSTEM VALUE '
        'SELECT %s, NULL FROM api_usage_events_before ORDER BY id',
        columns, columns
    );
END
$$
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

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0015_events') IS NULL THEN
        RETURN;
    END IF;
    -- None of these is in the sums, so the triggers may sleep.
    ALTER TABLE api_usage_events DISABLE TRIGGER USER;
    UPDATE api_usage_events e
    SET event_id = k.event_id,
        recorded_at = k.recorded_at,
        source = k.source
    FROM aegis_kept_0015_events k
    WHERE k.id = e.id AND k.created_at = e.created_at;
    ALTER TABLE api_usage_events ENABLE TRIGGER USER;
    INSERT INTO usage_event_ids SELECT * FROM aegis_kept_0015_ids;
    INSERT INTO usage_archives SELECT * FROM aegis_kept_0015_archives;
    INSERT INTO usage_hourly AS u
    SELECT k.*
    FROM aegis_kept_0015_hourly k
    WHERE date_trunc('month', k.hour AT TIME ZONE 'UTC')::date IN (
        SELECT a.month FROM usage_archives a WHERE a.state = 'dropped'
    )
    ON CONFLICT ON CONSTRAINT uq_usage_hourly DO UPDATE
    SET calls = u.calls + excluded.calls,
        errors = u.errors + excluded.errors,
        tokens = u.tokens + excluded.tokens,
        cost_usd = u.cost_usd + excluded.cost_usd,
        response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
        response_histogram = aegis_add_histograms(
            u.response_histogram, excluded.response_histogram
        );
    INSERT INTO usage_daily AS u
    SELECT k.*
    FROM aegis_kept_0015_daily k
    WHERE date_trunc('month', k.day)::date IN (
        SELECT a.month FROM usage_archives a WHERE a.state = 'dropped'
    )
    ON CONFLICT ON CONSTRAINT uq_usage_daily DO UPDATE
    SET calls = u.calls + excluded.calls,
        errors = u.errors + excluded.errors,
        tokens = u.tokens + excluded.tokens,
        cost_usd = u.cost_usd + excluded.cost_usd,
        response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
        response_histogram = aegis_add_histograms(
            u.response_histogram, excluded.response_histogram
        );
    DROP TABLE aegis_kept_0015_hourly, aegis_kept_0015_daily, aegis_kept_0015_ids,
        aegis_kept_0015_archives, aegis_kept_0015_events;
END
$$
"""

DOWN = (
    *(f"DROP FUNCTION {name} CASCADE" for name in TRIGGER_COMMENTS),
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

COPY_DOWN = """
DO $$
DECLARE
    columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
        FROM pg_attribute
        WHERE attrelid = 'api_usage_events'::regclass
          AND attnum > 0
          AND NOT attisdropped
          AND attgenerated = ''
    );
BEGIN
    EXECUTE format(
        'INSERT INTO api_usage_events (%s) OVERRIDING SYSTEM VALUE '
        'SELECT %s FROM api_usage_events_before ORDER BY id',
        columns, columns
    );
    -- A number may be in two months, if another program gave it twice.
    UPDATE api_usage_events e
    SET id = nextval(pg_get_serial_sequence('api_usage_events', 'id'))
    FROM (
        SELECT ctid AS place, row_number() OVER (PARTITION BY id ORDER BY ctid) AS n
        FROM api_usage_events
    ) d
    WHERE d.n > 1 AND d.place = e.ctid;
    IF to_regclass('aegis_kept_0015_times') IS NOT NULL THEN
        UPDATE api_usage_events e
        SET created_at = t.created_at
        FROM aegis_kept_0015_times t
        WHERE t.id = e.id;
        DROP TABLE aegis_kept_0015_times;
    END IF;
    ALTER TABLE api_usage_events ADD CONSTRAINT api_usage_events_pkey PRIMARY KEY (id);
END
$$
"""


def upgrade() -> None:
    op.execute(REFUSE)
    op.execute(REMEMBER)
    for function in FUNCTIONS:
        op.execute((SQL / f"{revision}_{function.partition('(')[0]}.sql").read_text("utf-8"))
    for statement in (*TABLES, *UP, TIMES):
        op.execute(statement)
    _make_triggers()
    for statement in (MONTHS, COPY_UP, "DROP TABLE api_usage_events_before", REPLAY, PUT_BACK):
        op.execute(statement)
    for function, comment in {**FUNCTIONS, **TRIGGER_COMMENTS}.items():
        _comment(f"FUNCTION {function}", comment)
    for table, comment in TABLE_COMMENTS.items():
        _comment(f"TABLE {table}", comment)
    for table, columns in COLUMN_COMMENTS.items():
        for column, comment in columns.items():
            _comment(f"COLUMN {table}.{column}", comment)


def downgrade() -> None:
    op.execute(REFUSE.replace("AND NOT t.tgisinternal", "AND NOT t.tgisinternal AND FALSE"))
    op.execute(REMEMBER)
    for statement in (*SET_ASIDE, *DOWN, COPY_DOWN):
        op.execute(statement)
    op.execute("DROP TABLE api_usage_events_before")
    op.execute(REPLAY)
    _comment("TABLE api_usage_events", FORMER_COMMENT)
    op.execute("DROP TABLE usage_archives, usage_event_ids, usage_daily, usage_hourly")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")


FORMER_COMMENT = "One row a call of the HTTP API: what rate limits and bills are made from."


def _make_triggers() -> None:
    text = (SQL / f"{revision}_aegis_count_usage.sql").read_text("utf-8")
    for name, (event, transition, source) in TRIGGERS.items():
        op.execute(text.replace("{name}", name).replace("{source}", source))
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON api_usage_events "
            f"REFERENCING {transition} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )


def _comment(place: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {place} IS '{quoted}'")
