"""What a tenant sees, and what it tries in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from aegis.errors import Conflict, InvalidInput, NotFound, OpsError
from aegis.security.roles.tenant_tables import CLOSED, UNSEEN, open_tables
from aegis.security.roles.tenants import Tenants
from tests.db.rows import MODERN_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cluster
    from tests.security.conftest import Guarded

pytestmark = pytest.mark.servers("18", "16")

MINE, OTHERS = "mine", "others"
ROWS = """
INSERT INTO episodic_memory (event_type, summary, namespace)
SELECT 'learning', namespace || ' secret ' || n, namespace
FROM unnest(ARRAY['mine', 'others']) AS namespace, generate_series(1, 5) AS n;
INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, namespace)
VALUES ('t', '["a"]', 'a', 'mine', 'mine'), ('t', '["a"]', 'a', 'others', 'others');
INSERT INTO decision_episodes (decision_id, episode_id, role)
SELECT d.id, min(e.id), 'against'
FROM decision_outcomes d
JOIN episodic_memory e USING (namespace)
GROUP BY d.id;
INSERT INTO api_keys (customer_id, key_hash, key_prefix, name)
VALUES ('mine', 'hmac-sha256:a:m', 'aegis_live_m', 'mine'),
       ('others', 'hmac-sha256:a:o', 'aegis_live_o', 'others');
INSERT INTO api_usage_events (api_key_id, customer_id, endpoint, method, status_code, created_at)
SELECT id, customer_id, '/v1/' || customer_id, 'GET', 200, now() FROM api_keys;
INSERT INTO billing_events (customer_id, event_type, amount_usd)
VALUES ('mine', 'charge', 1), ('others', 'charge', 2);
"""


POLICY = (
    "INSERT INTO memory_policies (namespace, event_type, importance, ttl_s, action)"
    " VALUES ('{}', '', '', 9, 'delete')"
)


@pytest.fixture(scope="module")
def kept_apart(shared: Guarded) -> Guarded:
    """A database with rows of two, and a tenant of each kind."""
    tenants = Tenants(shared.dsn, shared.settings)

    async def add() -> None:
        await tenants.add("n", namespace=MINE)
        await tenants.add("c", customer_id=MINE)
        await tenants.add("both", namespace=MINE, customer_id=MINE)

    with shared.admin() as admin:
        admin.execute(ROWS)
    asyncio.run(add())
    return shared


def tenant(guarded: Guarded, name: str) -> str:
    return f"{guarded.names['tenant']}_{name}"


@pytest.fixture
def conn(kept_apart: Guarded) -> Iterator[psycopg.Connection]:
    """A connection of the tenant that sees a namespace and a customer."""
    with kept_apart.connect(tenant(kept_apart, "both")) as connection:
        yield connection


def column(conn: psycopg.Connection, statement: str) -> set[Any]:
    return {row[0] for row in conn.execute(statement)}  # type: ignore[call-overload]


def test_a_tenant_sees_its_own_rows_and_no_others(kept_apart: Guarded) -> None:
    with kept_apart.connect(tenant(kept_apart, "n")) as conn:
        assert column(conn, "SELECT namespace FROM episodic_memory") == {MINE}
        assert column(conn, "SELECT reasoning FROM decision_outcomes") == {MINE}
        assert len(column(conn, "SELECT episode_id FROM decision_episodes")) == 1
        assert column(conn, "SELECT customer_id FROM api_usage_events") == set()
    with kept_apart.connect(tenant(kept_apart, "c")) as conn:
        assert column(conn, "SELECT namespace FROM episodic_memory") == set()
        assert column(conn, "SELECT customer_id FROM api_usage_events") == {MINE}
        assert column(conn, "SELECT customer_id FROM billing_events") == {MINE}
        assert column(conn, "SELECT name FROM api_keys") == {MINE}
        assert column(conn, "SELECT customer_id FROM usage_daily") == {MINE}
    with kept_apart.connect("app") as conn:
        assert column(conn, "SELECT namespace FROM episodic_memory") == {MINE, OTHERS}


#: What somebody tries who has a tenant's login. Each is refused, or gives what was his before.
TRIES = (
    "SET aegis.namespace = 'others'",
    "SELECT set_config('aegis.namespace', 'others', false)",
    "SET row_security = off",
    "SET ROLE {group}",
    "RESET ROLE",
    "SET ROLE NONE",
    "SET ROLE {owner}",
    "SET ROLE {app}",
    "SET SESSION AUTHORIZATION {other}",
    "RESET SESSION AUTHORIZATION",
    "SET search_path = pg_temp, public",
    "SET session_replication_role = replica",
    "SET default_transaction_read_only = off",
    "ALTER ROLE {me} BYPASSRLS",
    "ALTER ROLE {me} RENAME TO {other}_2",
    "GRANT {owner} TO {me}",
    "ALTER TABLE episodic_memory DISABLE ROW LEVEL SECURITY",
    "DROP POLICY aegis_tenant ON episodic_memory",
    "CREATE POLICY mine ON episodic_memory USING (true)",
    "CREATE OR REPLACE FUNCTION aegis_is_tenant() RETURNS boolean LANGUAGE sql AS 'SELECT false'",
    "CREATE TEMPORARY TABLE security_tenants (role_name text, namespace text)",
    "CREATE FUNCTION pg_temp.leak(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001"
    " AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$",
    "CREATE VIEW mine AS SELECT * FROM episodic_memory",
    "INSERT INTO security_tenants (role_name, namespace) VALUES ('{me}', 'others')",
    "UPDATE security_tenants SET namespace = 'others'",
    "DELETE FROM security_tenants",
    "SELECT * FROM security_tenants",
    "SELECT nextval('episodic_memory_id_seq')",
    "SELECT last_value FROM episodic_memory_id_seq",
    "INSERT INTO episodic_memory (event_type, summary, namespace) VALUES ('learning', 'x', 'mine')",
    "UPDATE episodic_memory SET namespace = 'others'",
    "DELETE FROM episodic_memory",
    "TRUNCATE episodic_memory",
    "COPY episodic_memory FROM PROGRAM 'true'",
    "SELECT key_hash FROM api_keys",
    "SELECT * FROM api_keys",
    "SELECT aegis_verify_keys('[]', true)",
    "SELECT aegis_usage_partition('2040-01-01')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE",
)


@pytest.mark.parametrize("statement", TRIES)
def test_no_statement_widens_what_a_tenant_sees(kept_apart: Guarded, statement: str) -> None:
    me, other = tenant(kept_apart, "both"), tenant(kept_apart, "n")
    named = statement.format(me=me, other=other, group=kept_apart.names["tenant"], **{
        kind: name for kind, name in kept_apart.names.items() if kind in ("owner", "app")
    }) if "{" in statement else statement  # fmt: skip
    with kept_apart.connect(me) as conn:
        try:
            conn.execute(named)  # type: ignore[call-overload]
        except psycopg.Error as error:
            assert OTHERS not in str(error).replace(named, "")
        for read in (
            "SELECT namespace FROM episodic_memory",
            "SELECT customer_id FROM billing_events",
        ):
            try:
                assert column(conn, read) <= {MINE}
            except psycopg.errors.InsufficientPrivilege:
                # With row_security off the server would rather refuse than leave rows out.
                assert statement == "SET row_security = off"
    with kept_apart.admin() as admin:
        assert column(admin, "SELECT count(*) FROM episodic_memory") == {10}
        assert column(admin, "SELECT count(*) FROM pg_policy WHERE polname = 'mine'") == {0}


def test_a_tenants_function_is_asked_about_its_own_rows_alone(
    kept_apart: Guarded, cluster: Cluster
) -> None:
    # Even where somebody let it make functions of its own.
    me, database = tenant(kept_apart, "both"), kept_apart.admin().info.dbname
    cluster.admin.execute(
        sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(
            sql.Identifier(database), sql.Identifier(me)
        )
    )
    with kept_apart.connect(me) as conn:
        said: list[str] = []
        conn.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
        conn.execute("SET default_transaction_read_only = off")
        conn.execute(
            """
            CREATE FUNCTION pg_temp.leak(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
            AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$
            """
        )
        conn.execute("SELECT count(*) FROM episodic_memory WHERE pg_temp.leak(summary)")
        conn.execute("SELECT count(*) FROM api_usage_events WHERE pg_temp.leak(endpoint)")
        assert len(said) == 6
        assert not any(OTHERS in text for text in said)
        # What cannot be cast is told in the error: only its own can be met.
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="mine secret"):
            conn.execute("SELECT * FROM episodic_memory WHERE summary::int = 1")


def test_partitions_show_a_tenant_nothing_by_their_own_names(
    kept_apart: Guarded, conn: psycopg.Connection, cluster: Cluster
) -> None:
    me = tenant(kept_apart, "both")
    with kept_apart.admin() as admin:
        parts = column(
            admin,
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'api_usage_events'::regclass",
        )
        admin.execute("SELECT aegis_usage_partition('2033-03-01')")
        parts.add("api_usage_events_2033_03")
        admin.execute(
            "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, created_at)"
            " VALUES ('others', '/x', 'GET', 200, '2033-03-02')"
        )
        for part in parts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(part)))
            # And where somebody granted it, the partition's own rules hold: those made later, too.
            admin.execute(
                sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(part), sql.Identifier(me))
            )
            assert column(conn, f"SELECT customer_id FROM {part}") <= {MINE}


def test_copy_gives_a_tenant_its_own_rows(conn: psycopg.Connection) -> None:
    with (
        conn.cursor() as cursor,
        cursor.copy("COPY (SELECT summary FROM episodic_memory) TO STDOUT") as copy,
    ):
        got = b"".join(bytes(chunk) for chunk in copy)
    assert got.count(b"mine secret") == 5
    assert OTHERS.encode() not in got
    with conn.cursor() as cursor, cursor.copy("COPY episodic_memory TO STDOUT") as copy:
        assert OTHERS.encode() not in b"".join(bytes(chunk) for chunk in copy)


def test_a_write_that_somebody_grants_stays_within_the_tenants_rows(
    guarded: Guarded,
) -> None:
    asyncio.run(Tenants(guarded.dsn, guarded.settings).add("w", namespace=MINE))
    me = tenant(guarded, "w")
    with guarded.admin() as admin:
        admin.execute(POLICY.format("others"))
        admin.execute(
            sql.SQL("GRANT INSERT, UPDATE, DELETE ON memory_policies TO {}").format(
                sql.Identifier(me)
            )
        )
    with guarded.connect(me) as conn:
        conn.execute("SET default_transaction_read_only = off")
        conn.execute(POLICY.format("mine"))
        for statement in (
            POLICY.format("third"),
            "UPDATE memory_policies SET namespace = 'others'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                conn.execute(statement)
        assert conn.execute("DELETE FROM memory_policies").rowcount == 1


def test_statistics_tell_a_tenant_nothing_of_the_others(
    kept_apart: Guarded, conn: psycopg.Connection
) -> None:
    with kept_apart.admin() as admin:
        admin.execute("ANALYZE episodic_memory, api_usage_events")
    for view in ("pg_stats", "pg_stats_ext"):
        found = conn.execute(
            sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(view))
        ).fetchall()
        assert not any("secret" in row[0] for row in found)
    assert column(
        conn,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE '%others%' AND pid <> pg_backend_pid()",
    ) == {0}


def test_a_login_that_is_forgotten_sees_nothing(guarded: Guarded) -> None:
    tenants = Tenants(guarded.dsn, guarded.settings)
    asyncio.run(tenants.add("gone", namespace=MINE))
    me = tenant(guarded, "gone")
    with guarded.admin() as admin, guarded.connect(me) as conn:
        admin.execute(ROWS)
        assert column(conn, "SELECT count(*) FROM episodic_memory") == {5}
        admin.execute("DELETE FROM security_tenants")
        # It still belongs to the group: whose rows it sees is not known, so it sees none.
        assert column(conn, "SELECT count(*) FROM episodic_memory") == {0}
        assert asyncio.run(tenants.remove("gone")) == 1
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        guarded.connect(me)
    with pytest.raises(NotFound):
        asyncio.run(tenants.remove("gone"))
    assert not (guarded.roles().folder / me).exists()


def test_a_tenant_that_gets_into_the_group_by_another_way_sees_nothing(guarded: Guarded) -> None:
    stranger = f"{guarded.names['tenant']}x"
    with guarded.admin() as admin:
        admin.execute(ROWS)
        name = sql.Identifier(stranger)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(
            name, sql.Identifier(guarded.names["tenant"])
        ))  # fmt: skip
    with guarded.connect(stranger) as conn:
        assert column(conn, "SELECT count(*) FROM episodic_memory") == {0}
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(guarded.names["tenant"])))
        assert column(conn, "SELECT count(*) FROM episodic_memory") == {0}


def test_every_open_table_hides_the_rows_of_others(guarded: Guarded) -> None:
    with guarded.admin() as admin:
        admin.execute(MODERN_ROWS)
        admin.execute("DELETE FROM security_roles WHERE role_name = 'aegis_tenant'")
    asyncio.run(Tenants(guarded.dsn, guarded.settings).add("e", namespace="none", customer_id="no"))
    with guarded.connect(tenant(guarded, "e")) as conn, guarded.admin() as admin:
        filled = 0
        for table in sorted(open_tables()):
            # A column that it may see: others are refused before any row is looked at.
            hidden = UNSEEN.get(table, frozenset())
            columns = column(
                admin,
                "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
                f" AND attrelid = '{table}'::regclass",
            )
            seen = sorted(columns - hidden)[0]
            filled += column(admin, f"SELECT count(*) FROM {table}") != {0}
            assert column(conn, f"SELECT count({seen}) FROM {table}") == {0}, table
        for table in sorted(CLOSED):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))
    # There was something to hide.
    assert filled > 20


def test_tenants_are_refused_where_rows_are_not_kept_apart(bare: Guarded) -> None:
    tenants = Tenants(bare.dsn, bare.settings)
    with pytest.raises(OpsError, match="aegis security apply") as error:
        asyncio.run(tenants.add("n", namespace=MINE))
    assert error.value.code == "roles_missing"
    asyncio.run(bare.roles().apply())
    asyncio.run(tenants.add("n", namespace=MINE))
    with pytest.raises(Conflict):
        asyncio.run(tenants.add("n", namespace=OTHERS))
    with bare.admin() as admin:
        admin.execute("ALTER TABLE semantic_memory DISABLE ROW LEVEL SECURITY")
    with pytest.raises(OpsError):
        asyncio.run(tenants.add("m", namespace=OTHERS))
    (found,) = asyncio.run(tenants.list())
    assert (found.namespace, found.customer_id, found.can_log_in) == (MINE, None, True)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("", {"namespace": "a"}),
        ("A", {"namespace": "a"}),
        ('a"; DROP ROLE aegis', {"namespace": "a"}),
        ("x" * 21, {"namespace": "a"}),
        ("fine", {}),
        ("fine", {"namespace": " "}),
        ("fine", {"customer_id": "a\nb"}),
    ],
)
def test_what_is_no_tenant_is_refused(shared: Guarded, name: str, whose: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        asyncio.run(Tenants(shared.dsn, shared.settings).add(name, **whose))
