"""Every error ends in one line with its code, and in its documented status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis import errors
from aegis.cli import exits
from tests.serving import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

CALL = [sys.executable, "-m", "aegis.cli"]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["memory", "record", "note", ""], 2, "invalid_input"),
        (["memory", "record", "note", "x", "--importance", "urgent"], 2, "invalid_input"),
        (["memory", "record", "note", "x", "--at", "2026-05-01T09:00:00"], 2, "invalid_input"),
        (["memory", "record", "note", "x", "--details", "[1]"], 2, "invalid_input"),
        (["memory", "record", "note", "x", "--details", "{"], 2, "invalid_input"),
        (["memory", "record", "note", "x", "--details", "@/nowhere"], 2, "invalid_input"),
        (["memory", "recall", ""], 2, "invalid_input"),
        (["memory", "recall", "x", "-k", "0"], 2, "invalid_input"),
        (["memory", "recall", "x", "--mode", "magic"], 2, "invalid_input"),
        (["memory", "recall", "x", "--since", "2026-05-01"], 2, "invalid_input"),
        (["memory", "list", "--cursor", "nonsense"], 2, "cursor_invalid"),
        (["memory", "import", "csv", "/tmp"], 2, "invalid_input"),
        (["memory", "update", "1"], 2, "invalid_input"),
        (["memory", "backfill", "--limit", "-1"], 2, "invalid_input"),
        (["memory", "record", "note"], 2, "usage"),
        (["memory", "get", "999"], 3, "not_found"),
        (["memory", "delete", "999", "--yes"], 3, "not_found"),
        (["memory", "get", "seven"], 2, "usage"),
        (["memory", "recall", "x", "--colour"], 2, "usage"),
        (["memory", "misremember"], 2, "usage"),
        (["frobnicate"], 2, "usage"),
        (["--frobnicate"], 2, "usage"),
        (["db", "downgrade"], 2, "usage"),
        (["db", "start"], 8, "server_not_ours"),
    ],
)
def test_error_is_one_line_with_its_code_and_status(
    aegis: Shell, arguments: list[str], status: int, code: str
) -> None:
    done = aegis(*arguments)
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("aegis: ")
    assert done.err.endswith(f"[{code}]\n")
    assert done.err.count("\n") == 1


def test_time_without_a_zone_is_refused_with_the_fix(aegis: Shell) -> None:
    done = aegis("memory", "list", "--since", "2026-05-01")
    assert "2026-05-01T00:00:00+00:00" in done.err


def test_unreachable_server_is_said_in_one_line(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", f"postgresql://u:hidden@127.0.0.1:{free_port()}/x")
    done = aegis("memory", "list")
    assert (done.status, done.err.count("\n")) == (7, 1)
    assert "[db_unreachable]" in done.err
    assert "hidden" not in done.err


def test_wrong_setting_is_said_in_one_line(aegis: Shell, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AEGIS_POOL_MAX_SIZE", "many")
    done = aegis("memory", "list")
    assert done.status == 8
    assert "AEGIS_POOL_MAX_SIZE is 'many'" in done.err


def test_database_without_tables_is_told_to_upgrade(
    aegis: Shell, environment: pytest.MonkeyPatch, empty_dsn: str
) -> None:
    environment.setenv("AEGIS_DATABASE_URL", empty_dsn)
    done = aegis("memory", "list")
    assert done.status == 9
    assert "aegis db upgrade" in done.err
    assert aegis("db", "upgrade").status == 0
    assert aegis("memory", "list").status == 0


def test_debug_shows_the_traceback_wherever_it_stands(aegis: Shell) -> None:
    for arguments in (("--debug", "memory", "get", "9"), ("memory", "get", "9", "--debug")):
        done = aegis(*arguments)
        assert done.status == 3
        assert "Traceback" in done.err
        assert done.err.splitlines()[-1].endswith("[not_found]")


def test_what_looks_like_an_option_can_be_looked_for(aegis: Shell) -> None:
    assert aegis("memory", "recall", "--", "--debug").status == 0


def test_what_nobody_expected_is_one_line_too(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    environment.setattr("aegis.cli.running.load_settings", broken)
    done = aegis("memory", "list")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "RuntimeError: two lines" in done.err
    assert "[unexpected]" in done.err


def test_update_of_nothing_says_what_there_is(aegis: Shell) -> None:
    for kind in ((), ("facts",), ("decisions",)):
        done = aegis("memory", *kind, "update", "1")
        assert "There is nothing to change; give at least one of " in done.err


def test_argument_that_is_missing_is_named(aegis: Shell) -> None:
    assert "'SUMMARY'" in aegis("memory", "record", "a text alone").err


@pytest.mark.parametrize("module", ["aegis.cli", "aegis.cli.main"])
def test_both_modules_run(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("aegis ")


def test_every_kind_of_error_has_a_status() -> None:
    assert set(exits.STATUS) == {getattr(errors, name) for name in errors.__all__}
    assert exits.status_of(errors.OpsError("x")) == 9


def test_help_is_help_and_nothing_else(aegis: Shell) -> None:
    for arguments in (["--help"], ["memory", "--help"], ["memory", "recall", "--help"]):
        done = aegis(*arguments)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("Usage: aegis")
    assert aegis("--version").out == aegis("version").out


@pytest.mark.usefixtures("environment")
def test_reader_that_goes_away_is_no_error() -> None:
    first = subprocess.Popen([*CALL, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdout is not None
    assert first.wait() == 0
    for n in range(3):
        subprocess.run([*CALL, "memory", "record", "note", str(n)], check=True, capture_output=True)
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*CALL, "memory", "export", "-"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (exits.BROKEN_PIPE, b"")


@pytest.mark.usefixtures("environment")
def test_ctrl_c_ends_with_130_and_no_traceback(dsn: str) -> None:
    with psycopg.connect(dsn) as conn, psycopg.connect(dsn, autocommit=True) as watch:
        conn.execute("LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE")
        with subprocess.Popen(
            [*CALL, "memory", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            wait_for_lock(watch, process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (exits.INTERRUPTED, b"", b"")


def wait_for_lock(watch: psycopg.Connection, process: subprocess.Popen[bytes]) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while process.poll() is None:
        row = watch.execute(query).fetchone()
        if row is not None and row[0]:
            return
        watch.execute("SELECT pg_sleep(0.02)")
    raise AssertionError("it ended before it waited")


def test_recall_loads_nothing_that_it_does_not_need_where_a_server_answers() -> None:
    code = (
        "import sys\n"
        "import aegis.cli.memory, aegis.cli.recalling, aegis.cli.results, http.client\n"
        "heavy = {'psycopg', 'numpy', 'onnxruntime', 'sqlalchemy', 'fastapi', 'pydantic',"
        " 'mcp', 'rich', 'asyncio', 'anyio', 'typer'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
