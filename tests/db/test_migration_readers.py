"""A revision that needs a table for itself, and somebody who reads it all the while."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.db import admin, migrate
from aegis.errors import AegisError, Unavailable
from tests.db.rows import execute, fill, value

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.servers("18", "16")

_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "DDL_LOCK_TIMEOUT_S", 0.3)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_tries_again_until_the_reader_is_done_and_others_read_in_between(
    empty_dsn: str,
) -> None:
    migrate.upgrade(empty_dsn, "0001")
    fill(empty_dsn)
    count = value(empty_dsn, "SELECT count(*) FROM episodic_memory")
    failures: list[AegisError] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty_dsn)
        except AegisError as error:
            failures.append(error)

    with (
        psycopg.connect(empty_dsn) as reader,
        psycopg.connect(empty_dsn, autocommit=True) as other,
    ):
        reader.execute("SELECT count(*) FROM episodic_memory")
        thread = threading.Thread(target=upgrade)
        thread.start()
        until(lambda: value(empty_dsn, _WAITS) > 0)
        # Whoever comes behind the revision waits as long as it does, and no longer.
        other.execute("SET statement_timeout = '30s'")
        for _ in range(2):
            assert other.execute("SELECT count(*) FROM episodic_memory").fetchone() == (count,)
            until(lambda: value(empty_dsn, _WAITS) > 0)
        assert thread.is_alive()
        reader.rollback()
        thread.join(120)
    assert failures == []
    assert migrate.check(empty_dsn) == []
    assert value(empty_dsn, "SELECT count(*) FROM episodic_memory") == count


def test_a_reader_that_never_ends_is_named_and_the_schema_is_valid(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PAUSES_S", (0.01, 0.01))
    migrate.upgrade(empty_dsn, "0001")
    with psycopg.connect(empty_dsn, application_name="a report") as reader:
        reader.execute("SELECT count(*) FROM episodic_memory")
        with pytest.raises(Unavailable) as kept:
            migrate.upgrade(empty_dsn)
        assert kept.value.code == "db_lock_timeout"
        assert f"pid {reader.info.backend_pid} (a report" in kept.value.message
        assert "3 times" in kept.value.message
        reached = migrate.current(empty_dsn)
        assert reached is not None
        reader.rollback()
    migrate.upgrade(empty_dsn)
    assert migrate.check(empty_dsn) == []


def test_the_way_back_waits_for_readers_too(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "PAUSES_S", (0.01,) * 200)
    threads: list[threading.Thread] = []
    with psycopg.connect(dsn) as reader:
        reader.execute("LOCK TABLE episodic_memory IN ACCESS SHARE MODE")
        threads.append(threading.Thread(target=migrate.downgrade, args=(dsn, "0002")))
        threads[0].start()
        until(lambda: value(dsn, _WAITS) > 0)
        reader.rollback()
        threads[0].join(120)
    assert migrate.current(dsn) == "0002"
    migrate.upgrade(dsn)
    assert migrate.check(dsn) == []


def test_what_a_view_of_somebodys_needs_is_not_tried_again(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PAUSES_S", (3_600.0,))
    migrate.upgrade(empty_dsn, "0002")
    execute(empty_dsn, "CREATE VIEW recent AS SELECT * FROM episodic_memory")
    with pytest.raises(AegisError, match="view recent"):
        migrate.upgrade(empty_dsn)
