"""A dump is whole, private and restorable, or it is not there."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import dump, migrate
from aegis.errors import AegisError, OpsError
from tests.db.rows import columns, contents, execute, fill, value

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")


def test_a_restored_dump_has_every_row(dsn: str, cluster: Cluster, tmp_path: Path) -> None:
    fill(dsn)
    names = columns(dsn)
    file = dump.dump(dsn, tmp_path / "dumps")
    with cluster.database() as copy:
        restore = dump.find_pg_dump(int(cluster.major)).with_name("pg_restore")
        done = subprocess.run(
            [restore, "--no-owner", "--dbname", copy, file], capture_output=True, text=True
        )
        # A pg_restore that is newer than the server sets a parameter that 16 does not know.
        errors = [line for line in done.stderr.splitlines() if "error:" in line]
        assert all("transaction_timeout" in line for line in errors), done.stderr
        assert contents(copy, names) == contents(dsn, names)
        assert migrate.check(copy) == []


def test_a_dump_is_readable_by_its_owner_only_and_named_for_what_it_precedes(
    dsn: str, tmp_path: Path
) -> None:
    fill(dsn)
    file = dump.dump_before(dsn, tmp_path / "dumps", "downgrade")
    assert file is not None
    assert [file] == list((tmp_path / "dumps").iterdir())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "before-downgrade" in file.name
    assert file.suffix == ".dump"


def test_nothing_is_dumped_where_there_is_nothing_to_lose(
    dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    assert dump.dump_before(dsn, tmp_path / "dumps", "upgrade") is None
    assert dump.dump_before(empty_dsn, tmp_path / "dumps", "upgrade") is None
    assert not (tmp_path / "dumps").exists()


def test_a_dump_that_fails_leaves_no_file(dsn: str, tmp_path: Path) -> None:
    execute(
        dsn,
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT SELECT ON alembic_version TO reader",
    )
    with pytest.raises(OpsError, match="permission denied") as failed:
        dump.dump(make_conninfo(dsn, user="reader"), tmp_path)
    assert failed.value.code == "dump_failed"
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OpsError, match="taken") as failed:
        dump.dump(dsn, tmp_path / "taken")
    assert failed.value.code == "dump_failed"


def test_a_server_that_is_newer_than_every_pg_dump_is_refused() -> None:
    with pytest.raises(OpsError, match="no pg_dump for PostgreSQL 99") as missing:
        dump.find_pg_dump(99)
    assert missing.value.code == "pg_dump_missing"


def test_the_pg_dump_found_is_not_older_than_the_server(cluster: Cluster) -> None:
    program = dump.find_pg_dump(int(cluster.major))
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert int(said.stdout.split(") ")[1].split(".")[0]) >= int(cluster.major)


def test_the_password_is_in_the_environment_and_not_in_the_arguments(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "pg_dump"
    spy.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/argv\nenv > {tmp_path}/env\nexit 1\n')
    spy.chmod(0o755)
    monkeypatch.setattr(dump, "find_pg_dump", lambda _: spy)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(OpsError, match="pg_dump failed"):
        dump.dump(make_conninfo(dsn, password="hunter2", sslmode="prefer"), tmp_path / "dumps")
    assert "hunter2" not in (tmp_path / "argv").read_text()
    environment = (tmp_path / "env").read_text()
    assert "PGPASSWORD=hunter2\n" in environment
    assert f"PGDATABASE={value(dsn, 'SELECT current_database()')}\n" in environment


def test_an_unreachable_server_is_said_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(AegisError) as error:
        dump.dump("host=/nonexistent dbname=x", tmp_path / "dumps")
    assert error.value.code == "db_unreachable"
    assert not (tmp_path / "dumps").exists()
