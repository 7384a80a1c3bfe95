"""Long work on a server that stands still: it is waited for, then given up in one line.

Nothing half done is listed, no lock stays, and the next run does it. The patience of commands is
thirty seconds; here it is shorter, except where a command of its own is sent Ctrl-C.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import Database, database, migrate, patience, vigil
from aegis.db.dump import dump
from aegis.db.postmaster import wait_until
from aegis.db.revision import HEAD
from aegis.errors import Unavailable
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.service import Backups
from aegis.ops.maintenance.service import Maintenance
from aegis.ops.restore.models import Wanted
from tests.cluster import Handle
from tests.trouble.freezing import (
    DUMPING,
    MIGRATING,
    RESTORING,
    VACUUMING,
    databases,
    free,
    frozen,
    middle,
    run_sql,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from aegis.config import Settings

pytestmark = pytest.mark.timeout(600)

WISHES = {
    "custom": Wish(compression="gzip:9"),
    "encrypted": Wish(compression="gzip:9", encrypt=True),
    "directory": Wish(format="directory", jobs=2, compression="gzip:9"),
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set how long a server that stands still is waited for."""

    def wait_for(silence_s: float) -> None:
        for module in (vigil, patience):
            monkeypatch.setattr(module, "LOOK_S", 0.1)
        monkeypatch.setattr(vigil, "ASK_S", 2)
        for module in (vigil, patience):
            monkeypatch.setattr(module, "WORK_SILENCE_S", silence_s)

    return wait_for


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], bool]:
    """Tell whether so many questions of whoever waits had no answer."""
    count = 0
    real, real_asker = vigil.answers, patience.asker

    def counting(*arguments: Any) -> bool:
        nonlocal count
        answer = real(*arguments)
        count += not answer
        return answer

    def counting_asker(*arguments: Any) -> Any:
        ask = real_asker(*arguments)

        async def answers() -> bool:
            nonlocal count
            answer = await ask()
            count += not answer
            return answer

        return answers

    monkeypatch.setattr(vigil, "answers", counting)
    monkeypatch.setattr(database, "asker", counting_asker)
    return lambda least: count >= least


def _unlocked(server: Handle) -> bool:
    """Return whether nobody holds an advisory lock."""
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        row = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    return row == (0,)


@contextmanager
def _nothing_is_dropped_by_chance() -> Generator[None]:
    """Leave it to the code to close what it does not use any more."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("wish", list(WISHES))
async def test_a_backup_is_given_up_in_one_line_and_the_next_one_is_made(
    server: Handle, settings: Settings, hasty: Callable[[float], None], wish: str
) -> None:
    hasty(1.0)
    backups = Backups(settings)
    with _nothing_is_dropped_by_chance():
        making = asyncio.create_task(backups.create(WISHES[wish]))
        await middle(server, DUMPING)
        with frozen(server):
            async with asyncio.timeout(60):
                with pytest.raises(Unavailable, match="stands still") as silent:
                    await making
        assert silent.value.code == "db_unreachable"
        assert "\n" not in silent.value.message
        assert wait_until(lambda: free(server), 60)
    assert await backups.list() == []
    assert list(backups.catalogue.folder.glob(".partial*")) == []
    assert (await backups.create()).verdict == "verified"


@pytest.mark.parametrize("wish", list(WISHES))
async def test_a_backup_goes_on_with_a_server_that_goes_on(
    server: Handle,
    settings: Settings,
    hasty: Callable[[float], None],
    unanswered: Callable[[int], bool],
    wish: str,
) -> None:
    hasty(300.0)
    making = asyncio.create_task(Backups(settings).create(WISHES[wish]))
    await middle(server, DUMPING)
    with frozen(server):
        assert await asyncio.to_thread(wait_until, lambda: unanswered(1), 60)
    async with asyncio.timeout(120):
        assert (await making).verdict == "verified"


async def test_a_restore_is_given_up_and_the_next_one_clears_up_after_it(
    server: Handle, settings: Settings, hasty: Callable[[float], None]
) -> None:
    backups = Backups(settings)
    await backups.create(Wish(compression="none"))
    before = databases(server)
    hasty(1.0)
    restoring = asyncio.create_task(backups.restore("latest", Wanted(into="given_up", jobs=2)))
    await middle(server, RESTORING)
    with frozen(server):
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match="stands still"):
                await restoring
    assert wait_until(lambda: free(server), 60)
    assert "given_up" not in databases(server)
    done = await backups.restore("latest", Wanted(into="given_up", jobs=2))
    assert done.verdict == "verified"
    assert databases(server) - before == {"given_up"}
    run_sql(server.dsn, "DROP DATABASE given_up")


async def test_a_restore_goes_on_with_a_server_that_goes_on(
    server: Handle,
    settings: Settings,
    hasty: Callable[[float], None],
    unanswered: Callable[[int], bool],
) -> None:
    """Whoever asked in the meantime is gone by the time that the database gets its name."""
    shown: set[str] = set()
    backups = Backups(settings, tell=lambda step, done, of: shown.add(step))
    await backups.create(Wish(compression="none"))
    before = databases(server)
    hasty(300.0)
    wanted = Wanted(into="gone_on", jobs=2)
    with _nothing_is_dropped_by_chance():
        restoring = asyncio.create_task(backups.restore("latest", wanted))
        await middle(server, RESTORING)
        with frozen(server):
            # The one who shows how far it is gives up before.
            assert await asyncio.to_thread(wait_until, lambda: unanswered(2), 60)
        async with asyncio.timeout(120):
            assert (await restoring).verdict == "verified"
    assert shown >= {"Restoring", "Comparing"}
    assert databases(server) - before == {"gone_on"}
    run_sql(server.dsn, "DROP DATABASE gone_on")


@pytest.mark.parametrize("ends", [True, False], ids=["for-good", "for-a-while"])
async def test_an_upgrade_is_at_a_valid_revision_and_the_next_one_goes_on(
    server: Handle,
    hasty: Callable[[float], None],
    unanswered: Callable[[int], bool],
    ends: bool,
) -> None:
    run_sql(server.dsn, "CREATE DATABASE rising TEMPLATE template0")
    url = make_conninfo(server.dsn, dbname="rising")
    migrate.upgrade(url, "0010")
    hasty(1.0 if ends else 300.0)
    rising = asyncio.create_task(asyncio.to_thread(migrate.upgrade, url))
    await middle(server, MIGRATING)
    with frozen(server):
        async with asyncio.timeout(60):
            if ends:
                with pytest.raises(Unavailable, match="stands still"):
                    await rising
            else:
                assert await asyncio.to_thread(wait_until, lambda: unanswered(1), 60)
    if ends:
        assert wait_until(lambda: free(server), 60)
        assert "0010" <= (migrate.current(url) or "") < HEAD
        migrate.upgrade(url)
    else:
        async with asyncio.timeout(120):
            await rising
    assert migrate.check(url) == []
    run_sql(server.dsn, "DROP DATABASE rising")


@pytest.mark.parametrize("owned", [True, False], ids=["owner", "pool"])
@pytest.mark.parametrize("ends", [True, False], ids=["for-good", "for-a-while"])
async def test_maintenance_is_given_up_or_goes_on(
    server: Handle,
    url: str,
    settings: Settings,
    hasty: Callable[[float], None],
    unanswered: Callable[[int], bool],
    ends: bool,
    owned: bool,
) -> None:
    run_sql(url, "UPDATE big SET i = i + 1")
    # Vacuuming takes seconds, or minutes, which the next run does not have to wait for.
    delay = "100ms" if ends else "3ms"
    run_sql(url, f"ALTER DATABASE still SET vacuum_cost_delay = '{delay}'")
    hasty(1.0 if ends else 300.0)
    settings = replace(settings, owner_url=url if owned else None)
    async with await Database.open(url, settings, min_size=1) as db:
        maintenance = Maintenance(db, settings)
        working = asyncio.create_task(maintenance.run(outside_window=True, tell=lambda _: None))
        await middle(server, VACUUMING)
        with frozen(server):
            async with asyncio.timeout(120):
                if ends:
                    with pytest.raises(Unavailable):
                        await working
                else:
                    # A request would have been given up by then.
                    assert await asyncio.to_thread(wait_until, lambda: unanswered(4), 100)
        if not ends:
            async with asyncio.timeout(120):
                assert (await working).interrupted == 0
    run_sql(url, "ALTER DATABASE still RESET vacuum_cost_delay")
    assert await asyncio.to_thread(wait_until, lambda: _unlocked(server), 60)
    async with await Database.open(url, settings, min_size=1) as db, asyncio.timeout(120):
        maintenance = Maintenance(db, settings)
        outcome = await maintenance.run(outside_window=True)
        assert (outcome.interrupted, outcome.failed) == (1 if ends else 0, 0)
        assert "running" not in {done.state for done in await maintenance.history()}


def test_the_dump_before_a_downgrade_is_given_up(
    server: Handle, url: str, tmp_path: Path, hasty: Callable[[float], None]
) -> None:
    hasty(1.0)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            dump(url, tmp_path)
        except Unavailable as error:
            ended.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    asyncio.run(middle(server, "application_name = 'pg_dump' AND query LIKE 'COPY public.big%'"))
    with frozen(server):
        thread.join(60)
    assert [type(error) for error in ended] == [Unavailable]
    assert list(tmp_path.iterdir()) == []
