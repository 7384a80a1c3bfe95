"""Container metrics by day, roll-ups of a minute, a quarter of an hour and an hour.

`container_metrics` becomes a partitioned table with the same columns. The table that was there
becomes its first partition as it is, up to the end of today (UTC), unless it is empty; rows
without a time, or of a later time, move to the default partition. A partitioned table has no key
without its partition column, and that may be NULL: `id` is unique together with `timestamp`.

A statement trigger notes the hours of samples that come late, so that roll-ups are right whoever
writes them. Samples that Aegis takes in by COPY go to their day's partition and note it there.

Going back makes one plain table of all samples, and keeps the roll-ups of samples that are gone.

Locks and cost: `container_metrics` is locked while one index is built on it and its times are
checked, about a second for a million rows; the way back writes it anew.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

REFUSE_VIEWS = """
DO $$
DECLARE
    readers TEXT;
BEGIN
    SELECT string_agg(DISTINCT r.ev_class::regclass::text, ', ')
    INTO readers
    FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass
      AND d.refobjid = 'container_metrics'::regclass
      AND r.ev_class <> d.refobjid;
    IF readers IS NOT NULL THEN
        RAISE EXCEPTION
            'The view % reads container_metrics, which is exchanged; drop it and create it after.',
            readers;
    END IF;
END
$$
"""

PARTITION = """
DO $$
DECLARE
    bound TIMESTAMPTZ := (date_trunc('day', now() AT TIME ZONE 'UTC') + INTERVAL '1 day')
        AT TIME ZONE 'UTC';
    before TEXT := 'container_metrics_before_'
        || to_char(now() AT TIME ZONE 'UTC' + INTERVAL '1 day', 'YYYYMMDD');
    ids TEXT := pg_get_serial_sequence('container_metrics', 'id');
    about TEXT := obj_description('container_metrics'::regclass, 'pg_class');
    grants RECORD;
    filled BOOLEAN;
BEGIN
    LOCK TABLE container_metrics IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE container_metrics RENAME TO %I', before);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT container_metrics_pkey', before);
    EXECUTE format(
        'ALTER INDEX IF EXISTS idx_container_metrics_name_timestamp RENAME TO %I',
        before || '_name_timestamp'
    );
    EXECUTE format(
        'CREATE TABLE container_metrics (LIKE %I INCLUDING ALL EXCLUDING INDEXES) '
        'PARTITION BY RANGE (timestamp)',
        before
    );
    EXECUTE format('COMMENT ON TABLE container_metrics IS %L', about);
    EXECUTE format('ALTER SEQUENCE %s OWNED BY container_metrics.id', ids);
    FOR grants IN
        SELECT a.privilege_type, a.is_grantable,
               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = to_regclass(quote_ident(before))
    LOOP
        EXECUTE format(
            'GRANT %s ON container_metrics TO %s%s',
            grants.privilege_type,
            grants.grantee,
            CASE WHEN grants.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        );
    END LOOP;
    CREATE TABLE container_metrics_default PARTITION OF container_metrics DEFAULT;
    EXECUTE format(
        'WITH misfits AS (
             DELETE FROM %I WHERE timestamp IS NULL OR timestamp >= %L RETURNING *
         )
         INSERT INTO container_metrics_default SELECT * FROM misfits',
        before,
        bound
    );
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', before) INTO filled;
    IF filled THEN
        EXECUTE format(
            'ALTER TABLE container_metrics ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
            before,
            bound
        );
    ELSE
        EXECUTE format('DROP TABLE %I', before);
    END IF;
END
$$
"""

INDEXES = (
    """
    CREATE INDEX idx_container_metrics_name_timestamp
        ON container_metrics (container_name, timestamp DESC)
    """,
    # What came last is read by time alone; rows lie in the order in which they came.
    """
    CREATE INDEX idx_container_metrics_timestamp
        ON container_metrics USING brin (timestamp) WITH (pages_per_range = 16)
    """,
    # An index and no constraint: `pg_restore --clean` cannot drop a partition's constraint.
    "CREATE UNIQUE INDEX uq_container_metrics_id ON container_metrics (id, timestamp)",
)

_ROLLUP_COLUMNS = """
    container_name VARCHAR(100) NOT NULL,
    bucket TIMESTAMPTZ NOT NULL,
    samples INTEGER NOT NULL,
    cpu_percent_avg DOUBLE PRECISION,
    cpu_percent_max DOUBLE PRECISION,
    mem_usage_mb_avg DOUBLE PRECISION,
    mem_usage_mb_max DOUBLE PRECISION,
    mem_percent_avg DOUBLE PRECISION,
    mem_percent_max DOUBLE PRECISION,
    net_io_mb DOUBLE PRECISION,
    block_io_mb DOUBLE PRECISION
"""
ROLLUPS = {"container_metrics_1m": "minute", "container_metrics_15m": "15 minutes",
           "container_metrics_1h": "hour"}  # fmt: skip

TABLES = (
    f"""
    CREATE TABLE container_metrics_1m (
        {_ROLLUP_COLUMNS}
    ) PARTITION BY RANGE (bucket)
    """,
    """
    CREATE UNIQUE INDEX uq_container_metrics_1m_bucket
        ON container_metrics_1m (container_name, bucket)
    """,
    "CREATE TABLE container_metrics_1m_default PARTITION OF container_metrics_1m DEFAULT",
    f"""
    CREATE TABLE container_metrics_15m (
        {_ROLLUP_COLUMNS},
        CONSTRAINT container_metrics_15m_pkey PRIMARY KEY (container_name, bucket)
    )
    """,
    "CREATE INDEX idx_container_metrics_15m_bucket ON container_metrics_15m (bucket)",
    f"""
    CREATE TABLE container_metrics_1h (
        {_ROLLUP_COLUMNS},
        CONSTRAINT container_metrics_1h_pkey PRIMARY KEY (container_name, bucket)
    )
    """,
    "CREATE INDEX idx_container_metrics_1h_bucket ON container_metrics_1h (bucket)",
    """
    CREATE TABLE metric_rollups (
        id INTEGER NOT NULL DEFAULT 1,
        done_until TIMESTAMPTZ,
        CONSTRAINT metric_rollups_pkey PRIMARY KEY (id),
        CONSTRAINT ck_metric_rollups_one CHECK (id = 1)
    )
    """,
    "INSERT INTO metric_rollups (id) VALUES (1)",
    """
    CREATE TABLE metric_late_hours (
        hour TIMESTAMPTZ NOT NULL,
        noted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT metric_late_hours_pkey PRIMARY KEY (hour)
    )
    """,
)

#: The UPDATE is a lock: whoever rolls the hour up waits until these samples are committed.
LATE = (
    """
    CREATE FUNCTION aegis_note_late_metrics() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO metric_late_hours (hour)
        SELECT DISTINCT date_trunc('hour', timestamp, 'UTC')
        FROM added
        WHERE timestamp < now() - INTERVAL '5 minutes'
          AND timestamp > now() - INTERVAL '10 years'
        ORDER BY 1
        ON CONFLICT (hour) DO UPDATE SET noted_at = now();
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER aegis_note_late_metrics
        AFTER INSERT ON container_metrics
        REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION aegis_note_late_metrics()
    """,
)

_OF_ROLLUPS = {
    "container_name": "The container, by name.",
    "bucket": "Start of the interval.",
    "samples": "Samples in it; an interval without any has no row.",
    "cpu_percent_avg": "Mean processor use; 100 is one whole core. NULL where it was not measured.",
    "cpu_percent_max": "Highest processor use.",
    "mem_usage_mb_avg": "Mean memory in use, megabytes.",
    "mem_usage_mb_max": "Most memory in use, megabytes.",
    "mem_percent_avg": "Mean memory in use as a share of the limit, percent.",
    "mem_percent_max": "Highest such share.",
    "net_io_mb": "Megabytes received and sent in the interval; NULL where it is not known.",
    "block_io_mb": "Megabytes read from and written to disks in the interval; NULL likewise.",
}
COLUMN_COMMENTS = {
    **dict.fromkeys(ROLLUPS, _OF_ROLLUPS),
    "metric_rollups": {
        "id": "Always 1: there is one row.",
        "done_until": "Samples up to here are rolled up; NULL before the first time.",
    },
    "metric_late_hours": {
        "hour": "Start of the hour.",
        "noted_at": "When the newest of its late samples came.",
    },
}
TABLE_COMMENTS = {
    **{table: f"Resource use by container and {unit}." for table, unit in ROLLUPS.items()},
    "metric_rollups": "How far the roll-ups of container metrics have come.",
    "metric_late_hours": "Hours with samples that came after their time, to be rolled up again.",
}

KEPT = ("15m", "1h")

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0018_{size}') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO container_metrics_{size} SELECT * FROM aegis_kept_0018_{size};
    DROP TABLE aegis_kept_0018_{size};
END
$$
"""

TO_ONE_TABLE = """
DO $$
DECLARE
    ids TEXT := pg_get_serial_sequence('container_metrics', 'id');
    about TEXT := obj_description('container_metrics'::regclass, 'pg_class');
BEGIN
    LOCK TABLE container_metrics IN ACCESS EXCLUSIVE MODE;
    CREATE TABLE container_metrics_plain (LIKE container_metrics INCLUDING ALL EXCLUDING INDEXES);
    INSERT INTO container_metrics_plain SELECT * FROM container_metrics ORDER BY id;
    EXECUTE format('ALTER SEQUENCE %s OWNED BY container_metrics_plain.id', ids);
    EXECUTE format('COMMENT ON TABLE container_metrics_plain IS %L', about);
    DROP TABLE container_metrics;
    ALTER TABLE container_metrics_plain RENAME TO container_metrics;
    ALTER TABLE container_metrics ADD CONSTRAINT container_metrics_pkey PRIMARY KEY (id);
    CREATE INDEX idx_container_metrics_name_timestamp
        ON container_metrics (container_name, timestamp DESC);
END
$$
"""


def upgrade() -> None:
    op.execute(REFUSE_VIEWS)
    op.execute(PARTITION)
    for statement in (*INDEXES, *TABLES, *LATE):
        op.execute(statement)
    for size in KEPT:
        op.execute(PUT_BACK.format(size=size))
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute(REFUSE_VIEWS)
    for size in KEPT:
        op.execute(f"CREATE TABLE aegis_kept_0018_{size} AS SELECT * FROM container_metrics_{size}")
    op.execute(TO_ONE_TABLE)
    op.execute("DROP FUNCTION aegis_note_late_metrics()")
    op.execute("DROP TABLE metric_late_hours, metric_rollups")
    op.execute("DROP TABLE container_metrics_1m, container_metrics_15m, container_metrics_1h")
