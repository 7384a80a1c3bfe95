"""`aegis db`: the server and the schema, on real ones."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.db.revision import HEAD
from tests.cluster import embedded_folder
from tests.serving import CALL
from tests.serving import aegis as process
from tests.serving import environment as process_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Shell


@pytest.fixture
def embedded_dir() -> Iterator[Path]:
    with embedded_folder() as folder:
        yield folder


def test_status_shows_server_schema_and_extensions(aegis: Shell) -> None:
    found = aegis("db", "status", "--json").json
    assert found["server"]["version"].startswith("18.")
    assert found["schema"]["state"] == "current"
    assert found["schema"]["revision"] == found["schema_head"]
    assert found["database"]["size_bytes"] > 0
    assert found["serving"] is None
    names = {state["extension"]["name"] for state in found["extensions"]}
    assert {"pg_trgm", "pg_stat_statements", "uuid-ossp", "pgcrypto"} <= names
    shown = aegis("db", "status").out
    assert [w for w in ("PostgreSQL 18.", "(current)", "pg_trgm") if w not in shown] == []


def test_schema_goes_down_and_up_with_its_rows(aegis: Shell, dsn: str) -> None:
    aegis("memory", "record", "note", "kept")
    refused = aegis("db", "downgrade", "0001")
    assert refused.status == 2
    assert "[confirmation_needed]" in refused.err
    down = aegis("db", "downgrade", "0001", "--yes", "--json")
    assert down.json["after"] == "0001"
    assert down.json["backup"] in down.err
    assert aegis("db", "current", "--json").json["state"] == "behind"
    assert aegis("memory", "list").status == 9
    up = aegis("db", "upgrade", "--json").json
    assert (up["before"], aegis("db", "current", "--json").json["state"]) == ("0001", "current")
    assert aegis("memory", "list", "--json").json["items"][0]["summary"] == "kept"
    assert aegis("db", "upgrade").out.startswith("The schema is at revision")


def test_rollback_goes_back_to_before_a_downgrade(aegis: Shell) -> None:
    aegis("memory", "record", "note", "kept")
    down = aegis("db", "downgrade", "0020", "--yes", "--json").json
    assert aegis("db", "upgrade", "--no-backup").status == 0
    aegis("memory", "record", "note", "written since")
    assert len(aegis("memory", "list", "--json").json["items"]) == 2
    back = aegis("db", "rollback", "--yes", "--json")
    assert (back.status, down["before"]) == (0, HEAD)
    assert aegis("db", "current", "--json").json["state"] == "current"
    items = aegis("memory", "list", "--json").json["items"]
    assert [item["summary"] for item in items] == ["kept"]


def test_nothing_to_do_is_said_without_a_dump(aegis: Shell, tmp_path: Path) -> None:
    aegis("memory", "record", "note", "kept")
    for command in (("adopt",), ("downgrade", HEAD), ("downgrade", "head")):
        done = aegis("db", *command, "--yes")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("Nothing to do: ")
        assert HEAD in done.out
        assert aegis("db", *command, "--yes", "--json").json["backup"] is None
    assert not (tmp_path / "data" / "backups").exists()


def test_wrong_direction_is_named_with_the_right_command(aegis: Shell, tmp_path: Path) -> None:
    aegis("memory", "record", "note", "kept")
    up = aegis("db", "upgrade", "0002")
    assert up.status == 2
    assert "aegis db downgrade 0002" in up.err
    assert aegis("db", "downgrade", "nonsense", "--yes").status == 2
    assert not (tmp_path / "data" / "backups").exists()
    assert aegis("db", "downgrade", "0002", "--yes").status == 0
    down = aegis("db", "downgrade", "0003", "--yes")
    assert down.status == 2
    assert "aegis db upgrade 0003" in down.err
    assert len(aegis("backup", "list", "--json").json["items"]) == 1
    assert aegis("db", "upgrade", "0002", "--json").json["backup"] is None


def test_downgrade_of_an_empty_database_is_refused(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    done = aegis("db", "downgrade", "base", "--yes")
    assert done.status == 9
    assert "[schema_empty]" in done.err


def test_upgrade_to_what_is_no_revision_is_refused(aegis: Shell) -> None:
    done = aegis("db", "upgrade", "nonsense")
    assert (done.status, done.err.count("\n")) == (2, 1)


def test_check_names_what_was_changed_by_hand(aegis: Shell, dsn: str) -> None:
    assert aegis("db", "check").status == 0
    with psycopg.connect(dsn) as conn:
        conn.execute("ALTER TABLE episodic_memory ADD COLUMN colour text")
    done = aegis("db", "check")
    assert done.status == 9
    assert "colour" in done.out
    assert "[schema_drift]" in done.err
    assert len(aegis("db", "check", "--json").json["differences"]) == 1


def test_database_of_another_make_is_adopted_with_its_rows(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    assert aegis("db", "upgrade", "0001").status == 0
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("DROP TABLE alembic_version")
        conn.execute("INSERT INTO episodic_memory (event_type, summary) VALUES ('note', 'kept')")
    refused = aegis("memory", "list")
    assert refused.status == 9
    assert "aegis db adopt" in refused.err
    plan = aegis("db", "adopt")
    assert plan.status == 2
    assert "episodic_memory: as expected" in plan.err
    adopted = aegis("db", "adopt", "--yes", "--json")
    assert adopted.status == 0, adopted.err
    assert adopted.json["backup"]
    assert aegis("memory", "list", "--json").json["items"][0]["summary"] == "kept"


def test_table_that_differs_is_not_adopted_and_nothing_changes(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    assert aegis("db", "upgrade", "0001").status == 0
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("DROP TABLE alembic_version")
        conn.execute("ALTER TABLE episodic_memory DROP COLUMN summary CASCADE")
    done = aegis("db", "adopt", "--yes")
    assert (done.status, done.err.count("\n")) == (9, 1)
    assert "episodic_memory" in done.err
    assert "[adopt_refused]" in done.err


def test_url_and_shell_lead_to_the_database(tmp_path: Path, dsn: str) -> None:
    url = process(tmp_path, "db", "url", database_url=dsn).stdout.strip()
    assert url == dsn
    query = ("-X", "-Atc", "SELECT current_database()")
    shell = process(tmp_path, "db", "shell", *query, database_url=dsn)
    with psycopg.connect(dsn) as conn:
        assert shell.stdout.strip() == conn.info.dbname


def test_password_reaches_psql_but_no_argument(tmp_path: Path) -> None:
    url = "postgresql://someone:hidden@127.0.0.1:1/x"
    done = process(tmp_path, "db", "shell", "-X", "-c", r"\conninfo", database_url=url)
    assert done.returncode == 2
    assert "hidden" not in done.stderr + done.stdout


def test_embedded_server_is_made_stopped_and_started(embedded_dir: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CALL, "db", *arguments],
            capture_output=True,
            text=True,
            env=process_environment(embedded_dir),
            check=False,
        )

    assert "absent" in run("status").stdout
    assert run("init").returncode == 0
    assert "embedded" in run("status").stdout
    url = run("url").stdout.strip()
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM episodic_memory").fetchone() == (0,)
    assert run("stop", "--mode", "loud").returncode == 2
    assert run("stop").stdout == "Stopped.\n"
    assert run("stop").stdout == "It was not running.\n"
    assert "stopped" in run("status").stdout
    assert run("start").stdout.startswith("Started PostgreSQL on port")
    assert run("start").stdout.startswith("It runs already")
