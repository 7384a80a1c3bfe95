"""What must not run out or be wrong: sequences, partitions, checksums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from aegis.ops.health.looking import check, rows, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen
from aegis.ops.health.ranges import ahead_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS", "PARTITIONS"]

#: Each partition of a table that is parted by one column of time: the table, its bound.
PARTITIONS = """
SELECT
    p.partrelid::regclass::text,
    c.oid::regclass::text,
    pg_get_expr(c.relpartbound, c.oid),
    p.partdefid <> 0
FROM pg_partitioned_table p
JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
LEFT JOIN pg_inherits i ON i.inhparent = p.partrelid
LEFT JOIN pg_class c ON c.oid = i.inhrelid
WHERE p.partstrat = 'r'
  AND p.partnatts = 1
  AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
ORDER BY 1, 2
"""


@check(
    "sequences",
    "data",
    "Sequences near their end",
    means="The next row after the last number is refused.",
    advice="Widen the column to bigint; a serial column is an integer, whatever its sequence is.",
    limits=Limits(warning=75, critical=90),
    unit="%",
)
async def sequences(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare sequences with what they and their columns can hold."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            s.seqrelid::regclass::text,
            pg_sequence_last_value(s.seqrelid),
            CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE -s.seqmin END,
            min(CASE a.atttypid
                WHEN 'int2'::regtype THEN 32767
                WHEN 'int4'::regtype THEN 2147483647
            END),
            min(a.attrelid::regclass::text || '.' || quote_ident(a.attname)),
            s.seqincrement > 0
        FROM pg_sequence s
        JOIN pg_class c ON c.oid = s.seqrelid AND c.relpersistence <> 't'
        LEFT JOIN pg_depend d
            ON d.objid = s.seqrelid
           AND d.classid = 'pg_class'::regclass
           AND d.refclassid = 'pg_class'::regclass
           AND d.deptype IN ('a', 'i')
        LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE NOT s.seqcycle
          -- NULL where it was never used; without the right to read it, too.
          AND has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
        GROUP BY s.seqrelid, s.seqmax, s.seqmin, s.seqincrement
        """,
    )
    seen: list[Seen] = []
    for name, last, most, of_column, column, rising in found:
        if last is None:
            continue
        limit = min(most, of_column or most)
        share = 100 * (last if rising else -last) / limit
        seen.append(
            Seen(
                object=name,
                observed=f"{share:.0f} % ({last:,} of {limit:,}), {column or 'owned by no column'}",
                value=max(0.0, share),
            )
        )
    return seen


@check(
    "partitions-ahead",
    "data",
    "Partitions of days and months to come",
    means="Rows of a time without a partition are refused, or end in the default partition.",
    advice="`aegis up` makes them; by hand `aegis metrics keep` and "
    "`aegis usage partitions --keep-house`.",
    limits=Limits(warning=2, critical=1),
    unit="ahead",
    below=True,
)
async def partitions_ahead(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count the partitions that follow the present one without a gap."""
    found = await rows(conn, PARTITIONS)
    bounds: dict[str, list[str]] = {}
    caught: set[str] = set()
    for table, _, bound, default in found:
        bounds.setdefault(table, [])
        if bound is not None:
            bounds[table].append(bound)
        if default:
            caught.add(table)
    seen: list[Seen] = []
    for table, texts in bounds.items():
        ahead = ahead_of(texts, ask.now)
        seen.append(
            Seen(
                object=table,
                observed="none for now" if ahead is None else f"{ahead} partition(s) ahead",
                value=-1 if ahead is None else ahead,
                # Nothing is refused where a default partition takes the rows.
                state="warning" if table in caught and (ahead or 0) < 1 else None,
            )
        )
    return seen


@check(
    "default-partitions",
    "data",
    "Rows in default partitions",
    means="Nothing drops them, and the partition that should hold them cannot be attached.",
    advice="`aegis metrics keep` moves those of metrics; move others before you attach.",
)
async def default_partitions(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List default partitions that hold a row."""
    del ask
    found = await rows(
        conn,
        """
        SELECT n.nspname, c.relname
        FROM pg_partitioned_table p
        JOIN pg_class c ON c.oid = p.partdefid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r'
        ORDER BY 1, 2
        """,
    )
    seen: list[Seen] = []
    for schema, name in found:
        place = sql.Identifier(schema, name)
        if await value(conn, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(place)):
            seen.append(Seen(object=f"{schema}.{name}", observed="holds rows"))
    return seen


@check(
    "checksum-failures",
    "data",
    "Damaged pages",
    means="The disk gave back something else than was written; data is lost or wrong.",
    advice="Stop writing, look at the disk, and restore: `aegis backup list`.",
    limits=Limits(warning=None, critical=1),
)
async def checksum_failures(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count pages whose checksum was wrong, in every database."""
    del ask
    if await value(conn, "SELECT current_setting('data_checksums')") != "on":
        raise CouldNotCheck("data checksums are off; see the check `checksums-off`")
    found = await rows(
        conn,
        """
        SELECT coalesce(datname, 'shared'), checksum_failures, checksum_last_failure
        FROM pg_stat_database
        WHERE checksum_failures IS NOT NULL
        ORDER BY 2 DESC
        """,
    )
    return [
        Seen(object=name, observed=f"{count} page(s), last {last}", value=count)
        for name, count, last in found
    ]


@check(
    "checksums-off",
    "data",
    "Data checksums",
    means="A disk that gives back wrong bytes is not noticed.",
    advice="Stop the server and run `pg_checksums --enable`; the embedded server has them.",
    fine="on",
)
async def checksums_off(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say whether pages have checksums."""
    del ask
    state = await value(conn, "SELECT current_setting('data_checksums')")
    return [] if state == "on" else [Seen(observed=f"data_checksums is {state}")]


CHECKS = (sequences, partitions_ahead, default_partitions, checksum_failures, checksums_off)
