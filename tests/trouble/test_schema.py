"""A schema that does not fit this code, and a change of it that is cut off in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import aegis
from aegis.db import migrate
from aegis.db.revision import HEAD
from aegis.errors import OpsError
from tests.db.rows import create_published, execute, fill, value
from tests.serving import serving
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = [("memory", "record", "note", "x"), ("memory", "recall", "x"), ("mcp",)]


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_schema_behind_the_code_is_told_the_command(
    tmp_path: Path, dsn: str, command: tuple[str, ...]
) -> None:
    migrate.downgrade(dsn, "0003")
    line = refused(tmp_path, *command, status=9, code="schema_behind", database_url=dsn)
    assert "0003" in line
    assert HEAD in line
    assert "aegis db upgrade" in line
    assert migrate.current(dsn) == "0003"


def test_up_brings_a_schema_behind_up_to_date_after_a_backup(tmp_path: Path, dsn: str) -> None:
    migrate.downgrade(dsn, "0001")
    fill(dsn)
    before = value(dsn, "SELECT count(*) FROM episodic_memory")
    with serving(tmp_path, database_url=dsn, embedder="none") as served:
        assert served.http().get("/readyz").json()["schema"] == HEAD
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == before
    (backup,) = (tmp_path / "backups").glob("[!.]*_before-upgrade")
    assert backup.stat().st_mode & 0o077 == 0
    assert (backup / "database.dump").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "command",
    [
        *QUESTIONS,
        ("db", "upgrade"),
        ("db", "init"),
        ("db", "check"),
        ("db", "downgrade", "0001", "--yes"),
        ("up", "--port", "0"),
    ],
    ids=" ".join,
)
def test_schema_ahead_of_the_code_is_left_alone(
    tmp_path: Path, dsn: str, command: tuple[str, ...]
) -> None:
    execute(dsn, "UPDATE alembic_version SET version_num = '0999'")
    line = refused(tmp_path, *command, status=9, code="schema_ahead", database_url=dsn)
    assert "0999" in line
    assert "newer Aegis" in line
    assert value(dsn, "SELECT version_num FROM alembic_version") == "0999"


def test_tables_without_a_revision_are_to_be_adopted(tmp_path: Path, empty_dsn: str) -> None:
    create_published(empty_dsn)
    for command in (*QUESTIONS, ("db", "upgrade"), ("up", "--port", "0")):
        line = refused(
            tmp_path, *command, status=9, code="schema_unversioned", database_url=empty_dsn
        )
        assert "aegis db adopt" in line
    assert migrate.state(empty_dsn) == "unversioned"


def test_empty_database_of_somebody_s_gets_no_tables_unasked(
    tmp_path: Path, empty_dsn: str
) -> None:
    for command in QUESTIONS:
        line = refused(tmp_path, *command, status=9, code="schema_empty", database_url=empty_dsn)
        assert "aegis db upgrade" in line
    assert migrate.state(empty_dsn) == "empty"


def test_column_dropped_by_hand_is_found_and_named(tmp_path: Path, dsn: str) -> None:
    execute(dsn, "ALTER TABLE episodic_memory DROP COLUMN session_id CASCADE")
    refused(tmp_path, "memory", "list", status=9, code="schema_mismatch", database_url=dsn)
    done = run(tmp_path, "db", "check", database_url=dsn)
    assert done.returncode == 9
    assert "session_id" in done.stdout
    assert done.stderr.endswith("[schema_drift]\n")
    assert done.stderr.count("\n") == 1


async def test_python_says_the_same(dsn: str) -> None:
    for version, code in (("0001", "schema_behind"), ("0999", "schema_ahead")):
        execute(dsn, f"UPDATE alembic_version SET version_num = '{version}'")
        with pytest.raises(OpsError) as caught:
            async with aegis.connect(dsn):
                pass
        assert caught.value.code == code


def test_serving_process_says_not_ready_once_the_schema_moves_on(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path, database_url=dsn, embedder="none") as served, served.http() as http:
        assert http.get("/readyz").status_code == 200
        execute(dsn, "UPDATE alembic_version SET version_num = '0999'")
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "schema_ahead")
        assert answer.headers["content-type"] == "application/problem+json"
        assert http.get("/healthz").status_code == 200
