"""The embedded server in good weather: started, found, shared, stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import Settings, load_settings
from aegis.db import embedded
from aegis.errors import OpsError
from tests.cluster import embedded_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import sys
from aegis.config import load_settings
from aegis.db import embedded
from pathlib import Path
endpoint = embedded.start(load_settings({}, data_dir=Path(sys.argv[1])))
print(endpoint.pid, endpoint.started)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Settings]:
    """Settings of a running server that the tests of this module share."""
    with embedded_folder() as data_dir:
        settings = load_settings({}, data_dir=data_dir)
        embedded.start(settings)
        yield settings


@pytest.fixture
def own() -> Iterator[Settings]:
    """Settings of a data folder of the test's own, in which nothing was started yet."""
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir)


def ask(dsn: str, sql: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(sql.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_start_makes_a_durable_utf8_cluster_with_checksums_and_a_database(
    shared: Settings,
) -> None:
    endpoint = embedded.start(shared)
    assert ask(endpoint.dsn, "SELECT current_database() || '/' || current_user") == "aegis/aegis"
    shows = {
        "data_checksums": "on",
        "fsync": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
        "listen_addresses": "127.0.0.1",
        "log_min_duration_statement": "1s",
    }
    assert {name: ask(endpoint.dsn, f"SHOW {name}") for name in shows} == shows
    assert ask(endpoint.dsn, "SELECT lower('ÄÖÜ')") == "äöü"


def test_every_way_in_needs_the_password(shared: Settings) -> None:
    endpoint = embedded.start(shared)
    assert ask(endpoint.tcp_dsn, "SELECT 1") == 1
    ways = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert ask(endpoint.dsn, ways) == "scram-sha-256"
    for host in (str(endpoint.socket_dir), "127.0.0.1"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(
                host=host, port=endpoint.port, user="aegis", dbname="aegis", password="wrong"
            )


def test_the_password_is_readable_by_its_owner_only_and_in_no_address(shared: Settings) -> None:
    endpoint = embedded.start(shared)
    found = endpoint.passfile.stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_uid == os.geteuid()
    password = endpoint.read_password()
    assert len(password) >= 32
    assert password not in endpoint.dsn + endpoint.tcp_dsn + repr(endpoint)
    assert ask(f"{endpoint.dsn}&passfile=/none&password={password}", "SELECT 1") == 1


def test_psql_takes_the_address(shared: Settings) -> None:
    endpoint = embedded.start(shared)
    command = [endpoint.bin_dir / "psql", "-XAtc", "SELECT 40 + 2", endpoint.dsn]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("42", "")


def test_second_start_finds_the_running_server(shared: Settings) -> None:
    first, second = embedded.start(shared), embedded.start(shared)
    assert second.pid == first.pid
    assert not second.started
    assert embedded.dsn(shared) == first.dsn


def test_server_runs_without_root_in_a_private_folder(shared: Settings) -> None:
    endpoint = embedded.start(shared)
    assert endpoint.data_dir.stat().st_uid != 0
    assert endpoint.data_dir.stat().st_mode & 0o777 == 0o700
    assert endpoint.socket_dir.stat().st_mode & 0o777 == 0o700
    if Path("/proc").is_dir():
        assert Path(f"/proc/{endpoint.pid}").stat().st_uid == endpoint.data_dir.stat().st_uid
        assert os.getsid(endpoint.pid) == endpoint.pid


def test_status_tells_absent_running_and_stopped_and_changes_nothing(own: Settings) -> None:
    assert embedded.status(own).state == "absent"
    assert not own.data_dir.exists()
    endpoint = embedded.start(own)
    running = embedded.status(own)
    assert (running.state, running.pid, running.port) == ("running", endpoint.pid, endpoint.port)
    assert running.version is not None
    assert running.started_at is not None
    assert embedded.stop(own)
    stopped = embedded.status(own)
    assert (stopped.state, stopped.pid, stopped.version) == ("stopped", None, running.version)


def test_stop_is_idempotent_and_rows_survive_it(own: Settings) -> None:
    assert not embedded.stop(own)
    ask(embedded.start(own).dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    assert embedded.stop(own)
    assert not embedded.stop(own)
    endpoint = embedded.start(own)
    assert endpoint.started
    assert ask(endpoint.dsn, "SELECT n FROM kept") == 7


def test_four_processes_starting_at_once_get_one_server(own: Settings) -> None:
    command = [sys.executable, "-c", START, str(own.data_dir)]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [racer.communicate(timeout=60) for racer in racers]
    assert [errors for _, errors in said] == [""] * 4
    results = [out.split() for out, _ in said]
    assert len({pid for pid, _ in results}) == 1
    assert sorted(started for _, started in results) == ["False", "False", "False", "True"]
    # Whoever started it is gone: the server is not.
    assert ask(embedded.start(own).dsn, "SELECT 1") == 1


def test_a_taken_port_is_replaced_and_the_new_one_remembered(own: Settings) -> None:
    first = embedded.start(own)
    embedded.stop(own)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = embedded.start(own)
        assert second.port != first.port
        assert ask(second.tcp_dsn, "SHOW port") == str(second.port)
        embedded.stop(own)
    assert embedded.start(own).port == second.port


def test_a_port_that_only_the_server_finds_taken_is_replaced(own: Settings) -> None:
    endpoint = embedded.start(own)
    embedded.stop(own)
    (endpoint.data_dir / "local.conf").write_text("listen_addresses = '127.0.0.2'\n")
    with socket.socket() as other:
        other.bind(("127.0.0.2", endpoint.port))
        other.listen()
        assert embedded.start(own).port != endpoint.port


def test_a_long_data_folder_gets_a_short_private_socket_folder(own: Settings) -> None:
    deep = load_settings({}, data_dir=own.data_dir.with_name("d" * 100))
    try:
        first = embedded.start(deep)
        assert len(str(first.socket_dir)) < 40
        assert first.socket_dir.stat().st_mode & 0o777 == 0o700
        assert ask(first.dsn, "SELECT 1") == 1
        embedded.stop(deep)
        assert embedded.start(deep).socket_dir == first.socket_dir
        embedded.stop(deep)
        first.socket_dir.rmdir()
        assert ask(embedded.start(deep).dsn, "SELECT 1") == 1
    finally:
        socket_dir = embedded.status(deep).socket_dir
        embedded.stop(deep, "immediate")
        if socket_dir is not None:
            socket_dir.rmdir()


def test_a_data_folder_may_have_any_name(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.data_dir.parent)
    odd = load_settings({}, data_dir=Path('it\'s, "ö" %s #1'))
    endpoint = embedded.start(odd)
    try:
        assert endpoint.socket_dir.is_absolute()
        assert ask(endpoint.dsn, "SELECT 1") == 1
        assert ask(endpoint.tcp_dsn, "SELECT 1") == 1
    finally:
        embedded.stop(odd)
        # Not below the data folder: a comma cannot be part of an address.
        endpoint.socket_dir.rmdir()


def test_settings_of_the_operator_win_and_are_never_touched(own: Settings) -> None:
    endpoint = embedded.start(own)
    embedded.stop(own)
    local = endpoint.data_dir / "local.conf"
    local.write_text("work_mem = '5MB'\n")
    assert ask(embedded.start(own).dsn, "SHOW work_mem") == "5MB"
    assert local.read_text() == "work_mem = '5MB'\n"


def test_release_leaves_the_server_to_whoever_is_connected(own: Settings) -> None:
    assert not embedded.release(own)
    with psycopg.connect(embedded.start(own).dsn):
        assert not embedded.release(own)
        assert embedded.status(own).state == "running"
    assert embedded.release(own)
    assert embedded.status(own).state == "stopped"


def test_a_lost_record_is_written_again_and_the_server_left_alone(own: Settings) -> None:
    endpoint = embedded.start(own)
    (own.data_dir / "postgres" / "server.json").unlink()
    again = embedded.start(own)
    assert (again.pid, again.dsn, again.started) == (endpoint.pid, endpoint.dsn, False)


def test_a_lost_password_is_set_anew_at_the_next_start(own: Settings) -> None:
    endpoint = embedded.start(own)
    before = endpoint.read_password()
    endpoint.passfile.unlink()
    with pytest.raises(OpsError) as caught:
        embedded.start(own)
    assert caught.value.code == "server_password_missing"
    embedded.stop(own)
    again = embedded.start(own)
    assert again.read_password() != before
    assert ask(again.dsn, "SELECT 1") == 1
    logs = "".join(file.read_text() for file in embedded.status(own).log_dir.iterdir())
    assert again.read_password() not in logs


def test_the_server_inherits_no_secrets_of_the_environment(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_EMBEDDING_API_KEY", "sk-secret")
    endpoint = embedded.start(own)
    with psycopg.connect(endpoint.dsn) as conn:
        conn.execute("CREATE TEMPORARY TABLE seen (line text)")
        conn.execute("COPY seen FROM PROGRAM 'env'")
        seen = [line for (line,) in conn.execute("SELECT line FROM seen")]
    assert "LC_CTYPE=C" in seen
    assert not [line for line in seen if "AEGIS" in line or "sk-secret" in line]
