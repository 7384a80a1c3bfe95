"""All checks as a whole: ids, judging, thresholds, what cannot be checked."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.db import Database
from aegis.errors import ConfigError, InvalidInput, Unavailable
from aegis.ops.health import Check, Health, Seen
from aegis.ops.health.checks import CATALOG
from aegis.ops.health.conditions import conditions_of
from aegis.ops.health.judging import MOST_FINDINGS, grade, judge, words
from aegis.ops.health.models import GROUPS, STATES, Limits
from aegis.ops.health.running import run_checks
from aegis.ops.health.service import report_of_silence
from aegis.ops.health.thresholds import limits_of, muted_keys

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.ops.health.models import Ask
    from tests.conftest import Cluster

BY_ID = {check.id: check for check in CATALOG}


def test_every_check_has_a_stable_id_and_says_what_to_do() -> None:
    assert len(BY_ID) == len(CATALOG) >= 60
    for check in CATALOG:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.id), check.id
        assert check.group in GROUPS
        for text in (check.means, check.advice):
            assert text.endswith((".", ";")), (check.id, text)
        assert check.docs.endswith(f"#{check.id}")
        assert check.run.__doc__


def test_the_five_alarms_of_the_specification_have_its_limits() -> None:
    assert BY_ID["connections"].limits.warning == 80
    assert BY_ID["cache-hit"].limits.critical == 95
    assert BY_ID["slow-running"].limits.warning == 5
    assert BY_ID["database-size"].limits.warning == 80
    assert BY_ID["replication-lag"].limits.critical == 60


@pytest.mark.servers("18", "16")
async def test_on_a_new_database_every_check_answers_or_says_why_not(
    db: Database, settings: Settings
) -> None:
    report = await Health(db, settings).check()
    assert [r.id for r in report.results] == [c.id for c in CATALOG]
    known = {
        "no snapshot", "less than three snapshots", "pg_stat_statements is not there",
        "no table of backups", "there is no backup", "there was no drill yet",
        "data checksums are off",
    }  # fmt: skip
    for result in report.results:
        if result.state == "unknown":
            assert any(why in result.observed for why in known), (result.id, result.observed)
    assert report.ok + report.unknown + report.warning + report.critical == len(CATALOG)
    assert report.state == "critical"  # test clusters run without fsync
    # Our own schema raises nothing: no doubled index, no column that looks like a secret.
    ours = ("indexes", "access")
    quiet = {r.id for r in report.results if r.group in ours and r.state != "ok"}
    assert quiet == {"hba-trust"}


@pytest.mark.servers("18", "16")
async def test_a_role_without_rights_is_told_what_it_needs_and_the_rest_works(
    cluster: Cluster, dsn: str, settings: Settings
) -> None:
    role = f"poor_{next(cluster.numbers)}"
    cluster.admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        url = make_conninfo(dsn, user=role)
        async with await Database.open(url, settings, min_size=1) as db:
            report = await Health(db, settings).check()
        by_id = {r.id: r for r in report.results}
        assert by_id["hba-trust"].state == "unknown"
        assert "GRANT pg_monitor" in by_id["hba-trust"].observed
        assert by_id["passwords-md5"].state == "unknown"
        assert by_id["connections"].state == "ok"
        assert by_id["xid-age"].state == "ok"
    finally:
        cluster.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_the_worst_comes_first_and_what_is_too_much_is_counted() -> None:
    check = BY_ID["sequences"]
    seen = [Seen(object=f"s{n:03}", observed=f"{n} %", value=n) for n in range(101)]
    result = judge(check, check.limits, seen)
    assert (result.state, result.value, result.findings[0].object) == ("critical", 100, "s100")
    assert len(result.findings) == MOST_FINDINGS
    assert result.hidden == 26 - MOST_FINDINGS
    fine = judge(check, check.limits, seen[:50])
    assert (fine.state, fine.value, fine.observed) == ("ok", 49, "none")


def test_small_figures_are_the_bad_ones_where_a_check_says_so() -> None:
    check = BY_ID["cache-hit"]
    states = [grade(check, check.limits, Seen(observed="", value=v)) for v in (99, 98.9, 95, 94.9)]
    assert states == ["ok", "warning", "warning", "critical"]


def test_muted_findings_do_not_count_but_are_told() -> None:
    check = BY_ID["unused-indexes"]
    seen = [Seen(object="a", observed=""), Seen(object="b", observed="")]
    one = judge(check, check.limits, seen, muted={"unused-indexes:a"})
    assert (one.state, one.muted, [f.key for f in one.findings]) == (
        "warning",
        1,
        ["unused-indexes:b"],
    )
    both = judge(check, check.limits, seen, muted={"unused-indexes:a", "unused-indexes:b"})
    assert (both.state, both.muted) == ("ok", 2)


@pytest.mark.parametrize(
    ("text", "check", "limits"),
    [
        ("connections=70/85", "connections", Limits(warning=70, critical=85)),
        ("connections=70", "connections", Limits(warning=70, critical=90)),
        ("connections=/95", "connections", Limits(warning=80, critical=95)),
        ("connections=-/95", "connections", Limits(warning=None, critical=95)),
        ("slow-log=critical", "slow-log", Limits(level="critical")),
        ("unused-indexes=critical@50", "unused-indexes", Limits(level="critical", least=50)),
        ("missing-indexes=@500", "missing-indexes", Limits(warning=95, least=500)),
        ("slow-log=off", "slow-log", None),
        (" slow-log = off , ", "slow-log", None),
        ("cache-hit=98/90@5", "cache-hit", Limits(warning=98, critical=90, least=5)),
    ],
)
def test_thresholds_are_read(text: str, check: str, limits: Limits | None) -> None:
    assert limits_of(text, CATALOG)[check] == limits


@pytest.mark.parametrize(
    "text",
    [
        "no-such-check=1", "connections=high", "connections=90/80", "cache-hit=90/95",
        "connections=warning", "slow-log=5", "slow-log=", "connections=5@5", "connections",
        "connections=1e3", "connections=80/90/95",
    ],
)  # fmt: skip
def test_thresholds_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="AEGIS_HEALTH_THRESHOLDS"):
        limits_of(text, CATALOG)


def test_mutes_name_checks() -> None:
    assert muted_keys("slow-log, unused-indexes:idx", CATALOG) == {
        "slow-log",
        "unused-indexes:idx",
    }
    with pytest.raises(ConfigError, match="no-such"):
        muted_keys("no-such:x", CATALOG)


async def test_only_takes_ids_and_groups_and_refuses_others(
    db: Database, settings: Settings
) -> None:
    health = Health(db, settings)
    found = await health.check(only=["access", "sequences"])
    assert {r.group for r in found.results} == {"access", "data"}
    with pytest.raises(InvalidInput, match="'indices' is no check"):
        await health.check(only=["indices"])


async def test_a_check_that_is_off_or_muted_is_left_out(db: Database, settings: Settings) -> None:
    quiet = replace(settings, health_thresholds="slow-log=off", health_mute="durability")
    ids = {r.id for r in (await Health(db, quiet).check(only=["settings"])).results}
    assert not ids & {"slow-log", "durability"}
    assert "memory-settings" in ids


async def test_when_the_pool_is_gone_every_check_says_so(db: Database, settings: Settings) -> None:
    health = Health(db, settings)
    await db.close()
    report = await health.check(only=["access"])
    assert {r.state for r in report.results} == {"unknown"}


def test_a_database_that_does_not_answer_is_critical(settings: Settings) -> None:
    report = report_of_silence(Unavailable("It is gone."), settings)
    states = {r.id: r.state for r in report.results}
    assert (report.state, states.pop("latency")) == ("critical", "critical")
    assert set(states.values()) == {"unknown"}


def test_conditions_are_the_checks_and_fit_on_a_line() -> None:
    check = BY_ID["blocked"]
    nasty = "waits for\n'\x00\x1b[31m" + "x" * 5_000
    result = judge(check, check.limits, [Seen(object="pid 1", observed=nasty, value=99, fix="f")])
    from aegis.alerts.validate import check_conditions
    from aegis.ops.health.judging import summarize

    report = summarize([result], now=datetime.now(UTC), elapsed_ms=1)
    (condition,) = conditions_of(report)
    check_conditions("doctor", [condition])
    assert (condition.id, condition.state, condition.source) == ("blocked", "critical", "doctor")
    assert "\n" not in condition.title
    assert "\x1b" not in condition.title


def test_words_of_limits() -> None:
    assert words(BY_ID["connections"], BY_ID["connections"].limits) == (
        "warning from 80 %, critical from 90 %"
    )
    assert words(BY_ID["hba-errors"], BY_ID["hba-errors"].limits) == "any is critical"
    assert STATES[0] == "ok"


def _made(name: str, statement: str) -> Check:
    async def run(conn: Connection, ask: Ask) -> list[Seen]:
        del ask
        await conn.execute(statement.encode())
        return []

    return Check(id=name, group="data", title=name, means="m.", advice="a.", run=run)


@pytest.mark.servers("18", "16")
async def test_a_check_that_hangs_writes_or_kills_its_session_stops_no_other(
    db: Database, settings: Settings
) -> None:
    checks = [
        _made("hangs", "SELECT pg_sleep(600)"),
        _made("writes", "CREATE TABLE written ()"),
        _made("dies", "SELECT pg_terminate_backend(pg_backend_pid())"),
        _made("wrong", "SELECT nonsense FROM nowhere"),
        _made("fine", "SELECT 1"),
    ]
    report = await run_checks(
        db,
        checks,
        settings=replace(settings, health_timeout_ms=100),
        limits={check.id: check.limits for check in checks},
        muted=(),
        now=datetime.now(UTC),
    )
    states = {r.id: (r.state, r.observed) for r in report.results}
    assert list(states) == ["hangs", "writes", "dies", "wrong", "fine"]
    assert [state for state, _ in states.values()] == ["unknown"] * 4 + ["ok"]
    assert "longer than 100 ms" in states["hangs"][1]
    assert "read-only" in states["writes"][1]
    # The connection goes back as it came.
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT current_setting('transaction_read_only'), current_setting('statement_timeout')"
        )
        assert await cursor.fetchone() == ("off", "30s")
