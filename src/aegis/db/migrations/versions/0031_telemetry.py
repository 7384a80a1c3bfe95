"""How full file systems are, when containers started, a roll-up of five minutes, quiet times.

`container_metrics` and its roll-ups have a column for file systems. Roll-ups of five minutes are
what the chart of a day reads: a fifth of the rows of minutes, which are filled in from those that
are there. `container_starts` has one row for each start that Docker told or a counter showed,
`metric_collectors` says who measures a machine. Channels have quiet times with zone and days.

Going back drops what these columns and tables hold; samples, minutes and channels stay.

Locks and cost: columns without a default, which take a moment on each partition; five minutes are
filled in at about a million minutes in two seconds.
"""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

AS_BROUGHT = "list price of the vendor''s interface, USD for a million tokens"
UNCHECKED = "list price as known then, not checked against the vendor''s page since"

ROLLUPS = ("container_metrics_1m", "container_metrics_15m", "container_metrics_1h")

TABLES = (
    "ALTER TABLE container_metrics ADD COLUMN disk_percent DOUBLE PRECISION",
    *(
        f"""
        ALTER TABLE {table}
            ADD COLUMN disk_percent_avg DOUBLE PRECISION,
            ADD COLUMN disk_percent_max DOUBLE PRECISION
        """
        for table in ROLLUPS
    ),
    """
    CREATE TABLE container_metrics_5m (
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
        block_io_mb DOUBLE PRECISION,
        disk_percent_avg DOUBLE PRECISION,
        disk_percent_max DOUBLE PRECISION,
        CONSTRAINT container_metrics_5m_pkey PRIMARY KEY (container_name, bucket)
    )
    """,
    """
    INSERT INTO container_metrics_5m (
        container_name, bucket, samples, cpu_percent_avg, cpu_percent_max, mem_usage_mb_avg,
        mem_usage_mb_max, mem_percent_avg, mem_percent_max, net_io_mb, block_io_mb
    )
    SELECT
        container_name,
        date_bin('5 minutes', bucket, '2000-01-01 00:00:00+00'),
        sum(samples),
        sum(cpu_percent_avg * samples) / sum(samples) FILTER (WHERE cpu_percent_avg IS NOT NULL),
        max(cpu_percent_max),
        sum(mem_usage_mb_avg * samples) / sum(samples) FILTER (WHERE mem_usage_mb_avg IS NOT NULL),
        max(mem_usage_mb_max),
        sum(mem_percent_avg * samples) / sum(samples) FILTER (WHERE mem_percent_avg IS NOT NULL),
        max(mem_percent_max),
        sum(net_io_mb),
        sum(block_io_mb)
    FROM container_metrics_1m
    GROUP BY 1, 2
    ORDER BY 1, 2
    """,
    "CREATE INDEX idx_container_metrics_5m_bucket ON container_metrics_5m (bucket)",
    """
    CREATE TABLE container_starts (
        container_name VARCHAR(100) NOT NULL,
        started_at TIMESTAMPTZ NOT NULL,
        starts INTEGER NOT NULL DEFAULT 1,
        noted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT container_starts_pkey PRIMARY KEY (container_name, started_at),
        CONSTRAINT ck_container_starts_starts CHECK (starts >= 1)
    )
    """,
    "CREATE INDEX idx_container_starts_started_at ON container_starts (started_at)",
    """
    CREATE TABLE metric_collectors (
        host TEXT NOT NULL,
        owner TEXT NOT NULL,
        lease_until TIMESTAMPTZ NOT NULL,
        CONSTRAINT metric_collectors_pkey PRIMARY KEY (host)
    )
    """,
    "ALTER TABLE alert_channels ADD COLUMN quiet TEXT",
    """
    UPDATE alert_channels
    SET quiet = to_char(make_interval(mins => quiet_from), 'HH24:MI') || '-'
            || to_char(make_interval(mins => quiet_until), 'HH24:MI') || ' UTC'
    WHERE quiet_from <> quiet_until
    """,
    # Whoever reads a sum has to know what it rests on.
    f"""
    UPDATE model_prices
    SET note = '{UNCHECKED}'
    WHERE note = '{AS_BROUGHT}'
    """,
)

_DISK = {
    "disk_percent_avg": "Mean share of the file system in use, percent.",
    "disk_percent_max": "Highest such share.",
}
COLUMN_COMMENTS = {
    "container_metrics": {
        "disk_percent": "Share of the file system in use, percent; of machines alone.",
    },
    **dict.fromkeys(ROLLUPS, _DISK),
    "container_metrics_5m": {
        "container_name": "The container, by name.",
        "bucket": "Start of the interval.",
        "samples": "Samples in it; an interval without any has no row.",
        "cpu_percent_avg": "Mean processor use; 100 is one whole core. NULL where not measured.",
        "cpu_percent_max": "Highest processor use.",
        "mem_usage_mb_avg": "Mean memory in use, megabytes.",
        "mem_usage_mb_max": "Most memory in use, megabytes.",
        "mem_percent_avg": "Mean memory in use as a share of the limit, percent.",
        "mem_percent_max": "Highest such share.",
        "net_io_mb": "Megabytes received and sent in the interval; NULL where it is not known.",
        "block_io_mb": "Megabytes read from and written to disks in the interval; NULL likewise.",
        **_DISK,
    },
    "container_starts": {
        "container_name": "The container, by name.",
        "started_at": "When it was started.",
        "starts": "Starts since the row before: more than one where they came too fast to be seen.",
        "noted_at": "When it was noted.",
    },
    "metric_collectors": {
        "host": "Name of the machine.",
        "owner": "The process that measures it.",
        "lease_until": "When another process may; extended with each round.",
    },
    "alert_channels": {
        "quiet": "When only critical alerts are sent: times, days and zone, as the settings say.",
        "quiet_from": "Minute of the day from which the first of these times lasts, in its zone.",
        "quiet_until": "Minute of the day at which it ends.",
    },
}
TABLE_COMMENTS = {
    "container_metrics_5m": "Resource use by container and five minutes.",
    "metric_collectors": "Which process measures which machine.",
    "container_starts": "Starts of containers and services, for loops of restarts.",
}
OLD_COMMENTS = {
    "quiet_from": "Minute of the day in UTC from which only critical alerts are sent.",
    "quiet_until": "Minute of the day in UTC at which that ends.",
}


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute("ALTER TABLE alert_channels DROP COLUMN quiet")
    op.execute(f"UPDATE model_prices SET note = '{AS_BROUGHT}' WHERE note = '{UNCHECKED}'")
    for column, text in OLD_COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN alert_channels.{column} IS '{text}'")
    op.execute("DROP TABLE metric_collectors, container_starts, container_metrics_5m")
    for table in ROLLUPS:
        op.execute(
            f"ALTER TABLE {table} DROP COLUMN disk_percent_avg, DROP COLUMN disk_percent_max"
        )
    op.execute("ALTER TABLE container_metrics DROP COLUMN disk_percent")
