"""A server that is not there, is not ours to use, or is not what Aegis needs."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

import aegis
from aegis.config import load_settings
from aegis.db import embedded, migrate
from aegis.errors import ConfigError, OpsError, Unavailable
from tests.cluster import embedded_folder
from tests.db.rows import execute, value
from tests.serving import free_port
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.conftest import Cluster

#: Every way in: a question, a change, the schema, the figures, and the two that go on.
WAYS_IN = [
    ("memory", "record", "note", "x"),
    ("memory", "recall", "x"),
    ("memory", "facts", "list"),
    ("db", "upgrade"),
    ("db", "status", "--json"),
    ("mcp",),
    ("up", "--port", "0"),
]


@pytest.mark.parametrize("command", WAYS_IN, ids=lambda command: "-".join(command[:2]))
def test_unreachable_server_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    port = free_port()
    url = f"postgresql://someone:hush@127.0.0.1:{port}/aegis"
    line = refused(tmp_path, *command, status=7, code="db_unreachable", database_url=url)
    assert f"someone@127.0.0.1:{port}/aegis" in line
    assert "hush" not in line


@pytest.mark.parametrize(
    "url",
    [
        "hush",
        "mysql://someone:hush@127.0.0.1/aegis",
        "postgresql://someone:hush@127.0.0.1:port/aegis",
        "postgresql://someone:hush@localhost:port/aegis",
        "postgresql://someone:hu sh@127.0.0.1/aegis",
        "postgresql://someone:hush@127.0.0.1/aegis?sslmode=perhaps",
        "postgresql://someone:hush@127.0.0.1:99999/aegis",
    ],
)
def test_malformed_address_is_refused_and_never_repeated(tmp_path: Path, url: str) -> None:
    for command in (("memory", "recall", "x"), ("db", "upgrade")):
        refused(tmp_path, *command, status=8, code="db_url_invalid", database_url=url)
        done = run(tmp_path, "--debug", *command, database_url=url)
        assert "Traceback" in done.stderr
        assert "hush" not in done.stderr
        assert "hu sh" not in done.stderr


def test_debug_shows_where_an_error_came_from_and_the_line_last(tmp_path: Path) -> None:
    url = f"postgresql://someone:hush@127.0.0.1:{free_port()}/aegis"
    for arguments in (("--debug", "db", "upgrade"), ("db", "upgrade", "--debug")):
        done = run(tmp_path, *arguments, database_url=url)
        assert (done.returncode, done.stdout) == (7, "")
        assert done.stderr.startswith("Traceback (most recent call last):\n")
        assert done.stderr.splitlines()[-1].endswith("[db_unreachable]")
        assert "hush" not in done.stderr


def test_wrong_password_user_and_database_are_the_operator_s_to_correct(tmp_path: Path) -> None:
    with embedded_folder() as data_dir:
        port = embedded.start(load_settings({}, data_dir=data_dir)).port
        for who, code in (
            ("aegis:hush@127.0.0.1:{}/aegis", "db_login_refused"),
            ("nobody_here:hush@127.0.0.1:{}/aegis", "db_login_refused"),
        ):
            for command in (("memory", "recall", "x"), ("db", "upgrade")):
                url = f"postgresql://{who.format(port)}"
                line = refused(tmp_path, *command, status=8, code=code, database_url=url)
                assert "hush" not in line


def test_missing_database_is_named(tmp_path: Path, cluster: Cluster) -> None:
    url = cluster.url("no_such_database")
    for command in WAYS_IN:
        line = refused(tmp_path, *command, status=8, code="db_not_found", database_url=url)
        assert "no_such_database" in line


def test_server_without_a_free_slot_says_so(tmp_path: Path, empty_dsn: str) -> None:
    name = value(empty_dsn, "SELECT current_database()")
    execute(
        empty_dsn,
        "DROP ROLE IF EXISTS crowded",
        "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
        f"GRANT ALL ON DATABASE {name} TO crowded",
    )
    url = make_conninfo(empty_dsn, user="crowded")
    for command in (("memory", "recall", "x"), ("db", "upgrade")):
        refused(tmp_path, *command, status=7, code="db_too_many_connections", database_url=url)


@pytest.mark.parametrize("command", WAYS_IN, ids=lambda command: "-".join(command[:2]))
def test_server_older_than_16_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    with old_server() as url:
        line = refused(tmp_path, *command, status=9, code="server_too_old", database_url=url)
    assert "15.8" in line or "PostgreSQL 15" in line
    assert "16 or later" in line


async def test_server_older_than_16_is_refused_in_python() -> None:
    with old_server() as url, pytest.raises(OpsError) as caught:
        async with aegis.connect(url):
            pass
    assert caught.value.code == "server_too_old"
    with old_server() as url, pytest.raises(OpsError) as caught, aegis.connect(url):
        pass
    assert caught.value.code == "server_too_old"


@pytest.mark.parametrize(
    ("command", "status", "code"),
    [
        (("db", "upgrade"), 9, "pgvector_missing"),
        (("db", "init"), 9, "pgvector_missing"),
        (("up", "--port", "0"), 9, "pgvector_missing"),
        (("memory", "recall", "x"), 9, "pgvector_missing"),
    ],
)
def test_server_without_pgvector_is_told_the_package(
    tmp_path: Path, empty_dsn: str, command: tuple[str, ...], status: int, code: str
) -> None:
    name = value(empty_dsn, "SELECT current_database()")
    # This server looks for its extensions in a folder that has none.
    execute(empty_dsn, f"ALTER DATABASE {name} SET extension_control_path = '/nonexistent'")
    line = refused(tmp_path, *command, status=status, code=code, database_url=empty_dsn)
    assert "postgresql-18-pgvector" in line
    assert tables(empty_dsn) == 0


@pytest.mark.parametrize("command", [("db", "upgrade"), ("db", "init"), ("up", "--port", "0")])
def test_user_who_may_not_create_pgvector_is_told_who_may(
    tmp_path: Path, empty_dsn: str, command: tuple[str, ...]
) -> None:
    name = value(empty_dsn, "SELECT current_database()")
    execute(
        empty_dsn,
        "DROP ROLE IF EXISTS owner_of_one",
        "CREATE ROLE owner_of_one LOGIN",
        f"ALTER DATABASE {name} OWNER TO owner_of_one",
    )
    url = make_conninfo(empty_dsn, user="owner_of_one")
    line = refused(tmp_path, *command, status=9, code="pgvector_forbidden", database_url=url)
    assert "CREATE EXTENSION vector" in line
    assert migrate.state(empty_dsn) == "empty"
    execute(empty_dsn, "CREATE EXTENSION vector")
    done = run(tmp_path, "db", "upgrade", database_url=url)
    assert done.returncode == 0, done.stderr
    execute(empty_dsn, f"ALTER DATABASE {name} OWNER TO aegis")


@pytest.mark.parametrize(
    "command",
    [("memory", "record", "note", "x"), ("memory", "recall", "x"), ("up", "--port", "0")],
)
def test_read_only_server_is_refused_and_unchanged(
    tmp_path: Path, dsn: str, command: tuple[str, ...]
) -> None:
    name = value(dsn, "SELECT current_database()")
    execute(dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    refused(tmp_path, *command, status=7, code="db_read_only", database_url=dsn)
    refused(
        tmp_path,
        "db",
        "downgrade",
        "0001",
        "--yes",
        status=7,
        code="db_read_only",
        database_url=dsn,
    )
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 0
    assert migrate.state(dsn) == "current"


def test_options_in_the_address_are_kept(tmp_path: Path, dsn: str) -> None:
    read_only = make_conninfo(dsn, options="-c default_transaction_read_only=on")
    refused(tmp_path, "memory", "list", status=7, code="db_read_only", database_url=read_only)


async def test_python_tells_the_same_kinds(empty_dsn: str) -> None:
    wrong = [
        (f"postgresql://x@127.0.0.1:{free_port()}/x", Unavailable, "db_unreachable"),
        ("hush", ConfigError, "db_url_invalid"),
        (empty_dsn, OpsError, "schema_empty"),
    ]
    for url, kind, code in wrong:
        with pytest.raises(kind) as caught:
            async with aegis.connect(url):
                pass
        assert caught.value.code == code
        assert "\n" not in caught.value.message
    assert migrate.state(empty_dsn) == "empty"


def tables(dsn: str) -> object:
    return value(dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


@contextmanager
def old_server() -> Generator[str]:
    """Yield the address of something that greets as PostgreSQL 15.8 does.

    Nothing older than 16 can be installed with pip: this speaks the protocol's greeting, and
    answers every query with the one row that it is asked for when a client looks at the server.
    https://www.postgresql.org/docs/15/protocol-flow.html
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, stop), daemon=True)
        thread.start()
        try:
            yield f"postgresql://someone@127.0.0.1:{listener.getsockname()[1]}/aegis?sslmode=disable"
        finally:
            stop.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _accept(listener: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_converse, args=(client,), daemon=True).start()


def _converse(client: socket.socket) -> None:
    with client, client.makefile("rb") as stream, contextlib.suppress(OSError, struct.error):
        while True:
            (length,) = struct.unpack("!i", stream.read(4))
            (version,) = struct.unpack("!i", stream.read(length - 4)[:4])
            if version >> 16 == 3:
                break
            client.sendall(b"N")
        parameters = {
            "server_version": "15.8",
            "client_encoding": "UTF8",
            "TimeZone": "UTC",
            "standard_conforming_strings": "on",
            "server_encoding": "UTF8",
        }
        told = b"".join(_message(b"S", f"{k}\0{v}\0".encode()) for k, v in parameters.items())
        client.sendall(_message(b"R", struct.pack("!i", 0)) + told + _READY)
        while kind := stream.read(1):
            (length,) = struct.unpack("!i", stream.read(4))
            client.sendall(_answer(kind, stream.read(length - 4)))


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


_READY = _message(b"Z", b"I")
_FACTS = {
    "version": (25, "15.8"),
    "version_num": (23, "150008"),
    "read_only": (16, "f"),
    "database": (25, "aegis"),
    "user_name": (25, "someone"),
}


def _answer(kind: bytes, body: bytes) -> bytes:
    """Answer one message of the client; the only rows are those about the server itself."""
    if kind == b"Q" and b"pg_backend_pid" in body:
        # The process that the greeting told of: none. So nothing lies between.
        column = b"pid\0" + struct.pack("!ihihih", 0, 0, 23, -1, -1, 0)
        row = _message(b"D", struct.pack("!hi", 1, 1) + b"0") + _message(b"C", b"SELECT 1\0")
        return _message(b"T", struct.pack("!h", 1) + column) + row + _READY
    if kind in (b"Q", b"S") and not (kind == b"Q" and b"server_version" in body):
        done = _message(b"C", b"SET\0") if kind == b"Q" else b""
        return done + _READY
    if kind == b"Q" or (kind == b"D" and body[:1] == b"P"):
        columns = b"".join(
            f"{name}\0".encode() + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0)
            for name, (oid, _) in _FACTS.items()
        )
        described = _message(b"T", struct.pack("!h", len(_FACTS)) + columns)
        return described if kind == b"D" else described + _row() + _READY
    return {b"P": _message(b"1", b""), b"B": _message(b"2", b""), b"E": _row()}.get(kind, b"")


def _row() -> bytes:
    cells = b"".join(struct.pack("!i", len(text)) + text.encode() for _, text in _FACTS.values())
    return _message(b"D", struct.pack("!h", len(_FACTS)) + cells) + _message(b"C", b"SELECT 1\0")
