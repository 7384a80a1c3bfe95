"""What a server must be and have is checked when it is opened, on real servers that lack it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.config import load_settings
from aegis.db.query import fetch_value
from aegis.db.server import check_server, endpoint
from aegis.errors import OpsError, Unavailable
from tests.cluster import embedded_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.db import Connection

pytestmark = pytest.mark.servers("18", "16")


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database without anything in it."""
    async with await psycopg.AsyncConnection.connect(empty_dsn) as connection:
        yield connection


async def test_a_good_server_is_reported_and_gets_pgvector(empty: Connection, server: str) -> None:
    report = await check_server(empty)
    assert report.version.split(".")[0] == server
    assert report.version_num // 10_000 == int(server)
    assert report.pgvector.startswith("0.8")
    assert report.advice == ()
    assert await fetch_value(empty, "SELECT '[1,2]'::vector <-> '[1,2]'") == 0
    assert await check_server(empty) == report


async def test_an_old_server_is_refused(empty: Connection) -> None:
    with pytest.raises(OpsError, match="Aegis needs 99 or later") as caught:
        await check_server(empty, oldest=990_000)
    assert caught.value.code == "server_too_old"


async def test_a_read_only_server_is_refused(empty_dsn: str) -> None:
    read_only = make_conninfo(empty_dsn, options="-c default_transaction_read_only=on")
    async with await psycopg.AsyncConnection.connect(read_only) as conn:
        with pytest.raises(Unavailable, match="read-only") as caught:
            await check_server(conn)
    assert caught.value.code == "db_read_only"


async def test_a_user_who_may_not_install_pgvector_is_told_who_may(
    empty: Connection, empty_dsn: str
) -> None:
    await empty.execute("SET ROLE pg_monitor")
    with pytest.raises(OpsError, match=r"superuser.*CREATE EXTENSION vector") as caught:
        await check_server(empty)
    assert caught.value.code == "pgvector_forbidden"
    # The caller's transaction is still of use.
    await empty.execute("RESET ROLE")
    assert (await check_server(empty)).pgvector


async def test_a_user_without_rights_may_use_the_pgvector_that_is_there(empty: Connection) -> None:
    await empty.execute("CREATE EXTENSION vector")
    await empty.execute("SET ROLE pg_monitor")
    assert (await check_server(empty)).pgvector.startswith("0.8")


async def test_an_old_pgvector_is_accepted_with_advice(empty: Connection) -> None:
    await empty.execute("CREATE EXTENSION vector")
    await empty.execute("UPDATE pg_extension SET extversion = '0.5.1' WHERE extname = 'vector'")
    report = await check_server(empty)
    assert report.pgvector == "0.5.1"
    assert len(report.advice) == 1
    assert "0.8" in report.advice[0]
    await empty.execute("UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'")
    assert "ALTER EXTENSION vector UPDATE" in (await check_server(empty)).advice[0]


@pytest.mark.servers("18")
async def test_a_server_without_pgvector_is_told_the_package(empty: Connection) -> None:
    # The server looks for extensions where there are none.
    await empty.execute("SET extension_control_path = '/nonexistent'")
    with pytest.raises(OpsError, match="postgresql-18-pgvector") as caught:
        await check_server(empty)
    assert caught.value.code == "pgvector_missing"


def test_the_configured_address_wins_over_the_embedded_server() -> None:
    with embedded_folder() as data_dir:
        url = "postgresql://someone@db.example/aegis"
        assert endpoint(load_settings({}, data_dir=data_dir, database_url=url)) == url
        assert not data_dir.exists()
        with psycopg.connect(endpoint(load_settings({}, data_dir=data_dir))) as conn:
            assert conn.execute("SELECT current_database()").fetchone() == ("aegis",)
