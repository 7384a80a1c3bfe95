"""A server that stands still acknowledges and never answers; nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.config import load_settings
from aegis.db import Database, migrate, patience
from aegis.db.postmaster import wait_until
from aegis.errors import Unavailable
from aegis.ops.health import Health
from tests.cluster import Handle, handled_cluster, wheel_bin_dir
from tests.serving import serving
from tests.trouble.freezing import frozen
from tests.trouble.refusal import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[Handle]:
    with handled_cluster(wheel_bin_dir()) as handle:
        with psycopg.connect(handle.dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE still TEMPLATE template0")
        migrate.upgrade(make_conninfo(handle.dsn, dbname="still"))
        yield handle


@pytest.fixture
def url(server: Handle) -> str:
    return make_conninfo(server.dsn, dbname="still")


@pytest.fixture
def hasty(tmp_path: Path, url: str) -> Settings:
    return load_settings(
        {}, data_dir=tmp_path, database_url=url, embedder="none", connect_timeout_s=2.0,
        pool_timeout_s=2.0,
    )  # fmt: skip


async def test_a_statement_ends_and_the_next_one_works_when_the_server_goes_on(
    server: Handle, url: str, hasty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.1)
    async with await Database.open(url, hasty, min_size=1) as db:
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE kept (n int)")
        with frozen(server):
            async with asyncio.timeout(60):
                with pytest.raises(Unavailable) as silent:
                    async with db.transaction() as conn:
                        await conn.execute("INSERT INTO kept VALUES (1)")
                assert silent.value.code == "db_unreachable"
                # Whoever asks for a connection now is told as soon.
                with pytest.raises(Unavailable) as silent:
                    async with db.transaction():
                        pass
                assert silent.value.code == "db_unreachable"
        async with asyncio.timeout(60):
            while True:
                try:
                    async with db.transaction() as conn:
                        cursor = await conn.execute("INSERT INTO kept VALUES (2) RETURNING n")
                        assert await cursor.fetchone() == (2,)
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        async with db.transaction() as conn:
            cursor = await conn.execute("SELECT count(*) FROM kept WHERE n = 2")
            # What was never acknowledged may be there or not; what was is there once.
            assert await cursor.fetchone() == (1,)
            await conn.execute("DROP TABLE kept")


async def test_whoever_stops_waiting_is_let_go(
    server: Handle, url: str, hasty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.1)
    async with await Database.open(url, hasty, min_size=1) as db:
        with frozen(server):
            async with asyncio.timeout(60):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05), db.transaction() as conn:
                        await conn.execute("SELECT 1")


async def test_a_long_statement_is_waited_for_while_the_server_answers_others(
    url: str, hasty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.05)
    asked: list[bool] = []
    real = patience.asker

    def counting(*arguments: object) -> object:
        ask = real(*arguments)  # type: ignore[arg-type]

        async def answers() -> bool:
            asked.append(await ask())
            return asked[-1]

        return answers

    monkeypatch.setattr("aegis.db.database.asker", counting)
    async with await Database.open(url, hasty, min_size=1) as db, db.transaction() as conn:
        cursor = await conn.execute("SELECT pg_sleep(1.5)::text, pg_backend_pid()")
        assert await cursor.fetchone() == ("", conn.info.backend_pid)
    assert len(asked) >= 2
    assert all(asked)


async def test_no_free_slot_is_an_answer_too(url: str, hasty: Settings, server: Handle) -> None:
    ask = patience.asker(lambda: make_conninfo(url, user="nobody_here"), {"connect_timeout": 2})
    assert await ask()
    ask = patience.asker(lambda: url, {"connect_timeout": 2})
    assert await ask()
    with frozen(server):
        assert not await ask()


async def test_health_is_critical_whether_or_not_it_was_connected(
    server: Handle, url: str, hasty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.1)
    async with await Database.open(url, hasty, min_size=1) as db:
        health = Health(db, hasty)
        assert (await health.check(only=["latency"])).state == "ok"
        with frozen(server):
            async with asyncio.timeout(60):
                report = await health.check()
            states = {r.id: r.state for r in report.results}
            assert (report.state, states.pop("latency")) == ("critical", "critical")
            assert set(states.values()) == {"unknown"}
            done = run(tmp_path, "doctor", "--json", database_url=url, connect_timeout_s="2")
            assert done.returncode == 2, done.stderr
            assert json.loads(done.stdout)["state"] == "critical"
        async with asyncio.timeout(60):
            while (await health.check(only=["latency"])).state != "ok":
                await asyncio.sleep(0.05)


def test_who_serves_says_not_ready_and_then_ready_again(
    server: Handle, url: str, tmp_path: Path
) -> None:
    with (
        serving(tmp_path, database_url=url, embedder="none", connect_timeout_s="2") as served,
        served.http() as http,
    ):
        assert http.get("/readyz").status_code == 200
        with frozen(server):
            answer = http.get("/readyz")
            assert (answer.status_code, answer.json()["code"]) == (503, "db_unreachable")
            assert http.get("/healthz").status_code == 200
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 60)
