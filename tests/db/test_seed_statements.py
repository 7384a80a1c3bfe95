"""The specification's own statements, as it prints them, on our newest schema.

Only what it abbreviates is filled in: the 1536 numbers of a vector, and where the server listens.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import migrate
from aegis.db.dump import find_pg_dump
from aegis.db.revision import TABLES
from tests.cluster import throwaway_cluster
from tests.conftest import TEMPLATE
from tests.db.rows import execute, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

#: `[0.1, 0.2, …]` in full.
VECTOR = str([0.1 + n % 7 / 10 for n in range(1536)])

#: Its columns, and none of those that were added later.
INSERT = """
INSERT INTO episodic_memory (event_type, summary, details, importance, embedding, tags)
VALUES (%s, %s, '{"host": "lxc"}', %s, %s, ARRAY['seed'])
"""


@pytest.fixture
def aegis_dsn(cluster: Cluster) -> Iterator[str]:
    """The specification's database `aegis` and its user `agent`, with a few rows."""
    dsn = cluster.create_database("aegis", TEMPLATE)
    try:
        execute(dsn, "CREATE ROLE agent LOGIN")
        with psycopg.connect(dsn) as conn:
            # Distances 0, small, and 2: what is opposite is not near.
            for name, vector in (
                ("same", VECTOR),
                ("near", str([0.2 + n % 7 / 10 for n in range(1536)])),
                ("opposite", VECTOR.replace("0.", "-0.")),
                ("without", None),
            ):
                conn.execute(INSERT, ("learning", name, "high", vector))
            conn.execute(
                """
                INSERT INTO decision_outcomes (
                    decision_id, task_context, alternatives, chosen_option, reasoning
                )
                VALUES (1, 'backup', '["nightly", "weekly"]', 'nightly', 'little is lost')
                """
            )
            conn.execute(
                """
                INSERT INTO api_keys (customer_id, key_hash, key_prefix)
                VALUES ('c1', 'h1', 'ak_1')
                """
            )
        yield dsn
    finally:
        cluster.admin.execute("DROP DATABASE aegis WITH (FORCE)")
        cluster.admin.execute("DROP ROLE IF EXISTS agent")


def rows(dsn: str, statement: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(statement.encode()).fetchall()


def summaries(dsn: str, operator: str, nearer_than: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        found = conn.execute(
            f"""
            SELECT * FROM episodic_memory
            WHERE embedding {operator} '{VECTOR}'::vector < {nearer_than}
            ORDER BY embedding {operator} '{VECTOR}'::vector
            LIMIT 10
            """.encode()
        )
        columns = [column.name for column in found.description or ()]
        return [row[columns.index("summary")] for row in found]


def test_similar_memories_are_found_by_all_three_operators(aegis_dsn: str) -> None:
    assert summaries(aegis_dsn, "<=>", "0.5") == ["same", "near"]
    assert summaries(aegis_dsn, "<->", "5") == ["same", "near"]
    # The negative inner product: the longer vector comes first.
    assert summaries(aegis_dsn, "<#>", "0.5") == ["near", "same"]


def test_explain_of_the_search_runs(aegis_dsn: str) -> None:
    plan = rows(
        aegis_dsn,
        f"""
        EXPLAIN ANALYZE
        SELECT * FROM episodic_memory
        WHERE embedding <=> '{VECTOR}'::vector < 0.5
        ORDER BY embedding <=> '{VECTOR}'::vector
        LIMIT 10
        """,
    )
    assert plan[0][0].startswith("Limit ")


def test_rows_of_its_insert_get_our_defaults(aegis_dsn: str) -> None:
    found = "SELECT DISTINCT namespace, embedding_model IS NULL FROM episodic_memory"
    assert rows(aegis_dsn, found) == [("default", True)]
    assert rows(aegis_dsn, "SELECT outcome_status, namespace FROM decision_outcomes") == [
        ("pending", "default")
    ]
    assert rows(aegis_dsn, "SELECT tier, rate_limit, monthly_quota, enabled FROM api_keys") == [
        ("free", 60, 1000, True)
    ]


def test_monitoring(aegis_dsn: str) -> None:
    assert value(aegis_dsn, "SELECT version()").startswith("PostgreSQL 1")
    assert value(aegis_dsn, "SELECT pg_size_pretty(pg_database_size('aegis'))").endswith(
        ("kB", "MB")
    )
    sizes = rows(
        aegis_dsn,
        """
        SELECT schemaname, tablename,
               pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size
        FROM pg_tables
        WHERE schemaname = 'public'
        ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC
        """,
    )
    assert set(TABLES) <= {table for _, table, _ in sizes}
    assert value(aegis_dsn, "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active'") >= 1
    hits = value(
        aegis_dsn,
        """
        SELECT
          sum(heap_blks_hit) / nullif(sum(heap_blks_hit) + sum(heap_blks_read), 0) AS cache_hit_ratio
        FROM pg_statio_user_tables
        """,  # noqa: E501
    )
    assert hits is None or 0 <= hits <= 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE EXTENSION IF NOT EXISTS vector",
        "REINDEX INDEX CONCURRENTLY idx_episodic_embedding",
        "REINDEX DATABASE aegis",
        "ANALYZE episodic_memory",
        "VACUUM ANALYZE",
        "VACUUM FULL ANALYZE",
    ],
)
def test_maintenance_keeps_schema_and_rows(aegis_dsn: str, statement: str) -> None:
    execute(aegis_dsn, statement)
    assert migrate.check(aegis_dsn) == []
    assert value(aegis_dsn, "SELECT COUNT(*) FROM episodic_memory") == 4


def test_its_future_index_of_active_keys_can_be_created(aegis_dsn: str) -> None:
    execute(
        aegis_dsn,
        "CREATE INDEX idx_active_api_keys ON api_keys(customer_id) WHERE enabled = TRUE",
    )
    assert value(aegis_dsn, "SELECT to_regclass('idx_active_api_keys') IS NOT NULL")


def test_slow_query_log_is_set_for_the_database(aegis_dsn: str) -> None:
    execute(aegis_dsn, "ALTER DATABASE aegis SET log_min_duration_statement = 1000")
    assert value(aegis_dsn, "SHOW log_min_duration_statement") == "1s"


def test_granted_user_reads_and_writes(aegis_dsn: str) -> None:
    agent = make_conninfo(aegis_dsn, user="agent")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        value(agent, "SELECT COUNT(*) FROM episodic_memory")
    execute(
        aegis_dsn,
        "GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO agent",
        "GRANT ALL PRIVILEGES ON ALL SEQUENCES IN SCHEMA public TO agent",
    )
    with psycopg.connect(agent) as conn:
        conn.execute(INSERT, ("milestone", "by agent", "low", VECTOR))
    assert value(agent, "SELECT COUNT(*) FROM episodic_memory") == 5


# The wheel of 16 has no contrib.
@pytest.mark.servers("18")
def test_slowest_statements_are_listed() -> None:
    preloaded = {"shared_preload_libraries": "pg_stat_statements"}
    with throwaway_cluster(find_pg_dump(18).parent, settings=preloaded) as dsn:
        migrate.upgrade(dsn)
        execute(dsn, "CREATE EXTENSION pg_stat_statements")
        slowest = rows(
            dsn,
            """
            SELECT query, mean_exec_time, calls
            FROM pg_stat_statements
            ORDER BY mean_exec_time DESC
            LIMIT 10
            """,
        )
    assert len(slowest) == 10
    assert all(mean >= 0 and calls >= 1 for _, mean, calls in slowest)


@pytest.fixture
def backup(aegis_dsn: str, cluster: Cluster, tmp_path: Path) -> Path:
    file = tmp_path / "aegis_2024-01-25.dump"
    program = find_pg_dump(int(cluster.major))
    run(program, aegis_dsn, "-F", "c", "-b", "-v", "-f", file)
    return file


def run(program: Path, dsn: str, *arguments: str | Path) -> None:
    parts = conninfo_to_dict(dsn)
    address = ("-h", str(parts["host"]), "-U", str(parts["user"]), "-d", str(parts["dbname"]))
    done = subprocess.run(
        [program, *address, *arguments], capture_output=True, text=True, check=False
    )
    # A pg_restore that is newer than the server sets a parameter that 16 does not know.
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert all("transaction_timeout" in line for line in errors), done.stderr
    assert done.returncode == 0 or errors


def restore(cluster: Cluster, dsn: str, *arguments: str | Path) -> None:
    run(find_pg_dump(int(cluster.major)).with_name("pg_restore"), dsn, *arguments)


def test_one_table_is_restored_from_the_nightly_backup(
    aegis_dsn: str, cluster: Cluster, backup: Path
) -> None:
    query = "SELECT id, summary, embedding::text, search::text FROM episodic_memory ORDER BY id"
    before = rows(aegis_dsn, query)
    execute(aegis_dsn, "DROP TABLE episodic_memory CASCADE")
    restore(cluster, aegis_dsn, "-t", "episodic_memory", backup)
    assert rows(aegis_dsn, query) == before


def test_whole_database_is_restored_from_the_nightly_backup(
    aegis_dsn: str, cluster: Cluster, backup: Path
) -> None:
    with cluster.database() as fresh:
        restore(cluster, fresh, backup)
        assert value(fresh, "SELECT COUNT(*) FROM episodic_memory") == 4
        assert migrate.check(fresh) == []


def test_emergency_rollback_restores_over_what_is_there(
    aegis_dsn: str, cluster: Cluster, backup: Path
) -> None:
    execute(aegis_dsn, "DELETE FROM decision_outcomes", "DELETE FROM episodic_memory")
    restore(cluster, aegis_dsn, "--clean", "--if-exists", backup)
    assert value(aegis_dsn, "SELECT COUNT(*) FROM episodic_memory") == 4
    assert migrate.check(aegis_dsn) == []
