"""Estimates of room that is taken and not used, from the planner's statistics: nothing is read.

They compare pages with what the rows would fill, only for what is large, and are right to a tenth
or so; `pgstattuple` measures.
"""

from __future__ import annotations

from typing import Final

__all__ = ["INDEX_BLOAT", "TABLE_BLOAT"]

#: Of each large B-tree: name, table, bytes, bytes that it would need. A page keeps 10 % free and
#: 24 + 16 bytes for itself; an entry has a header of 8, a pointer of 4, and is aligned to 8.
INDEX_BLOAT: Final = """
WITH large AS MATERIALIZED (
    SELECT i.indexrelid, i.indrelid, c.relname, c.relpages, c.reltuples, t.relname AS table_name,
           n.nspname, c.relam, i.indkey, i.indnkeyatts
    FROM pg_class c
    JOIN pg_index i ON i.indexrelid = c.oid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'btree'
      AND c.relpages >= %(pages)s
      AND c.reltuples > 0
      AND i.indisvalid
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg_toast%%'
),
widths AS MATERIALIZED (
    SELECT l.indexrelid,
           sum(coalesce((1 - s.null_frac) * s.avg_width, 8)) AS width,
           bool_or(coalesce(s.n_distinct, -1) BETWEEN 0 AND 1000000
                   OR coalesce(s.n_distinct, -1) > -0.5) AS repeats
    FROM large l
    JOIN pg_attribute a ON a.attrelid = l.indexrelid AND a.attnum > 0
    LEFT JOIN pg_stats s
        ON s.schemaname = l.nspname
       -- An expression has statistics under the index's own name.
       AND (
           (s.tablename = l.table_name AND s.attname = (
               SELECT t.attname
               FROM pg_attribute t
               WHERE t.attrelid = l.indrelid AND t.attnum = l.indkey[a.attnum - 1]
           ))
           OR (s.tablename = l.relname AND s.attname = a.attname AND l.indkey[a.attnum - 1] = 0)
       )
    GROUP BY l.indexrelid
)
SELECT
    l.indexrelid::regclass::text AS name,
    l.indrelid::regclass::text AS table_name,
    l.relpages::bigint * current_setting('block_size')::int AS size_bytes,
    -- Equal keys share one entry since PostgreSQL 13: what repeats may be a third as large.
    (
        ceil(l.reltuples * (12 + ceil(w.width / 8) * 8) * CASE WHEN w.repeats THEN 0.6 ELSE 1 END
             / ((current_setting('block_size')::int - 40) * 0.9))
        * current_setting('block_size')::int
    )::bigint AS needed_bytes
FROM large l
JOIN widths w USING (indexrelid)
ORDER BY 3 DESC
"""

#: Of each large table: name, bytes, bytes that its rows would need. Wide values may lie in TOAST,
#: which is not counted; a table without statistics has no row here.
TABLE_BLOAT: Final = """
WITH large AS MATERIALIZED (
    SELECT c.oid, c.relname, n.nspname, c.relpages, c.reltuples,
           coalesce(
               (
                   SELECT option_value::float8
                   FROM pg_options_to_table(c.reloptions)
                   WHERE option_name = 'fillfactor'
               ),
               100
           ) / 100 AS filled
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm')
      AND c.relpersistence <> 't'
      AND c.relpages >= %(pages)s
      AND c.reltuples >= 0
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
),
widths AS MATERIALIZED (
    SELECT l.oid,
           -- What is wider than 2,000 bytes lies elsewhere, behind a pointer of 18.
           sum((1 - s.null_frac) * CASE WHEN s.avg_width > 2000 THEN 18 ELSE s.avg_width END)
               AS width,
           count(*) AS columns
    FROM large l
    JOIN pg_stats s ON s.schemaname = l.nspname AND s.tablename = l.relname AND NOT s.inherited
    GROUP BY l.oid
)
SELECT
    l.oid::regclass::text AS name,
    l.relpages::bigint * current_setting('block_size')::int AS size_bytes,
    (
        ceil(l.reltuples * (28 + ceil(w.columns / 8.0) + ceil((w.width + 4) / 8) * 8)
             / ((current_setting('block_size')::int - 24) * l.filled))
        * current_setting('block_size')::int
    )::bigint AS needed_bytes
FROM large l
JOIN widths w USING (oid)
ORDER BY 2 DESC
"""
