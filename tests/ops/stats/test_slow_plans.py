"""Plans that auto_explain writes into the log of a real server, and hostile lines in it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import Database, migrate
from aegis.errors import InvalidInput, Unavailable
from aegis.ops.stats import Stats
from aegis.ops.stats.slow_plans import parse
from tests.cluster import throwaway_cluster, wheel_bin_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.ops.stats.models import SlowPlan


@pytest.fixture(scope="module")
def logging_server() -> Iterator[str]:
    conf = {
        "logging_collector": "on",
        "log_destination": "stderr",
        "log_directory": "log",
        # What cannot be changed in a database's own settings stays as it is.
        "session_preload_libraries": "",
    }
    with throwaway_cluster(wheel_bin_dir(), settings=conf) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute('CREATE DATABASE "its slow" TEMPLATE template0')
        url = make_conninfo(dsn, dbname="its slow")
        migrate.upgrade(url)
        yield url


def ask(url: str, statement: str, params: Any = None) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode(), params)


async def _logged(stats: Stats, times: int) -> dict[str, SlowPlan]:
    """Return the plans by statement as soon as so many are logged: another process does that."""
    async with asyncio.timeout(30):
        while True:
            found = await stats.recorded_plans()
            if sum(one.times for one in found) >= times:
                return {one.query: one for one in found}
            await asyncio.sleep(0.02)


async def test_plans_of_slow_statements_are_logged_read_and_ended(
    logging_server: str, settings: Settings
) -> None:
    url = logging_server
    async with await Database.open(url, settings, min_size=1) as db:
        stats = Stats(db)
        await stats.record_plans(slower_than_ms=20, analyze=True)
        ask(url, "SELECT pg_sleep(0.04)")
        ask(url, "SELECT count(*) FROM pg_class, pg_sleep(%s)", (0.05,))
        ask(url, "SELECT pg_sleep(0.03)")
        ask(url, "SELECT pg_sleep(0.04)")
        ask(url, "SELECT 1 AS quick")
        found = await _logged(stats, 4)
        assert found["SELECT pg_sleep(0.04)"].times == 2
        counted = found["SELECT count(*) FROM pg_class, pg_sleep($1)"]
        assert counted.milliseconds >= 50
        assert any("on pg_class" in line and "really" in line for line in counted.plan)
        assert not [query for query in found if "quick" in query]
        assert [one.milliseconds for one in await stats.recorded_plans()] == sorted(
            (one.milliseconds for one in found.values()), reverse=True
        )
        assert len(await stats.recorded_plans(limit=1)) == 1

        await stats.stop_recording_plans()
        ask(url, "SELECT pg_sleep(0.05) AS unseen")
        assert not [o for o in await stats.recorded_plans() if "unseen" in o.query]


async def test_libraries_that_were_preloaded_stay(logging_server: str, settings: Settings) -> None:
    url = logging_server
    name = conninfo_to_dict(url)["dbname"]
    ask(url, f'ALTER DATABASE "{name}" SET session_preload_libraries = pg_trgm, auto_explain')

    def preloaded() -> str:
        with psycopg.connect(url) as conn:
            row = conn.execute("SHOW session_preload_libraries").fetchone()
            return row[0] if row else ""

    async with await Database.open(url, settings, min_size=1) as db:
        await Stats(db).record_plans(slower_than_ms=1000)
        assert preloaded().replace('"', "") == "pg_trgm, auto_explain"
        await Stats(db).record_plans(slower_than_ms=2000)
        assert preloaded().replace('"', "") == "pg_trgm, auto_explain"
        await Stats(db).stop_recording_plans()
        assert preloaded() == "pg_trgm"
        await Stats(db).stop_recording_plans()
        assert preloaded() == "pg_trgm"


@pytest.mark.parametrize("wrong", [0, -5, 3_600_001])
async def test_milliseconds_out_of_range_are_refused(db: Database, wrong: int) -> None:
    with pytest.raises(InvalidInput, match=str(wrong)):
        await Stats(db).record_plans(slower_than_ms=wrong)


async def test_a_role_that_may_not_is_told(logging_server: str, settings: Settings) -> None:
    ask(logging_server, "CREATE ROLE modest LOGIN")
    modest = make_conninfo(logging_server, user="modest")
    async with await Database.open(modest, settings, min_size=1) as db:
        with pytest.raises(Unavailable, match="superuser") as refused:
            await Stats(db).record_plans(slower_than_ms=100)
        assert refused.value.code == "auto_explain_refused"
        with pytest.raises(Unavailable, match="pg_monitor") as refused:
            await Stats(db).recorded_plans()
        assert refused.value.code == "server_log_unreadable"


async def test_a_server_that_logs_elsewhere_is_said(db: Database) -> None:
    with pytest.raises(Unavailable, match="logging_collector"):
        await Stats(db).recorded_plans()


def entry(query: str, ms: float, plan: Any) -> str:
    text = json.dumps({"Query Text": query, "Plan": plan}, indent=2)
    body = "\n".join(f"\t{line}" for line in text.splitlines())
    return f"2026-11-01 10:00:00 UTC [7] LOG:  duration: {ms:.3f} ms  plan:\n{body}\n"


def test_a_log_is_read_whatever_stands_in_it() -> None:
    forged = 'SELECT \'\nLOG:  duration: 99999.0 ms  plan:\n{"Query Text": "forged"}\''
    log = (
        # The beginning is cut off.
        '\t  "Plan": {}\n\t}\n'
        + entry(forged, 10, {"Node Type": "Result"})
        + "2026-11-01 10:00:00 UTC [7] ERROR:  duration: nonsense plan:\n"
        + "2026-11-01 10:00:00 UTC [7] LOG:  duration: 12.000 ms  plan:\n\tnot json\n"
        + "2026-11-01 10:00:00 UTC [7] LOG:  duration: 12.000 ms  plan:\n\t[1]\n"
        + "2026-11-01 10:00:00 UTC [7] LOG:  duration: 13.000 ms  plan:\n"
        + entry("SELECT 'é'", 11, {"Node Type": "Sort", "Sort Key": ["a", "b"], "Plans": [
            {"Node Type": "Seq Scan", "Relation Name": "t", "Total Cost": 5, "Plan Rows": 3,
             "Filter": "(x = 1)"}]})
        + entry("SELECT odd", 9, "no plan")
        + entry("SELECT 'é'", 8, {"Node Type": "Result"})
        # The end is cut off in the middle.
        + entry("SELECT cut", 50, {"Node Type": "Result"})[:-20]
    )  # fmt: skip
    found = parse(log, limit=10)
    assert [(one.query, one.milliseconds, one.times) for one in found] == [
        ("SELECT 'é'", 11.0, 2),
        (forged, 10.0, 1),
        ("SELECT odd", 9.0, 1),
    ]
    assert found[0].plan == [
        "Sort  (cost 0, rows 0)",
        "    Sort Key: a, b",
        "  Seq Scan on t  (cost 5, rows 3)",
        "      Filter: (x = 1)",
    ]
    assert found[2].plan == []
    assert parse("", limit=5) == []
