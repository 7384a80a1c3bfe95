"""Tenants behind a pooler that lends the same few processes to everybody in turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.client import Aegis
from aegis.db import Database
from aegis.security.audit.actor import Actor, acting_as
from aegis.security.roles.tenants import Tenants
from tests.pooler import PASSWORD, Pooler, pooled
from tests.security.test_tenants import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.conftest import Guarded

pytestmark = pytest.mark.servers("18", "16")
WHOSE = ("mine", "others")


@pytest.fixture
def tenants(guarded: Guarded) -> dict[str, str]:
    """Names of logins by whose rows they see."""
    made = Tenants(guarded.dsn, guarded.settings)

    async def add() -> None:
        for whose in WHOSE:
            await made.add(whose, namespace=whose, customer_id=whose)

    with guarded.admin() as admin:
        admin.execute(ROWS)
    asyncio.run(add())
    return {whose: f"{guarded.names['tenant']}_{whose}" for whose in WHOSE}


@pytest.fixture
def narrow(guarded: Guarded, tenants: dict[str, str]) -> Iterator[Pooler]:
    """One process for each login, which all of its clients share."""
    logins = [*tenants.values(), guarded.names["app"]]
    users = dict.fromkeys(logins, PASSWORD)
    with pooled(guarded.dsn, users=users, default_pool_size=1) as pooler:
        yield pooler


def connect(pooler: Pooler, user: str) -> psycopg.Connection:
    return psycopg.connect(pooler.url_of(user), autocommit=True, prepare_threshold=None)


def seen_by(conn: psycopg.Connection) -> set[Any]:
    rows = conn.execute(
        "SELECT namespace FROM episodic_memory "
        "UNION SELECT customer_id FROM api_usage_events "
        "UNION SELECT customer_id FROM billing_events"
    ).fetchall()
    return {row[0] for row in rows}


def test_tenants_that_take_turns_see_their_own_rows_alone(
    guarded: Guarded, narrow: Pooler, tenants: dict[str, str]
) -> None:
    clients = [(whose, connect(narrow, tenants[whose])) for _ in range(3) for whose in WHOSE]
    app = connect(narrow, guarded.names["app"])
    try:
        for _ in range(5):
            for whose, conn in clients:
                assert seen_by(conn) == {whose}
                assert seen_by(app) == set(WHOSE)
                assert conn.execute("SELECT session_user::text").fetchone() == (tenants[whose],)
    finally:
        for conn in (app, *(conn for _, conn in clients)):
            conn.close()


@pytest.mark.parametrize(
    "left",
    [
        "SET row_security = off",
        "SET search_path = pg_temp, public",
        "SET ROLE NONE",
        "SELECT set_config('role', {other}, false)",
        "SET SESSION AUTHORIZATION {other}",
        "BEGIN READ WRITE; CREATE TEMP TABLE episodic_memory (namespace text); COMMIT",
        "PREPARE all_of_it AS SELECT namespace FROM episodic_memory",
        "DECLARE all_of_it CURSOR WITH HOLD FOR SELECT namespace FROM episodic_memory",
    ],
)
def test_what_a_tenant_leaves_in_its_process_reaches_nobody_else(
    guarded: Guarded, narrow: Pooler, tenants: dict[str, str], left: str
) -> None:
    statement = sql.SQL(left).format(other=sql.Literal(tenants["others"]))  # type: ignore[arg-type]
    with (
        connect(narrow, tenants["mine"]) as hostile,
        connect(narrow, tenants["others"]) as other,
        connect(narrow, guarded.names["app"]) as app,
    ):
        assert seen_by(other) == {"others"}
        try:
            hostile.execute(statement)
        except psycopg.Error as error:
            hostile.rollback()
            assert isinstance(
                error,
                psycopg.errors.InsufficientPrivilege | psycopg.errors.InvalidParameterValue,
            ), error
        for _ in range(3):
            assert seen_by(other) == {"others"}
            assert seen_by(app) == set(WHOSE)
            try:
                assert seen_by(hostile) <= {"mine"}
            except psycopg.Error as error:
                # It may have locked itself out.
                assert not isinstance(error, psycopg.OperationalError)


async def test_the_log_names_who_acted_though_they_share_a_process(
    guarded: Guarded, narrow: Pooler
) -> None:
    url = make_conninfo(narrow.url, user=guarded.names["app"], password=PASSWORD)
    async with (
        await Database.open(url, guarded.settings, min_size=1) as one,
        await Database.open(url, guarded.settings, min_size=1) as two,
    ):
        assert (one.pooling, two.pooling) == ("transaction", "transaction")

        async def issue(db: Database, who: str, count: int) -> None:
            client = Aegis(db, None, guarded.settings)
            for _ in range(count):
                with acting_as(Actor(kind="operator", face="cli", id=who)):
                    await client.keys.issue(f"customer-of-{who}")

        await asyncio.gather(issue(one, "ada", 8), issue(two, "bob", 8))
    async with await psycopg.AsyncConnection.connect(guarded.dsn) as conn:
        cursor = await conn.execute(
            "SELECT actor_id, details::text FROM audit_log WHERE action = 'keys.issue'"
        )
        rows: list[Any] = await cursor.fetchall()
    assert sorted(who for who, _ in rows) == ["ada"] * 8 + ["bob"] * 8
    assert all(f"customer-of-{who}" in details for who, details in rows)
