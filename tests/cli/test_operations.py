"""`aegis doctor`, `aegis db stats …`, `aegis maintenance …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Shell


def test_doctor_says_how_it_is_by_its_exit_status(
    aegis: Shell, environment: pytest.MonkeyPatch, dsn: str
) -> None:
    well = aegis("doctor", "--only", "sequences")
    assert (well.status, "All is well" in well.err) == (0, True)
    assert "sequences" in aegis("doctor", "--only", "sequences", "--all").out
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE leaky (password text)")
    warned = aegis("doctor", "--only", "secret-columns", "--fix-hint")
    assert (warned.status, "leaky.password" in warned.out) == (1, True)
    assert "docs/reference/checks.md#secret-columns" in warned.out
    found = aegis("doctor", "--only", "secret-columns", "--json")
    assert (found.status, found.json["results"][0]["findings"][0]["key"]) == (
        1,
        "secret-columns:leaky.password",
    )
    environment.setenv("AEGIS_HEALTH_THRESHOLDS", "secret-columns=critical")
    assert aegis("doctor", "--only", "access").status == 2
    environment.setenv("AEGIS_HEALTH_MUTE", "secret-columns:leaky.password")
    assert aegis("doctor", "--only", "secret-columns").status == 0
    # What could not be checked is not well.
    assert aegis("doctor", "--only", "cache-hit").status == 1


def test_doctor_refuses_what_it_does_not_know(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    wrong = aegis("doctor", "--only", "indices")
    assert (wrong.status, "is no check" in wrong.err) == (2, True)
    environment.setenv("AEGIS_HEALTH_THRESHOLDS", "nothing=1")
    wrong = aegis("doctor")
    assert (wrong.status, "AEGIS_HEALTH_THRESHOLDS" in wrong.err) == (8, True)


def test_doctor_of_a_database_that_does_not_answer(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", "host=/nowhere user=x dbname=x")
    found = aegis("doctor", "--json")
    assert found.status == 2
    states = {r["id"]: r["state"] for r in found.json["results"]}
    assert (states["latency"], states["sequences"]) == ("critical", "unknown")


def test_doctor_writes_rules_and_a_dashboard(aegis: Shell, tmp_path: Path) -> None:
    assert aegis("doctor", "--grafana", str(tmp_path / "new")).status == 0
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "aegis-dashboard.json",
        "aegis-rules.yml",
    ]


def test_views_are_tables_and_documents(aegis: Shell) -> None:
    shown = aegis("db", "stats", "tables")
    assert (shown.status, "api_keys" in shown.out) == (0, True)
    items = aegis("db", "stats", "tables", "--json", "-n", "3").json["items"]
    assert len(items) == 3
    assert set(items[0]) == {"schemaname", "tablename", "size"}
    assert aegis("db", "stats", "locks", "--json").json == {"view": "locks", "items": []}
    slow = aegis("db", "stats", "slow")
    assert (slow.status, "statements_missing" in slow.err) == (7, True)
    taken = aegis("db", "stats", "snapshot", "--json").json
    assert taken["relations"] > 100
    assert aegis("db", "stats", "growth").status == 0


def test_maintenance_is_planned_run_and_remembered(
    aegis: Shell, environment: pytest.MonkeyPatch, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE dying AS SELECT n FROM generate_series(1, 9000) n")
        conn.execute("DELETE FROM dying WHERE n > 5")
        conn.execute("SELECT pg_stat_force_next_flush()")
    plan = aegis("maintenance", "plan", "--json").json
    assert {"vacuum"} == {s["task"] for s in plan["steps"] if s["name"] == "dying"}
    assert "public.dying" in aegis("maintenance", "plan").out
    environment.setenv("AEGIS_MAINTENANCE_WINDOW", "00:00-00:01")
    done = aegis("maintenance", "run", "--now", "--json")
    assert (done.status, done.json["failed"]) == (0, 0)
    assert "vacuum public.dying" in done.err
    assert "public.dying" in aegis("maintenance", "history").out
    environment.setenv("AEGIS_MAINTENANCE_WINDOW", "whenever")
    assert aegis("maintenance", "plan").status == 8
    environment.delenv("AEGIS_MAINTENANCE_WINDOW")
    refused = aegis("maintenance", "run", "--full", "dying")
    assert (refused.status, "--yes" in refused.err) == (2, True)
    full = aegis("maintenance", "run", "--full", "dying", "--now", "--yes", "--json")
    assert full.json["done"] == 1
