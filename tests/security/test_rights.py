"""Each role may do what the description says, to every table, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from aegis.db.schema import metadata
from aegis.security.roles.description import (
    APP_RIGHTS,
    FILLED,
    FUNCTIONS,
    HIDDEN,
    MONITORED,
    TABLES,
    unclassified_functions,
    unclassified_tables,
)
from aegis.security.roles.tenant_tables import (
    BY_CUSTOMER,
    BY_NAMESPACE,
    CLOSED,
    THROUGH,
    UNSEEN,
    open_tables,
    unclassified,
)
from tests.rules.source import SOURCE

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.security.roles.models import Kind
    from tests.security.conftest import Guarded

pytestmark = pytest.mark.servers("18", "16")

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "OWN")


def expected(role: Kind, name: str, table: str) -> set[str]:
    """What the description means, said once more in other words; `table` is what `name` is of."""
    partition = name != table
    if role == "owner":
        return {*VERBS}
    if role == "app":
        return {*APP_RIGHTS[TABLES[table]]}
    if role == "backup":
        return {"SELECT"}
    if role == "monitor":
        return {"SELECT"} if name in MONITORED else set()
    if partition:
        return set()
    if role == "readonly":
        seen = TABLES[table] not in ("own", "secret") and table not in HIDDEN
        return {"SELECT"} if seen else set()
    return {"SELECT"} if table in open_tables() and table not in UNSEEN else set()


def attempt(conn: psycopg.Connection, verb: str, table: str, column: str) -> bool:
    """Tell whether a role may do it, by doing it to no rows at all."""
    statement = {
        "SELECT": "SELECT * FROM {table} LIMIT 0",
        # The columns' own defaults: without the right to read.
        "INSERT": "INSERT INTO {table} DEFAULT VALUES",
        "UPDATE": "UPDATE {table} SET {column} = {column} WHERE false",
        "DELETE": "DELETE FROM {table} WHERE false",
        "TRUNCATE": "TRUNCATE {table}",
        "OWN": "COMMENT ON TABLE {table} IS 'mine'",
    }[verb]
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(
                sql.SQL(statement).format(  # pyright: ignore[reportArgumentType]
                    table=sql.Identifier(table), column=sql.Identifier(column)
                )
            )
    except psycopg.errors.InsufficientPrivilege:
        return False
    except (psycopg.errors.IntegrityError, psycopg.errors.ReadOnlySqlTransaction):
        return verb == "INSERT"
    except psycopg.errors.Error as error:
        # A rule of the table's refuses it, a right would have been asked for before.
        assert verb in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"), error
    return True


@pytest.mark.parametrize("role", ["owner", "app", "readonly", "monitor", "backup"])
def test_every_privilege_on_every_table_is_as_described(shared: Guarded, role: Kind) -> None:
    with shared.admin() as admin:
        tables = admin.execute(
            """
            SELECT
                c.relname::text,
                coalesce(
                    (SELECT t.relname FROM pg_class t WHERE t.oid = pg_partition_root(c.oid)),
                    c.relname
                )::text,
                (
                    SELECT a.attname::text
                    FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum > 0
                      AND a.attidentity = '' AND a.attgenerated = '' AND NOT a.attisdropped
                    ORDER BY a.attnum
                    LIMIT 1
                )
            FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace
              AND c.relkind IN ('r', 'p')
            """
        ).fetchall()
    assert len(tables) > 100
    differing: dict[str, tuple[set[str], set[str]]] = {}
    with psycopg.connect(shared.url(role)) as conn:
        for table, root, column in tables:
            can = {verb for verb in VERBS if attempt(conn, verb, table, column)}
            may = expected(role, table, root)
            if role == "owner" and (TABLES[root] == "ledger" or root == "audit_head"):
                can.add("TRUNCATE")  # A trigger refuses it, with the same state.
            if can != may:
                differing[table] = (can, may)
    assert differing == {}


def test_rights_on_sequences_functions_and_schemas_are_as_described(shared: Guarded) -> None:
    with shared.connect("readonly") as reader, shared.connect("app") as app:
        for statement in (
            "SELECT nextval('jobs_id_seq')",
            "CREATE TABLE mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "SELECT aegis_usage_drop('api_usage_events_2026_01')",
            "SELECT key_hash FROM api_keys",
            "SELECT * FROM api_keys",
            "SELECT * FROM security_tenants",
            "SELECT * FROM pg_authid",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
        reader.execute("SELECT id, customer_id, key_prefix FROM api_keys")
        app.execute("SELECT nextval('jobs_id_seq')")
        for statement in (
            "CREATE TABLE mine (id int)",
            "ALTER TABLE jobs DISABLE TRIGGER ALL",
            "SET ROLE {}".format(shared.names["owner"]),
            "SET session_replication_role = replica",
            "UPDATE billing_events SET amount_usd = 0",
            "DELETE FROM billing_events",
            "DELETE FROM alembic_version",
            "INSERT INTO security_roles (role_name, kind) VALUES ('x', 'tenant')",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "CREATE ROLE mine",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "name", ["alerts", "api_usage_events; DROP TABLE jobs", "api_usage_events_2026_13", None, ""]
)
def test_the_owners_functions_take_nothing_but_their_own_partitions(
    shared: Guarded, name: str | None
) -> None:
    with shared.connect("app") as app:
        for function in ("aegis_usage_drop", "aegis_usage_detach", "aegis_metrics_drop"):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                app.execute(sql.SQL("SELECT {}(%s)").format(sql.Identifier(function)), (name,))
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            app.execute("SELECT aegis_metrics_partition(%s, '2026-01-01')", (name,))
        month = app.execute(
            "SELECT min(inhrelid::regclass::text) FROM pg_inherits"
            " WHERE inhparent = 'api_usage_events'::regclass"
        ).fetchone()
        assert month is not None
        with pytest.raises(psycopg.errors.ObjectInUse):
            app.execute("SELECT aegis_usage_drop(%s)", month)


def test_a_name_of_the_callers_does_not_reach_the_owners_functions(guarded: Guarded) -> None:
    with guarded.connect("app") as app:
        # What the caller's temporary schema holds stands before ours in its own path, not theirs.
        app.execute("SET search_path = pg_temp, public")
        app.execute("CREATE TEMPORARY TABLE api_usage_events (id int)")
        app.execute("CREATE TEMPORARY TABLE security_tenants (role_name text, namespace text)")
        app.execute("INSERT INTO security_tenants VALUES (session_user, 'all')")
        assert app.execute("SELECT public.aegis_tenant_namespace()").fetchone() == (None,)
        app.execute("SELECT public.aegis_usage_partition('2031-05-01')")
    with guarded.admin() as admin:
        found = admin.execute(
            "SELECT inhparent::regclass::text FROM pg_inherits"
            " WHERE inhrelid = 'public.api_usage_events_2031_05'::regclass"
        ).fetchone()
    assert found == ("api_usage_events",)


async def test_every_table_and_function_is_classified(conn: Connection) -> None:
    cursor = await conn.execute(
        """
        SELECT c.relname::text
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p', 'v', 'm')
          AND NOT c.relispartition
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        """
    )
    there = {row[0] for row in await cursor.fetchall()} | {*metadata.tables}
    assert unclassified_tables(there) == [], "say in security/roles/description.py who may what"
    assert {*TABLES} - there == set(), "these are said to be tables and are none"
    assert unclassified(there) == [], "say in security/roles/tenant_tables.py what tenants see"
    assert {*open_tables(), *CLOSED} - there == set()
    cursor = await conn.execute(
        """
        SELECT p.proname::text
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.prorettype <> 'trigger'::regtype
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        """
    )
    functions = {row[0] for row in await cursor.fetchall()}
    assert unclassified_functions(functions) == []
    # Where the server has uuid-ossp, that function is the extension's.
    assert {*FUNCTIONS} - functions <= {"uuid_generate_v4"}


def test_whose_a_row_is_decides_what_tenants_see() -> None:
    for name, table in metadata.tables.items():
        whose = {"namespace", "customer_id"} & {*table.columns.keys()}
        if name in CLOSED:
            assert CLOSED[name].endswith(".")
            # Beside a column that says whose it is, being nobody's needs a reason of its own.
            assert not whose or not CLOSED[name].startswith("Of all namespaces together")
        elif name in THROUGH:
            above, key, column = THROUGH[name]
            assert column in table.columns
            assert key in metadata.tables[above].columns
            assert above in BY_NAMESPACE | BY_CUSTOMER
        else:
            assert ("namespace" if name in BY_NAMESPACE else "customer_id") in whose
    for name, columns in UNSEEN.items():
        assert columns <= {*metadata.tables[name].columns.keys()}


def test_what_is_only_added_to_is_nowhere_changed() -> None:
    ledgers = [name for name, kind in TABLES.items() if kind == "ledger"]
    changing = re.compile(rf"(UPDATE|DELETE FROM)\s+({'|'.join(ledgers)})\b(\s+\w+)?\s+SET (\w+)")
    found = {
        (match[2], match[4])
        for path in SOURCE.rglob("*.py")
        if "migrations" not in path.parts
        for match in changing.finditer(path.read_text())
    }
    assert found == {(name, column) for name, columns in FILLED.items() for column in columns}
