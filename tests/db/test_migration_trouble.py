"""Whatever comes between, a migration ends at a valid revision and says why."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import migrate
from aegis.db.admin import exclusive_connection
from aegis.db.revision import require_current, schema_state
from aegis.errors import AegisError, InvalidInput, OpsError
from tests.db.rows import (
    MODERN_ROWS,
    create_published,
    execute,
    fill,
    value,
)

if TYPE_CHECKING:
    from aegis.db import Connection
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

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
        "index store_vectors.idx_store_embedding_minilm is missing",
    ]
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []


@pytest.mark.parametrize(("version", "code"), [("0001", "schema_behind"), ("0999", "schema_ahead")])
async def test_schema_behind_or_ahead_is_said(conn: Connection, version: str, code: str) -> None:
    await conn.execute("UPDATE alembic_version SET version_num = %s", (version,))
    status = await schema_state(conn)
    with pytest.raises(OpsError) as error:
        require_current(status)
    assert error.value.code == code
    assert version in str(error.value)


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


def test_a_refused_target_leaves_an_empty_database_empty(empty_dsn: str) -> None:
    for target in ("nonsense", "+99", "-1"):
        with pytest.raises(InvalidInput):
            migrate.upgrade(empty_dsn, target)
    migrate.upgrade(empty_dsn, "base")
    assert value(empty_dsn, "SELECT to_regclass('alembic_version') IS NULL")
    migrate.upgrade(empty_dsn, "+2")
    assert migrate.current(empty_dsn) == "0002"
    migrate.upgrade(empty_dsn, "0001")
    assert migrate.current(empty_dsn) == "0002"


def test_first_revision_that_fails_leaves_nothing(empty_dsn: str) -> None:
    execute(empty_dsn, "CREATE VIEW api_keys AS SELECT 1 AS id", "CREATE TYPE workflows AS (a int)")
    with pytest.raises(AegisError):
        migrate.upgrade(empty_dsn)
    assert value(empty_dsn, "SELECT to_regclass('alembic_version') IS NULL")
    assert value(empty_dsn, "SELECT to_regclass('episodic_memory') IS NULL")


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
    assert value(empty_dsn, "SELECT to_regclass('alembic_version') IS NULL")

    execute(empty_dsn, "CREATE EXTENSION vector")
    migrate.upgrade(as_owner)
    assert migrate.check(as_owner) == []


def test_unreachable_server_is_unavailable() -> None:
    with pytest.raises(AegisError) as error:
        migrate.state("host=/nonexistent dbname=x")
    assert error.value.code == "db_unreachable"
