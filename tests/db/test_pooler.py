"""A real PgBouncer before the server: recognised, whatever its mode, and nothing left in it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.config import load_settings
from aegis.db import Database, fetch_value
from aegis.db.admin import admin_connection, exclusive_connection
from aegis.db.opening import connect_once, connection_arguments, find_way, server_pid
from aegis.db.pooler import parted_options
from aegis.db.server import direct_endpoint, owner_endpoint
from aegis.errors import AegisError, ConfigError, Unavailable
from tests.cluster import handled_cluster, wheel_bin_dir
from tests.conftest import WHEELS
from tests.pooler import UNTOUCHED, Pooler, left_in, pooled, taking_turns, warm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A pooler's first client waits until the server has let the pooler in."""
    return replace(settings, connect_timeout_s=30.0)


@pytest.fixture
def turning(dsn: str) -> Iterator[Pooler]:
    """By transactions, each of which gets the process that was not used for longest."""
    with taking_turns(dsn) as pooler:
        yield pooler


@pytest.fixture
async def shared(turning: Pooler, settings: Settings) -> AsyncIterator[Database]:
    """Our pool behind it, with three processes that take turns."""
    async with await Database.open(turning.url, settings, min_size=1) as db:
        await warm(turning)
        yield db


@pytest.mark.parametrize("options", ["refused", "ignored"])
@pytest.mark.parametrize(
    ("mode", "turns"), [("session", 0), ("transaction", 0), ("transaction", 1)]
)
async def test_pooler_and_its_mode_are_recognised(
    dsn: str, settings: Settings, mode: str, turns: int, options: str
) -> None:
    ignored = "options" if options == "ignored" else ""
    with pooled(dsn, mode, server_round_robin=turns, ignore_startup_parameters=ignored) as pooler:
        assert (await find_way(pooler.url, settings)).pooling == mode
        await warm(pooler)
        assert (await find_way(pooler.url, settings)).pooling == mode
    assert (await find_way(dsn, settings)).pooling == "none"


async def test_mode_is_recognised_while_others_use_the_pooler(
    turning: Pooler, settings: Settings
) -> None:
    busy = True

    async def others() -> None:
        async with await psycopg.AsyncConnection.connect(turning.url, autocommit=True) as conn:
            while busy:
                await conn.execute("SELECT 1", prepare=False)

    tasks = [asyncio.create_task(others()) for _ in range(3)]
    try:
        for _ in range(5):
            assert (await find_way(turning.url, settings)).pooling == "transaction"
    finally:
        busy = False
        await asyncio.gather(*tasks)


async def test_pooling_by_statements_is_refused_in_one_line(dsn: str, settings: Settings) -> None:
    with pooled(dsn, "statement") as pooler:
        with pytest.raises(ConfigError, match="pool_mode = transaction") as caught:
            await Database.open(pooler.url, settings)
        assert caught.value.code == "db_pooling_statements"
        assert "\n" not in caught.value.message


async def test_pool_of_one_process_by_sessions_is_said_to_be_too_small(
    dsn: str, settings: Settings
) -> None:
    quick = replace(settings, connect_timeout_s=2.0)
    with (
        pooled(dsn, "session", default_pool_size=1) as pooler,
        pytest.raises(Unavailable, match="default_pool_size"),
    ):
        await Database.open(pooler.url, quick)


async def test_server_that_is_down_behind_a_pooler_is_said_to_be(settings: Settings) -> None:
    quick = replace(settings, connect_timeout_s=2.0)
    with handled_cluster(wheel_bin_dir(WHEELS["18"])) as server, pooled(server.dsn) as pooler:
        async with await connect_once(pooler.url, quick) as conn:
            assert await fetch_value(conn, "SELECT 1") == 1
        server.stop()
        try:
            with pytest.raises(Unavailable) as caught:
                await Database.open(pooler.url, quick)
        finally:
            server.start()
        assert caught.value.code == "db_unreachable"
        assert "\n" not in caught.value.message


async def test_user_that_the_pooler_does_not_know_is_told_so(
    turning: Pooler, settings: Settings
) -> None:
    for url in (turning.url_of("stranger"), make_conninfo(turning.url, password="wrong")):
        with pytest.raises(ConfigError) as caught:
            await Database.open(url, settings)
        assert caught.value.code == "db_login_refused"


async def test_transactions_have_our_settings_and_leave_none(
    turning: Pooler, shared: Database, settings: Settings
) -> None:
    limited = replace(settings, statement_timeout_ms=4_321, lock_timeout_ms=1_234)
    async with await Database.open(turning.url, limited, min_size=1) as db:
        for _ in range(6):
            async with db.transaction() as conn:
                assert await fetch_value(conn, "SHOW statement_timeout") == "4321ms"
                assert await fetch_value(conn, "SHOW lock_timeout") == "1234ms"
                assert await fetch_value(conn, "SHOW jit") == "off"
                assert await fetch_value(conn, "SHOW TimeZone") == "UTC"
                assert str(conn.info.timezone) == "UTC"
            async with db.connection() as conn:
                assert await fetch_value(conn, "SHOW TimeZone") == "UTC"
    assert await left_in(turning) == {UNTOUCHED}


async def test_transaction_is_undone_by_an_error_and_its_loan_ends(
    turning: Pooler, shared: Database
) -> None:
    async with shared.transaction() as conn:
        await conn.execute("CREATE TABLE kept (n int)")
    with pytest.raises(AegisError):
        async with shared.transaction() as conn:
            await conn.execute("INSERT INTO kept VALUES (1)")
            await conn.execute("SELECT 1/0")
    with pytest.raises(KeyError):
        async with shared.transaction() as conn:
            await conn.execute("INSERT INTO kept VALUES (2)")
            raise KeyError
    async with shared.transaction() as conn, conn.transaction():
        await conn.execute("SET LOCAL search_path = public")
        await conn.execute("INSERT INTO kept VALUES (3)")
    task = asyncio.create_task(_hold(shared))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(6):
        async with shared.transaction() as conn:
            assert await fetch_value(conn, "SELECT array_agg(n) FROM kept") == [3]


async def _hold(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO kept VALUES (4)")
        await conn.execute("SELECT pg_sleep(60)")


async def test_isolation_level_can_be_set_in_a_transaction(shared: Database) -> None:
    async with shared.transaction() as conn:
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        assert await fetch_value(conn, "SHOW transaction_isolation") == "repeatable read"


async def test_statements_are_prepared_in_no_process(turning: Pooler, shared: Database) -> None:
    for _ in range(9):
        async with shared.connection() as conn:
            await conn.execute("SELECT %(n)s::int", {"n": 1}, prepare=True)
        async with shared.transaction() as conn:
            for _ in range(7):
                await conn.execute("SELECT %(n)s::int + 1", {"n": 1})
            assert await fetch_value(conn, "SELECT count(*) FROM pg_prepared_statements") == 0


async def test_reading_keeps_one_process_where_connection_does_not(
    turning: Pooler, shared: Database
) -> None:
    async with shared.connection() as conn:
        assert len({await server_pid(conn) for _ in range(6)}) == 3
    async with shared.reading() as conn:
        assert len({await server_pid(conn) for _ in range(6)}) == 1


async def test_sessions_are_refused_without_a_way_past(shared: Database) -> None:
    for lent in (shared.session("A lock"), shared.owner("A lock")):
        with pytest.raises(ConfigError, match="Set AEGIS_DIRECT_DATABASE_URL") as caught:
            async with lent:
                pytest.fail("lent all the same")
        assert caught.value.code == "db_needs_session"
        assert caught.value.message.startswith("A lock needs a session of its own")
    with pytest.raises(ConfigError, match="Listening for notifications needs"):
        await shared.dedicated()


async def test_sessions_go_past_the_pooler(turning: Pooler, settings: Settings) -> None:
    ways = replace(settings, database_url=turning.url, direct_database_url=turning.direct)
    async with await Database.open(turning.url, ways, min_size=1) as db:
        for lent in (db.session(), db.owner()):
            async with lent as conn:
                assert await server_pid(conn) == conn.info.backend_pid
                assert await fetch_value(conn, "SHOW statement_timeout") == "30s"
        conn = await db.dedicated()
        async with conn:
            assert await server_pid(conn) == conn.info.backend_pid
    assert direct_endpoint(ways) == owner_endpoint(ways) == turning.direct
    assert owner_endpoint(replace(ways, owner_url="o")) == "o"


async def test_way_past_that_is_none_is_refused(
    turning: Pooler, settings: Settings, empty_dsn: str
) -> None:
    ways = replace(settings, database_url=turning.url, direct_database_url=turning.url)
    async with await Database.open(turning.url, ways, min_size=1) as db:
        with pytest.raises(ConfigError, match="AEGIS_DIRECT_DATABASE_URL leads to a pooler"):
            async with db.session():
                pytest.fail("lent all the same")
    for url, code in ((empty_dsn, "db_direct_elsewhere"), ("port=1 host=/nowhere", "")):
        ways = replace(ways, direct_database_url=url)
        async with await Database.open(turning.url, ways, min_size=1) as db:
            with pytest.raises((ConfigError, Unavailable)) as caught:
                async with db.session():
                    pytest.fail("lent all the same")
            assert caught.value.code == (code or "db_unreachable")
    ways = replace(ways, owner_url=turning.url)
    async with await Database.open(turning.url, ways, min_size=1) as db:
        with pytest.raises(ConfigError, match="AEGIS_OWNER_URL leads to a pooler"):
            async with db.owner():
                pytest.fail("lent all the same")


def test_way_past_a_pooler_needs_the_pooler() -> None:
    with pytest.raises(ConfigError, match="AEGIS_DATABASE_URL is not"):
        load_settings({"AEGIS_DIRECT_DATABASE_URL": "postgresql://u@h/d"})


def test_schema_is_changed_in_a_session_alone(turning: Pooler) -> None:
    for lent in (exclusive_connection(turning.url), admin_connection(turning.url)):
        with pytest.raises(ConfigError, match="AEGIS_DIRECT_DATABASE_URL") as caught, lent:
            pytest.fail("lent all the same")
        assert caught.value.code == "db_needs_session"
        assert "let-me-through" not in caught.value.message


async def test_reading_of_the_schema_leaves_nothing(turning: Pooler, shared: Database) -> None:
    for _ in range(6):
        with admin_connection(turning.url, transactions=True) as conn:
            for _ in range(9):
                assert conn.execute("SELECT %s::int", (1,)).fetchone() == (1,)
                conn.commit()
    assert await left_in(turning) == {UNTOUCHED}


async def test_by_sessions_everything_is_as_without_a_pooler(dsn: str, settings: Settings) -> None:
    with pooled(dsn, "session") as pooler:
        url = make_conninfo(pooler.url, options="-c search_path=public,pg_catalog")
        async with await Database.open(url, settings, min_size=1) as db:
            async with db.connection() as conn:
                assert await fetch_value(conn, "SHOW statement_timeout") == "30s"
                assert await fetch_value(conn, "SHOW TimeZone") == "UTC"
                assert await fetch_value(conn, "SHOW search_path") == "public,pg_catalog"
            async with db.session() as conn:
                assert await fetch_value(conn, "SELECT pg_try_advisory_lock(7)")
                async with db.session() as other:
                    assert not await fetch_value(other, "SELECT pg_try_advisory_lock(7)")
            for _ in range(9):
                async with db.connection() as conn:
                    await conn.execute("SELECT %(n)s::int", {"n": 1}, prepare=True)
        with exclusive_connection(url) as alone:
            assert alone.execute("SHOW statement_timeout").fetchone() == ("0",)
            assert alone.execute("SHOW search_path").fetchone() == ("public,pg_catalog",)


async def test_options_of_the_address_are_not_lost_silently(
    turning: Pooler, settings: Settings
) -> None:
    url = make_conninfo(turning.url, options="-c search_path=mine -c work_mem=8MB")
    with pytest.raises(ConfigError, match=r"\(search_path, work_mem\)") as caught:
        await Database.open(url, settings)
    assert caught.value.code == "db_options_lost"
    with (
        pytest.raises(ConfigError, match=r"\(search_path, work_mem\)"),
        admin_connection(url, transactions=True),
    ):
        pytest.fail("lent all the same")
    with pooled(turning.direct, ignore_startup_parameters="") as pooler:
        url = make_conninfo(pooler.url, options="-c work_mem=8MB")
        with pytest.raises(ConfigError, match="ignore_startup_parameters"), admin_connection(url):
            pytest.fail("lent all the same")


@pytest.mark.parametrize(
    ("text", "settings", "others"),
    [
        ("", (), ""),
        ("-c a=1 -cb=2 --c-d=3", (("a", "1"), ("b", "2"), ("c_d", "3")), ""),
        (r"-c a=x\ y\\z endpoint=ep-1", (("a", r"x y\z"),), "endpoint=ep-1"),
        ("-c", (), "-c"),
        ("-c nothing -E", (), "-cnothing -E"),
    ],
)
def test_options_are_parted(text: str, settings: object, others: str) -> None:
    assert parted_options(make_conninfo(dbname="d", options=text)) == (settings, others)


def test_our_own_options_are_such_that_a_pooler_can_read_them(settings: Settings) -> None:
    text = connection_arguments(settings, "options='-c work_mem=8MB'")["options"]
    given, others = parted_options(make_conninfo(options=text))
    assert others == ""
    assert ("work_mem", "8MB") in given
    # PgBouncer from 1.20 on refuses a blank at the end.
    assert connection_arguments(settings)["options"] == text.removesuffix(" -c work_mem=8MB")
