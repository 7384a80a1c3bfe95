"""The schema's history, forwards and back, with rows in every table."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import migrate
from aegis.db.admin import exclusive_connection
from aegis.db.revision import HEAD, TABLES, require_current, schema_state
from aegis.db.shape import read_shapes, scratch_schema
from aegis.errors import AegisError, InvalidInput, OpsError
from tests.db.rows import HERE, columns, contents, create_published, execute, fill, value

if TYPE_CHECKING:
    from aegis.db import Connection
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

#: Rows that only the newest schema can hold.
MODERN_ROWS = """
INSERT INTO episodic_memory (event_type, summary, namespace, session_id, source_id, embedding,
                             embedding_model)
SELECT 'learning', 'modern ' || n, 'agent-' || n % 2, 's', 'git:' || n,
       (SELECT array_agg(sin(n * i))::vector FROM generate_series(1, 384) AS i),
       'all-MiniLM-L6-v2-onnx-int8'
FROM generate_series(1, 20) AS n;
INSERT INTO semantic_memory (concept, content, namespace, source_id, embedding, embedding_model)
SELECT 'c', 'modern ' || n, 'agent', 'doc:' || n,
       (SELECT array_agg(sin(n * i))::vector FROM generate_series(1, 384) AS i),
       'all-MiniLM-L6-v2-onnx-int8'
FROM generate_series(1, 5) AS n;
INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, namespace)
VALUES ('t', '["a"]', 'a', 'r', 'agent-1');
INSERT INTO infra_anomaly_alerts (metric, kind, explanation, started_at, evidence)
VALUES ('cpu_percent', 'spike', 'three times the usual', NOW(), '{"window": [1, 2]}');
"""

#: A trigger that strikes when the named index is created.
OBSTRUCT = """
CREATE FUNCTION obstruct() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
               WHERE object_identity LIKE '%.idx_episodic_namespace_timestamp') THEN
        STRIKE;
    END IF;
END $$
"""


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
    assert value(empty_dsn, "SELECT to_regclass('aegis_kept_0003') IS NULL")


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


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("ALTER TABLE workflows ADD COLUMN team text", "column workflows.team is extra: text"),
        ("ALTER TABLE workflows DROP COLUMN status", "column workflows.status is missing"),
        ("DROP INDEX idx_episodic_embedding", "index episodic_memory.idx_episodic_embedding is"),
        ("DROP INDEX idx_api_keys_enabled", "index api_keys.idx_api_keys_enabled is missing"),
        (
            "ALTER TABLE api_keys ALTER COLUMN rate_limit SET DEFAULT 61",
            "column api_keys.rate_limit is integer DEFAULT 61, expected integer DEFAULT 60",
        ),
        (
            "ALTER TABLE api_keys ALTER COLUMN id SET DEFAULT gen_random_uuid()",
            "column api_keys.id is uuid NOT NULL DEFAULT gen_random_uuid(), expected",
        ),
        (
            "ALTER TABLE semantic_memory ALTER COLUMN namespace DROP NOT NULL",
            "column semantic_memory.namespace is text DEFAULT",
        ),
        (
            "ALTER TABLE competitors ALTER COLUMN domain TYPE varchar(300)",
            "column competitors.domain is character varying(300) NOT NULL, expected",
        ),
        (
            "ALTER TABLE claude_sessions DROP CONSTRAINT claude_sessions_session_id_key",
            "constraint claude_sessions.claude_sessions_session_id_key is missing",
        ),
        (
            "ALTER TABLE decision_outcomes DROP CONSTRAINT ck_decision_outcomes_user_feedback",
            "constraint decision_outcomes.ck_decision_outcomes_user_feedback is missing",
        ),
        (
            "DROP INDEX uq_episodic_source_id; "
            "CREATE INDEX uq_episodic_source_id ON episodic_memory (namespace, source_id)",
            "index episodic_memory.uq_episodic_source_id is USING btree (namespace, source_id),",
        ),
        ("DROP TABLE competitor_changes", "table competitor_changes is missing"),
    ],
)
def test_check_names_what_drifted(dsn: str, change: str, line: str) -> None:
    execute(dsn, *change.split("; "))
    (found,) = migrate.check(dsn)
    assert found.startswith(line)


def test_check_leaves_tables_of_others_alone(dsn: str) -> None:
    execute(
        dsn, "CREATE TABLE notes (id int PRIMARY KEY, body text)", "CREATE INDEX ON notes (body)"
    )
    assert migrate.check(dsn) == []


def test_alembic_itself_sees_no_difference_and_would_see_one(dsn: str) -> None:
    from aegis.db.autogenerate import alembic_differences

    def differences() -> list[str]:
        with psycopg.connect(dsn) as conn, migrate.sqlalchemy_connection(conn) as connection:
            return alembic_differences(connection)

    assert differences() == []
    execute(
        dsn,
        "ALTER TABLE workflows ADD COLUMN team text",
        "DROP INDEX idx_semantic_concept",
        "ALTER TABLE competitors ALTER COLUMN enabled SET DEFAULT false",
        "ALTER TABLE competitors ALTER COLUMN name TYPE text",
        "ALTER TABLE competitors ALTER COLUMN domain DROP NOT NULL",
    )
    text = "\n".join(differences())
    for word in ("team", "idx_semantic_concept", "enabled", "modify_type", "modify_nullable"):
        assert word in text


def test_a_revision_is_written_with_the_next_number(
    dsn: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = shutil.copytree(migrate.MIGRATIONS, tmp_path / "100% mine")
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    execute(dsn, "ALTER TABLE workflows DROP COLUMN status")
    path = migrate.revision("Give it back", autogenerate=True, dsn=dsn)
    number = f"{int(HEAD) + 1:04d}"
    assert path == folder / "versions" / f"{number}_give_it_back.py"
    text = path.read_text()
    assert "op.add_column" in text
    assert f"down_revision = '{HEAD}'" in text
    assert migrate.head() == number
    with pytest.raises(InvalidInput, match="needs a message"):
        migrate.revision(" ", autogenerate=False, dsn=dsn)


def test_processes_that_upgrade_at_once_all_succeed(empty_dsn: str) -> None:
    errors: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty_dsn)
        except AegisError as error:
            errors.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.check(empty_dsn) == []


def test_waiting_for_another_upgrade_ends_with_a_clear_line(empty_dsn: str) -> None:
    with exclusive_connection(empty_dsn), pytest.raises(OpsError) as busy:  # noqa: SIM117
        with exclusive_connection(empty_dsn, wait_s=1):
            pass
    assert busy.value.code == "schema_busy"


@pytest.mark.parametrize(
    ("strike", "code"),
    [
        ("RAISE EXCEPTION 'struck'", "migration_refused"),
        ("PERFORM pg_terminate_backend(pg_backend_pid())", "db_unreachable"),
    ],
)
def test_an_upgrade_that_is_cut_off_leaves_a_valid_revision(
    empty_dsn: str, strike: str, code: str
) -> None:
    migrate.upgrade(empty_dsn, "0001")
    fill(empty_dsn)
    execute(
        empty_dsn,
        OBSTRUCT.replace("STRIKE", strike),
        "CREATE EVENT TRIGGER obstruct ON ddl_command_end EXECUTE FUNCTION obstruct()",
    )
    with pytest.raises(AegisError) as failed:
        migrate.upgrade(empty_dsn)
    assert failed.value.code == code
    assert (migrate.state(empty_dsn), migrate.current(empty_dsn)) == ("behind", "0002")
    execute(empty_dsn, "DROP EVENT TRIGGER obstruct", "DROP FUNCTION obstruct")
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []


def test_a_view_in_the_way_is_named(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0002")
    execute(empty_dsn, "CREATE VIEW recent AS SELECT * FROM episodic_memory")
    with pytest.raises(OpsError, match="view recent") as refused:
        migrate.upgrade(empty_dsn)
    assert refused.value.code == "migration_refused"
    assert "\n" not in str(refused.value)
    assert migrate.current(empty_dsn) == "0002"


def test_comments_of_the_owner_stay_both_ways(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0001")
    execute(empty_dsn, "COMMENT ON COLUMN workflows.name IS 'mine'")
    migrate.upgrade(empty_dsn)
    query = "SELECT col_description('workflows'::regclass, 2)"
    assert value(empty_dsn, query) == "mine"
    migrate.downgrade(empty_dsn, "0001")
    assert value(empty_dsn, query) == "mine"
    assert value(empty_dsn, "SELECT col_description('workflows'::regclass, 3) IS NULL")


def test_without_halfvec_its_indexes_wait_for_a_newer_pgvector(empty_dsn: str) -> None:
    # What pgvector before 0.7 looks like: no such type.
    execute(
        empty_dsn,
        "CREATE EXTENSION vector",
        "ALTER EXTENSION vector DROP TYPE halfvec",
        "ALTER TYPE halfvec RENAME TO halfvec_later",
    )
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []
    execute(empty_dsn, MODERN_ROWS)
    execute(empty_dsn, "ALTER TYPE halfvec_later RENAME TO halfvec")
    assert migrate.check(empty_dsn) == [
        "index episodic_memory.idx_episodic_embedding_minilm is missing",
        "index semantic_memory.idx_semantic_embedding_minilm is missing",
    ]
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []


def test_an_address_may_be_a_url(empty_dsn: str) -> None:
    parts = conninfo_to_dict(empty_dsn)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
    migrate.upgrade(url)
    assert migrate.current(url) == HEAD


@pytest.mark.parametrize(("version", "code"), [("0001", "schema_behind"), ("0999", "schema_ahead")])
async def test_schema_behind_or_ahead_is_said(conn: Connection, version: str, code: str) -> None:
    await conn.execute("UPDATE alembic_version SET version_num = %s", (version,))
    status = await schema_state(conn)
    with pytest.raises(OpsError) as error:
        require_current(status)
    assert error.value.code == code
    assert version in str(error.value)


async def test_schema_state_of_a_migrated_database_is_current(conn: Connection) -> None:
    status = await schema_state(conn)
    require_current(status)
    assert (status.state, status.revision) == ("current", HEAD)


def test_upgrade_refuses_a_schema_from_the_future(dsn: str) -> None:
    execute(dsn, "UPDATE alembic_version SET version_num = '0999'")
    for change, target in ((migrate.upgrade, "head"), (migrate.downgrade, "0001")):
        with pytest.raises(OpsError) as error:
            change(dsn, target)
        assert error.value.code == "schema_ahead"


def test_upgrade_refuses_tables_without_a_revision(empty_dsn: str) -> None:
    create_published(empty_dsn, rows=False)
    with pytest.raises(OpsError, match="aegis db adopt") as error:
        migrate.upgrade(empty_dsn)
    assert error.value.code == "schema_unversioned"


def test_unknown_revision_is_named_with_those_that_exist(dsn: str) -> None:
    with pytest.raises(InvalidInput, match=r"'nonsense'.*0001, 0002"):
        migrate.upgrade(dsn, "nonsense")
    with pytest.raises(InvalidInput):
        migrate.downgrade(dsn, "nonsense")
    assert migrate.state(dsn) == "current"


def test_upgrade_of_a_read_only_database_says_so(empty_dsn: str) -> None:
    name = value(empty_dsn, "SELECT current_database()")
    execute(empty_dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(AegisError) as error:
        migrate.upgrade(empty_dsn)
    assert error.value.code == "db_read_only"


def test_a_user_who_may_not_create_pgvector_is_told_who_can(
    cluster: Cluster, empty_dsn: str
) -> None:
    name = value(empty_dsn, "SELECT current_database()")
    execute(
        empty_dsn,
        "DROP ROLE IF EXISTS owner_only",
        "CREATE ROLE owner_only LOGIN",
        f"ALTER DATABASE {name} OWNER TO owner_only",
    )
    as_owner = make_conninfo(empty_dsn, user="owner_only")
    with pytest.raises(OpsError, match="CREATE EXTENSION vector") as error:
        migrate.upgrade(as_owner)
    assert error.value.code == "pgvector_forbidden"
    assert migrate.state(as_owner) == "empty"

    execute(empty_dsn, "CREATE EXTENSION vector")
    migrate.upgrade(as_owner)
    assert migrate.check(as_owner) == []


def test_unreachable_server_is_unavailable() -> None:
    with pytest.raises(AegisError) as error:
        migrate.state("host=/nonexistent dbname=x")
    assert error.value.code == "db_unreachable"


def test_asking_for_the_state_imports_neither_alembic_nor_sqlalchemy() -> None:
    code = (
        "import sys, aegis.db.revision, aegis.db.migrate, aegis.db.dump, aegis.db.adopt;"
        "print([m for m in ('alembic', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
