"""`aegis backup` and the way back from an upgrade, as people type them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.db.rows import value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Shell
    from tests.conftest import Cluster


@pytest.fixture
def kept(cluster: Cluster, dsn: str) -> Iterator[None]:
    """Drop the databases that restores in place keep."""
    yield
    name = f"{conninfo_to_dict(dsn)['dbname']}_"
    rows: list[Any] = cluster.admin.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (name,)
    ).fetchall()
    for (other,) in rows:
        cluster.admin.execute(f'DROP DATABASE "{other}" WITH (FORCE)'.encode())


def test_a_backup_is_made_listed_shown_held_and_judged(aegis: Shell, tmp_path: Path) -> None:
    assert aegis("backup", "list").status == 0
    assert aegis("backup", "status").status == 9
    aegis("memory", "record", "note", "kept")
    made = aegis("backup", "create", "--label", "first", "--json")
    assert made.status == 0, made.err
    name = made.json["name"]
    assert (made.json["verdict"], made.json["level"]) == ("verified", "fast")
    assert name in aegis("backup", "list").out
    assert "verified" in aegis("backup", "show").out
    assert aegis("backup", "verify", name).status == 0
    assert aegis("backup", "hold", name).status == 2
    assert aegis("backup", "hold", name, "--reason", "audit", "--json").json["hold"] == "audit"
    assert "stays" in aegis("backup", "prune").out
    assert aegis("backup", "push").status == 8
    assert aegis("backup", "show", "../x").status == 2
    assert aegis("backup", "show", "nonsense").status == 3
    file = tmp_path / "data" / "backups" / name / "database.dump"
    file.write_bytes(file.read_bytes()[:-1])
    bad = aegis("backup", "verify", name)
    assert bad.status == 9
    assert "database.dump" in bad.err
    assert "[backup_failed]" in bad.err


def test_a_restore_shows_its_plan_and_asks(aegis: Shell, dsn: str, kept: None) -> None:
    aegis("memory", "record", "note", "before")
    name = aegis("backup", "create", "--json").json["name"]
    aegis("memory", "record", "note", "after")
    plan = aegis("backup", "restore", name, "--in-place", "--dry-run")
    assert plan.status == 0
    assert "becomes" in plan.out
    asked = aegis("backup", "restore", name, "--in-place")
    assert asked.status == 2
    assert "[confirmation_needed]" in asked.err
    count = "SELECT count(*) FROM episodic_memory"
    assert value(dsn, count) == 2
    done = aegis("backup", "restore", name, "--in-place", "--yes")
    assert done.status == 0, done.err
    assert "DROP DATABASE" in done.err
    assert value(dsn, count) == 1


def test_an_upgrade_makes_a_backup_and_rollback_goes_back_to_it(
    aegis: Shell, dsn: str, environment: pytest.MonkeyPatch, kept: None
) -> None:
    aegis("memory", "record", "note", "kept")
    assert aegis("db", "rollback", "--yes").status == 3
    assert aegis("db", "downgrade", "0014", "--yes").status == 0
    assert aegis("db", "upgrade", "0015", "--no-backup", "--json").json["backup"] is None
    environment.setenv("AEGIS_BACKUP_BEFORE_UPGRADE", "no")
    assert aegis("db", "upgrade", "0016", "--json").json["backup"] is None
    environment.delenv("AEGIS_BACKUP_BEFORE_UPGRADE")
    up = aegis("db", "upgrade", "--json")
    assert up.json["backup"] in up.err
    assert "aegis db rollback" in up.err
    assert aegis("db", "current", "--json").json["state"] == "current"
    back = aegis("db", "rollback", "--yes", "--json")
    assert back.status == 0, back.err
    assert back.json["verdict"] == "verified"
    assert aegis("db", "current", "--json").json["revision"] == "0016"
    assert value(dsn, "SELECT summary FROM episodic_memory") == "kept"


def test_an_empty_database_is_upgraded_without_a_backup(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str, tmp_path: Path
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    assert aegis("db", "upgrade", "0010", "--json").json["backup"] is None
    assert aegis("db", "upgrade", "--json").json["backup"] is None
    assert not (tmp_path / "data" / "backups").exists()


def test_a_key_is_one_that_the_setting_takes(aegis: Shell, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AEGIS_BACKUP_KEYS", aegis("backup", "key").out.strip())
    made = aegis("backup", "create", "--encrypt", "--json")
    assert made.json["encrypted"] is True
    assert made.json["verdict"] == "verified"
    assert aegis("backup", "rekey", "--json").json == {"changed": 0}
