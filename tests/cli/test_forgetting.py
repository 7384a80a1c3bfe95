"""Forgetting on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def age(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE episodic_memory SET timestamp = '2001-01-01', created_at = timestamp")
        conn.execute("UPDATE episodic_memory SET created_at = '2001-01-01'")


def test_memory_is_planned_archived_verified_and_restored(aegis: Shell, dsn: str) -> None:
    assert aegis("memory", "record", "note", "an old tale", "--importance", "low").status == 0
    age(dsn)
    plan = aegis("memory", "forget", "plan")
    assert "1 memories of default have faded" in plan.out
    assert "never recalled; half-life 30 days" in plan.out
    refused = aegis("memory", "forget", "run")
    assert refused.status != 0
    assert "confirmation_needed" in refused.err
    assert "Archived 1 memories" in aegis("memory", "forget", "run", "--yes").out
    assert aegis("memory", "archive", "list", "--json").json["items"][0]["state"] == "complete"
    assert "Archive 1: whole (1 rows)" in aegis("memory", "archive", "verify").out
    assert "Restored 1 memories" in aegis("memory", "archive", "restore", "1").out
    assert aegis("memory", "get", "1").status == 0


def test_broken_archive_is_status_1(aegis: Shell, dsn: str, tmp_path: Path) -> None:
    aegis("memory", "record", "note", "an old tale", "--importance", "low")
    age(dsn)
    aegis("memory", "forget", "run", "--yes")
    (file,) = (tmp_path / "data" / "archives").iterdir()
    file.unlink()
    checked = aegis("memory", "archive", "verify", "1")
    assert (checked.status, "There is no file" in checked.out) == (1, True)


def test_times_to_live_policies_and_holds(aegis: Shell) -> None:
    made = aegis("memory", "record", "note", "x", "--ttl", "30d", "--json").json
    assert made["expires_at"] > made["created_at"]
    assert aegis("memory", "facts", "record", "a", "b", "--ttl", "1y", "--json").json["expires_at"]
    assert "30dd" in aegis("memory", "record", "note", "x", "--ttl", "30dd").err
    aegis("memory", "update", "1", "--expires-at", "2001-01-01T00:00:00+00:00")
    assert aegis("memory", "forget", "hold", "1", "a dispute").status == 0
    assert aegis("memory", "forget", "sweep", "--json").json["deleted"] == 0
    assert "a dispute" in aegis("memory", "forget", "holds").out
    assert aegis("memory", "forget", "release", "1").status == 0
    assert "Deleted 1" in aegis("memory", "forget", "sweep", "--everywhere").out
    assert aegis("memory", "forget", "keep", "90d", "--type", "log").status == 0
    assert "90d" in aegis("memory", "forget", "policies").out
    assert aegis("memory", "forget", "unset", "--type", "log").status == 0
    assert aegis("memory", "forget", "policies", "--json").json == {"items": []}


def test_subject_is_planned_erased_and_verified(aegis: Shell) -> None:
    aegis("memory", "record", "note", "Ada Smith was here")
    plan = aegis("memory", "erase", "--subject", "Ada Smith", "--plan")
    assert "episodic_memory 1: Ada Smith was here" in plan.out
    assert aegis("memory", "erase", "--subject", "Ada Smith").status != 0
    assert aegis("memory", "get", "1").status == 0
    done = aegis("memory", "erase", "--subject", "Ada Smith", "--yes")
    assert "episodic_memory: 1" in done.out
    assert "write-ahead log" in done.err
    assert aegis("memory", "get", "1").status != 0
    assert "1 episodic_memory" in aegis("memory", "erase", "list").out
    good = aegis("memory", "erase", "verify", "1", "--subject", "Ada Smith")
    assert (good.status, "no text names the subject" in good.out) == (0, True)
    aegis("memory", "record", "note", "Ada Smith is back")
    assert aegis("memory", "erase", "verify", "1", "--subject", "Ada Smith").status == 1
    assert aegis("memory", "erase", "verify", "1").status == 0
    assert "use verify or list" in aegis("memory", "erase", "burn").err
    assert "Which erasure" in aegis("memory", "erase", "verify").err


def test_memory_goes_elsewhere_as_parquet(aegis: Shell, tmp_path: Path) -> None:
    aegis("memory", "record", "note", "hello")
    path = str(tmp_path / "x.parquet")
    assert "Exported 1 items" in aegis("memory", "export", path).out
    done = aegis("memory", "import", "parquet", path, "--namespace", "other", "--json").json
    assert (done["recorded"], done["skipped"]) == (1, 0)
    assert "name a file" in aegis("memory", "export", "-", "--format", "parquet").err
