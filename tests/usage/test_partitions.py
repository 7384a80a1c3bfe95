"""Months: made in time, exported whole, dropped without a row that is nowhere."""

from __future__ import annotations

import asyncio
import builtins
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import AegisError, ConfigError, InvalidInput, NotFound, OpsError, Unavailable
from aegis.usage import Usage, parquet
from aegis.usage.spans import add_months, month_of
from aegis.usage.store import partitions as store
from tests.statements import rows
from tests.usage.conftest import event

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database

NOW = datetime.now(UTC)
OLD = add_months(month_of(NOW), -15)


async def fill(db: Database, month: date = OLD, count: int = 50) -> None:
    await rows(db, "SELECT aegis_usage_partition(%s)", month)
    await rows(
        db,
        "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, cost_usd, "
        "created_at) SELECT 'acme', '/x', 'GET', 200, 0.25, "
        "%s::timestamptz + n * '1 hour'::interval FROM generate_series(1, %s) AS n",
        f"{month} 00:00:00+00", count,
    )  # fmt: skip


async def months(db: Database) -> list[date]:
    found = await rows(db, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = "
                           "'api_usage_events'::regclass ORDER BY 1")  # fmt: skip
    return [date.fromisoformat(n[-7:].replace("_", "-") + "-01") for (n,) in found]


async def test_an_event_finds_its_month_when_nobody_ran_anything_for_long(
    usage: Usage, db: Database
) -> None:
    for month in await months(db):
        await rows(db, f"DROP TABLE api_usage_events_{month:%Y_%m}")
    batches = [[event(f"e{n}-{i}") for i in range(5)] for n in range(8)]
    done = await asyncio.gather(*(usage.record(batch) for batch in batches))
    assert sum(d.recorded for d in done) == 40
    assert await months(db) == [month_of(NOW)]


async def test_another_program_s_event_without_a_month_is_refused_loudly(db: Database) -> None:
    with pytest.raises(AegisError, match="no partition of relation"):
        await rows(
            db, "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, "
                "created_at) VALUES ('a', '/', 'GET', 200, '1999-01-01')",
        )  # fmt: skip


async def test_months_are_made_ahead_once(usage: Usage, db: Database) -> None:
    far = datetime(2031, 3, 15, tzinfo=UTC)
    made = await usage.partitions.ahead(now=far)
    assert made == [add_months(date(2031, 2, 1), n) for n in range(8)]
    assert await usage.partitions.ahead(now=far) == []
    assert set(made) < set(await months(db))


async def test_an_old_month_is_exported_read_back_and_dropped(
    usage: Usage, db: Database, settings: Settings
) -> None:
    await fill(db)
    kept = await rows(db, "SELECT sum(calls), sum(cost_usd) FROM usage_daily")
    done = await usage.partitions.keep_house()
    assert done.dropped == [OLD]
    assert OLD not in await months(db)
    [archive] = await usage.partitions.archives()
    assert (archive.state, archive.rows, archive.month) == ("dropped", 50, OLD)
    path = settings.data_dir / "archives" / "usage" / f"api_usage_events_{OLD:%Y_%m}.parquet"
    assert str(archive.path) == str(path)
    table: Any = parquet.arrow().parquet.read_table(path).to_pylist()
    assert len({row["id"] for row in table}) == 50
    assert table[0]["customer_id"] == "acme"
    assert parquet.sha256_of(path) == archive.sha256
    # The sums stay, and are not compared with events that are elsewhere.
    assert await rows(db, "SELECT sum(calls), sum(cost_usd) FROM usage_daily") == kept
    assert (await usage.reconcile()).differences == []
    assert (await usage.partitions.keep_house()).dropped == []


async def test_events_that_come_between_export_and_detach_are_in_the_file(
    usage: Usage, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(db)
    detach = store.detach

    async def late(conn: Any, table: str) -> None:
        await conn.execute(
            f"INSERT INTO {table} (customer_id, endpoint, method, status_code, created_at) "
            f"VALUES ('late', '/x', 'GET', 200, '{OLD} 01:00:00+00')"
        )
        await detach(conn, table)

    monkeypatch.setattr(store, "detach", late)
    assert (await usage.partitions.keep_house()).dropped == [OLD]
    [archive] = await usage.partitions.archives()
    assert archive.rows == 51


@pytest.mark.parametrize(
    ("when", "step"),
    [
        *(("before", step) for step in ("insert_archive", "detach", "drop", "mark_dropped")),
        # A month is dropped and marked in one transaction: there is no state between.
        *(("after", step) for step in ("insert_archive", "detach", "mark_dropped")),
    ],
)
async def test_a_crash_at_any_step_loses_nothing_and_the_next_round_goes_on(
    usage: Usage, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str,
    when: str,
) -> None:  # fmt: skip
    await fill(db)
    real = getattr(store, step)

    async def crash(conn: Any, *arguments: Any) -> None:
        if when == "after":
            await real(conn, *arguments)
            # Committed, and then the power goes: what `transaction` would roll back stays.
            await conn.execute("COMMIT")
        raise RuntimeError("power cut")

    monkeypatch.setattr(store, step, crash)
    with pytest.raises((RuntimeError, psycopg.Error, AegisError)):
        await usage.partitions.keep_house()
    monkeypatch.undo()
    await Usage(db, settings).partitions.keep_house()
    [archive] = await usage.partitions.archives()
    assert (archive.state, archive.rows) == ("dropped", 50)
    assert OLD not in [p.month for p in await usage.partitions.list()]


async def test_an_empty_month_leaves_without_a_file(usage: Usage, db: Database) -> None:
    await fill(db, count=0)
    assert (await usage.partitions.keep_house()).dropped == [OLD]
    assert await usage.partitions.archives() == []


async def test_a_file_that_lies_keeps_the_month(
    usage: Usage, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(db)

    def nothing(_: Path) -> parquet.Digest:
        return parquet.Digest()

    monkeypatch.setattr(parquet, "read_digest", nothing)
    with pytest.raises(OpsError, match="does not hold what was written"):
        await usage.partitions.keep_house()
    assert OLD in await months(db)


async def test_without_pyarrow_the_month_stays_and_the_extra_is_named(
    usage: Usage, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(db)
    real = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(parquet.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"aegis-core\[parquet\]"):
        await usage.partitions.keep_house()
    assert OLD in await months(db)


async def test_months_within_the_setting_stay(db: Database, settings: Settings) -> None:
    await fill(db)
    usage = Usage(db, replace(settings, usage_keep_months=15))
    assert (await usage.partitions.keep_house()).dropped == []


async def test_a_writer_that_never_ends_is_not_made_to_wait_long(
    usage: Usage, db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(db)
    monkeypatch.setattr("aegis.usage.partitions._LOCK_WAIT", "20ms")
    monkeypatch.setattr("aegis.usage.partitions._TRIES", 2)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT count(*) FROM api_usage_events")
        with pytest.raises(Unavailable):
            await usage.partitions.keep_house()
        assert OLD in await months(db)
    assert (await usage.partitions.keep_house()).dropped == [OLD]


async def test_export_alone_leaves_the_month_where_it_is(usage: Usage, db: Database) -> None:
    await fill(db)
    archive = await usage.partitions.export(OLD)
    assert (archive.rows, archive.state) == (50, "exported")
    assert OLD in await months(db)
    with pytest.raises(NotFound):
        await usage.partitions.export(date(2001, 1, 1))
    with pytest.raises(InvalidInput, match="late events still come"):
        await usage.partitions.export(month_of(NOW))


async def test_ids_are_forgotten_when_no_sender_can_use_them_again(
    usage: Usage, db: Database
) -> None:
    await usage.record([event("new"), event("old"), event("resent")])
    await rows(db, "UPDATE usage_event_ids SET created_at = now() - '37 days'::interval, "
                   "recorded_at = now() - '37 days'::interval WHERE event_id = 'old'")  # fmt: skip
    await rows(db, "UPDATE usage_event_ids SET created_at = now() - '37 days'::interval "
                   "WHERE event_id = 'resent'")  # fmt: skip
    assert (await usage.partitions.keep_house()).forgotten_ids == 1
    left = await rows(db, "SELECT event_id FROM usage_event_ids ORDER BY 1")
    assert left == [("new",), ("resent",)]
