"""The schema's history, forwards and back, with rows in every table."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from aegis.db import migrate
from aegis.db.revision import HEAD, TABLES, require_current, schema_state
from aegis.db.shape import read_shapes, scratch_schema
from tests.db.rows import (
    HERE,
    MODERN_ROWS,
    columns,
    contents,
    create_published,
    execute,
    fill,
    value,
)

if TYPE_CHECKING:
    from aegis.db import Connection

pytestmark = pytest.mark.servers("18", "16")


def revisions() -> list[str]:
    return [r.id for r in migrate.history()]


def test_head_constant_is_the_newest_file() -> None:
    assert migrate.head() == HEAD


def test_history_is_one_line_of_four_digit_numbers() -> None:
    assert revisions() == [f"{n:04d}" for n in range(1, len(revisions()) + 1)]
    assert [r.down for r in migrate.history()] == [None, *revisions()[:-1]]
    assert all(r.message for r in migrate.history())


def test_first_revision_is_the_published_schema(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0001")
    with psycopg.connect(empty_dsn) as conn:
        ours = read_shapes(conn, TABLES)
        with scratch_schema(conn) as schema:
            conn.execute((HERE / "seed.sql").read_bytes())
            published = read_shapes(conn, TABLES, schema=schema)
    assert len(published) == 14
    for name, shape in published.items():
        assert list(ours[name].columns.items()) == list(shape.columns.items())
        assert ours[name].constraints == shape.constraints
    assert "idx_episodic_embedding" in ours["episodic_memory"].indexes
    assert tuple(migrate.revision_module("0001").TABLES) == TABLES


def test_check_is_clean_after_upgrade(dsn: str) -> None:
    assert migrate.check(dsn) == []


def test_every_step_down_and_up_again_keeps_every_row(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0001")
    first = columns(empty_dsn)
    fill(empty_dsn)
    seeded = contents(empty_dsn, first)
    for revision in revisions()[1:]:
        migrate.upgrade(empty_dsn, revision)
        assert contents(empty_dsn, first) == seeded
    execute(empty_dsn, MODERN_ROWS)
    names = columns(empty_dsn)
    everything = contents(empty_dsn, names)

    for revision in reversed(revisions()[:-1]):
        migrate.downgrade(empty_dsn, revision)
        assert migrate.current(empty_dsn) == revision
        ids = {table: ["id"] for table in first}
        assert contents(empty_dsn, ids) == contents_of(everything, names, ids)
    assert columns(empty_dsn) == first
    for revision in revisions()[1:]:
        migrate.upgrade(empty_dsn, revision)

    assert contents(empty_dsn, names) == everything
    assert migrate.check(empty_dsn) == []
    for kept in (
        "aegis_kept_0003",
        "aegis_kept_0007",
        "aegis_kept_0013_items",
        "aegis_kept_0017_sessions",
    ):
        assert value(empty_dsn, f"SELECT to_regclass('{kept}') IS NULL")


def contents_of(
    everything: dict[str, Any], names: dict[str, list[str]], wanted: dict[str, list[str]]
) -> dict[str, Any]:
    """Return `wanted` columns out of what `contents` returned for `names`."""
    return {
        table: [tuple(row[names[table].index(c)] for c in picked) for row in everything[table]]
        for table, picked in wanted.items()
    }


def test_a_vector_stored_while_back_wins_over_the_one_set_aside(dsn: str) -> None:
    execute(dsn, MODERN_ROWS)
    migrate.downgrade(dsn, "0002")
    execute(
        dsn,
        "DELETE FROM episodic_memory WHERE id = 2",
        "UPDATE episodic_memory SET embedding = array_fill(1, ARRAY[1536])::vector WHERE id = 3",
    )
    migrate.upgrade(dsn)
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 19
    assert value(
        dsn,
        "SELECT vector_dims(embedding) = 1536 AND embedding_model IS NULL AND namespace = 'agent-1'"
        " FROM episodic_memory WHERE id = 3",
    )
    assert value(dsn, "SELECT vector_dims(embedding) FROM episodic_memory WHERE id = 4") == 384


def test_facts_from_before_hold_since_always_and_survive_the_way_back(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0005")
    execute(
        empty_dsn,
        "INSERT INTO semantic_memory (concept, content, confidence, created_at)"
        " VALUES ('Alice', 'lives in Paris', 0.5, '2020-01-01Z'), ('b', 'c', NULL, NULL)",
    )
    older = {"semantic_memory": columns(empty_dsn)["semantic_memory"]}
    before = contents(empty_dsn, older)
    migrate.upgrade(empty_dsn)
    assert contents(empty_dsn, older) == before
    query = "SELECT count(*) FROM semantic_memory WHERE num_nulls(valid_from, valid_to) = 2"
    assert value(empty_dsn, query) == 2
    execute(
        empty_dsn,
        "UPDATE semantic_memory SET valid_to = now(), superseded_by = 2 WHERE id = 1",
        "INSERT INTO fact_history (fact_id, namespace, action) VALUES (1, 'default', 'superseded')",
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="ck_semantic_memory_validity"):
        execute(empty_dsn, "UPDATE semantic_memory SET valid_from = 'infinity'")
    migrate.downgrade(empty_dsn, "0005")
    assert columns(empty_dsn)["semantic_memory"] == older["semantic_memory"]
    assert contents(empty_dsn, older) == before
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []


def test_what_led_to_a_decision_comes_back_unless_it_is_gone(dsn: str) -> None:
    execute(
        dsn,
        MODERN_ROWS,
        """
        INSERT INTO decision_episodes (decision_id, episode_id, role)
        SELECT d.id, e.id, 'trigger'
        FROM decision_outcomes d, episodic_memory e
        WHERE d.task_context = 't' AND e.summary IN ('modern 2', 'modern 3')
        """,
    )
    migrate.downgrade(dsn, "0005")
    assert value(dsn, "SELECT to_regclass('decision_episodes') IS NULL")
    execute(
        dsn,
        "DELETE FROM episodic_memory WHERE summary = 'modern 3'",
        "DELETE FROM decision_outcomes WHERE task_context = 'sure'",
        "INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning) "
        "VALUES ('meanwhile', '[\"a\"]', 'a', 'r')",
    )
    migrate.upgrade(dsn)
    links = """
        SELECT string_agg(d.task_context || '/' || e.summary || '/' || l.role, ' ')
        FROM decision_episodes l
        JOIN decision_outcomes d ON d.id = l.decision_id
        JOIN episodic_memory e ON e.id = l.episode_id
    """
    assert value(dsn, links) == "t/modern 2/trigger"
    assert value(dsn, "SELECT count(*) FROM decision_outcomes WHERE confidence IS NOT NULL") == 0
    assert value(dsn, "SELECT to_regclass('aegis_kept_0007') IS NULL")
    assert migrate.check(dsn) == []


def test_base_leaves_nothing_but_extensions_and_can_start_again(dsn: str) -> None:
    execute(dsn, MODERN_ROWS)
    migrate.downgrade(dsn, "base")
    left = """
        SELECT (SELECT count(*) FROM pg_class c
                WHERE relnamespace = 'public'::regnamespace
                  AND relname NOT LIKE 'alembic_version%' AND relname NOT LIKE 'pg_stat_%')
             + (SELECT count(*) FROM pg_type t
                WHERE typnamespace = 'public'::regnamespace AND typtype = 'e')
             + (SELECT count(*) FROM pg_proc p
                WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
                    SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e'))
    """
    assert value(dsn, left) == 0
    assert migrate.state(dsn) == "empty"
    migrate.upgrade(dsn)
    assert migrate.check(dsn) == []
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 0


def test_relaxing_the_vectors_rewrites_no_table(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0002")
    fill(empty_dsn)
    query = "SELECT string_agg(pg_relation_filenode(t)::text, ' ') FROM (VALUES {}) AS v (t)"
    query = query.format(
        "('episodic_memory'::regclass), ('semantic_memory'), ('decision_outcomes')"
    )
    before = value(empty_dsn, query)
    migrate.upgrade(empty_dsn, "0003")
    assert value(empty_dsn, query) == before


def test_the_published_search_runs_on_published_rows(empty_dsn: str) -> None:
    create_published(empty_dsn)
    from aegis.db import adopt

    adopt.adopt(empty_dsn)
    query = "array_fill(0.1, ARRAY[1536])::vector"
    found = value(
        empty_dsn,
        f"""
        SELECT count(*) FROM (
            SELECT * FROM episodic_memory
            WHERE embedding <=> {query} < 1.5
            ORDER BY embedding <=> {query}
            LIMIT 10
        ) AS nearest
        """,
    )
    assert found == 10


@pytest.mark.parametrize(
    ("index", "order", "condition"),
    [
        (
            "idx_episodic_embedding",
            "embedding::vector(1536) <=> array_fill(1, ARRAY[1536])::vector",
            "vector_dims(embedding) = 1536",
        ),
        (
            "idx_episodic_embedding_minilm",
            "embedding::halfvec(384) <=> array_fill(1, ARRAY[384])::halfvec(384)",
            "embedding_model = 'all-MiniLM-L6-v2-onnx-int8'",
        ),
        (
            "idx_semantic_embedding",
            "embedding::vector(1536) <=> array_fill(1, ARRAY[1536])::vector",
            "vector_dims(embedding) = 1536",
        ),
        (
            "idx_semantic_embedding_minilm",
            "embedding::halfvec(384) <=> array_fill(1, ARRAY[384])::halfvec(384)",
            "embedding_model = 'all-MiniLM-L6-v2-onnx-int8'",
        ),
    ],
)
def test_planner_uses_the_vector_index(dsn: str, index: str, order: str, condition: str) -> None:
    fill(dsn)
    execute(dsn, MODERN_ROWS)
    table = "episodic_memory" if "episodic" in index else "semantic_memory"
    with psycopg.connect(dsn) as conn:
        # Few rows: a scan is cheaper, so only whether the index is applicable can be seen.
        conn.execute("SET LOCAL enable_seqscan = off")
        conn.execute("SET LOCAL enable_sort = off")
        plan = conn.execute(
            f"EXPLAIN SELECT id FROM {table} WHERE {condition} ORDER BY {order} LIMIT 5".encode()
        ).fetchall()
    assert any(f"Index Scan using {index} " in line for (line,) in plan), plan


def test_an_import_cannot_store_one_source_twice_in_a_namespace(dsn: str) -> None:
    insert = "INSERT INTO episodic_memory (event_type, summary, namespace, source_id) VALUES "
    execute(dsn, insert + "('error', 'x', 'a', '1'), ('error', 'x', 'b', '1')")
    execute(dsn, insert + "('error', 'x', 'a', NULL), ('error', 'x', 'a', NULL)")
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_episodic_source_id"):
        execute(dsn, insert + "('error', 'again', 'a', '1')")


def test_comments_of_the_owner_stay_both_ways(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0001")
    execute(empty_dsn, "COMMENT ON COLUMN workflows.name IS 'mine'")
    migrate.upgrade(empty_dsn)
    query = "SELECT col_description('workflows'::regclass, 2)"
    assert value(empty_dsn, query) == "mine"
    migrate.downgrade(empty_dsn, "0001")
    assert value(empty_dsn, query) == "mine"
    assert value(empty_dsn, "SELECT col_description('workflows'::regclass, 3) IS NULL")


def test_an_address_may_be_a_url(empty_dsn: str) -> None:
    parts = conninfo_to_dict(empty_dsn)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
    migrate.upgrade(url)
    assert migrate.current(url) == HEAD


async def test_schema_state_of_a_migrated_database_is_current(conn: Connection) -> None:
    status = await schema_state(conn)
    require_current(status)
    assert (status.state, status.revision) == ("current", HEAD)


def test_asking_for_the_state_imports_neither_alembic_nor_sqlalchemy() -> None:
    code = (
        "import sys, aegis.db.revision, aegis.db.migrate, aegis.db.dump, aegis.db.adopt;"
        "print([m for m in ('alembic', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
