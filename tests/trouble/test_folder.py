"""A data folder that cannot be used, a port that is taken, a disk that is full."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import Settings, load_settings
from aegis.db import embedded, migrate
from aegis.db.admin import exclusive_connection
from aegis.db.binaries import find_binaries
from tests.cluster import embedded_folder
from tests.disks import small_disk
from tests.serving import CALL, environment, serving
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTERS = [("memory", "recall", "x"), ("db", "start"), ("db", "url"), ("up", "--port", "0")]


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir)


@pytest.mark.parametrize("command", STARTERS, ids=" ".join)
def test_folder_that_cannot_be_written_is_named(own: Settings, command: tuple[str, ...]) -> None:
    file = own.data_dir.parent / "file"
    file.write_text("mine")
    line = refused(file / "data", *command, status=8, code="data_dir_not_writable")
    assert str(file / "data") in line
    assert "AEGIS_DATA_DIR" in line
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", STARTERS, ids=" ".join)
def test_data_of_another_major_version_is_refused(own: Settings, command: tuple[str, ...]) -> None:
    theirs = own.data_dir / "postgres" / "17"
    theirs.mkdir(parents=True)
    (theirs / "PG_VERSION").write_text("17\n")
    line = refused(own.data_dir, *command, status=9, code="data_dir_version")
    assert "PostgreSQL 17" in line
    assert str(theirs) in line
    assert [p.name for p in (own.data_dir / "postgres").glob("[0-9]*")] == ["17"]
    assert (theirs / "PG_VERSION").read_text() == "17\n"


def test_something_else_in_the_cluster_s_place_is_left_alone(own: Settings) -> None:
    place = own.data_dir / "postgres" / str(find_binaries().major)
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("do not lose")
    for command in STARTERS:
        refused(own.data_dir, *command, status=9, code="data_dir_damaged")
    assert (place / "thesis.txt").read_text() == "do not lose"


def test_taken_port_is_told_and_nothing_was_started(own: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = refused(own.data_dir, "up", "--port", port, status=9, code="port_taken")
    assert port in line
    assert "--port" in line
    assert embedded.status(own).state == "absent"


def test_second_up_on_the_same_folder_names_the_first(own: Settings, dsn: str) -> None:
    with serving(own.data_dir, database_url=dsn, embedder="none") as first:
        port = first.url.rpartition(":")[2]
        line = refused(
            own.data_dir, "up", "--port", port, status=9, code="port_taken", database_url=dsn
        )
        assert str(first.process.pid) in line
        assert first.http().get("/readyz").status_code == 200


def test_two_commands_at_once_on_a_fresh_folder_both_work_and_furnish_it(own: Settings) -> None:
    commands = [
        subprocess.Popen(
            [*CALL, "memory", "record", "note", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(own.data_dir, embedder="none"),
        )
        for text in ("one", "two")
    ]
    for command in commands:
        _, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
    items = json.loads(run(own.data_dir, "memory", "list", "--json").stdout)["items"]
    assert sorted(item["summary"] for item in items) == ["one", "two"]
    # As after a first `aegis up`: whoever comes first makes everything.
    status = json.loads(run(own.data_dir, "db", "status", "--json").stdout)
    assert [
        state["extension"]["name"]
        for state in status["extensions"]
        if state["available"] and not state["installed"]
    ] == []


def test_command_waits_for_the_process_that_is_making_the_schema(own: Settings) -> None:
    dsn = embedded.start(own).dsn
    migrate.upgrade(dsn, "0001")
    with exclusive_connection(dsn) as maker:
        record = subprocess.Popen(
            [*CALL, "memory", "record", "note", "patient"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(own.data_dir, embedder="none"),
        )
        with psycopg.connect(dsn, autocommit=True) as watch:
            for _ in range(3000):
                row = watch.execute(
                    "SELECT count(*), pg_sleep(0.01) FROM pg_locks "
                    "WHERE locktype = 'advisory' AND NOT granted"
                ).fetchone()
                if row is not None and row[0]:
                    break
        migrate.run_upgrade(maker, "head")
    _, err = record.communicate(timeout=60)
    assert record.returncode == 0, err


def test_address_of_another_machine_is_refused(own: Settings) -> None:
    for host in ("192.0.2.1", "no.such.host.invalid"):
        refused(
            own.data_dir, "up", "--port", "0", "--host", host, status=8, code="api_host_invalid"
        )
    assert embedded.status(own).state == "absent"


# What only root can bring about.
if os.geteuid() == 0:

    @pytest.mark.parametrize("command", [("memory", "recall", "x"), ("up", "--port", "0")])
    def test_disk_full_at_the_first_start_leaves_nothing_half_made(
        own: Settings, command: tuple[str, ...]
    ) -> None:
        with small_disk(own.data_dir, 20):
            line = refused(own.data_dir, *command, status=9, code="disk_full")
            assert "Free" in line
            assert not list((own.data_dir / "postgres").glob("[.0-9]*"))
            subprocess.run(["mount", "-o", "remount,size=300m", own.data_dir], check=True)
            done = run(own.data_dir, "memory", "record", "note", "kept")
            assert done.returncode == 0, done.stderr
            embedded.stop(own, "immediate")

    def test_disk_filled_while_it_runs_loses_nothing(own: Settings) -> None:
        with small_disk(own.data_dir, 150):
            assert run(own.data_dir, "memory", "record", "note", "kept").returncode == 0
            endpoint = embedded.start(own)
            with psycopg.connect(endpoint.dsn, autocommit=True) as conn:
                # A segment is used up, and the next one is not to be had.
                conn.execute("CREATE TABLE ballast (body text)")
                with pytest.raises(psycopg.Error):
                    conn.execute(
                        "INSERT INTO ballast SELECT repeat(md5(n::text), 60) "
                        "FROM generate_series(1, 200000) AS n"
                    )
            embedded.stop(own, "immediate")
            subprocess.run(["mount", "-o", "remount,size=500m", own.data_dir], check=True)
            done = run(own.data_dir, "memory", "list", "--json")
            assert done.returncode == 0, done.stderr
            assert '"kept"' in done.stdout
            embedded.stop(own, "immediate")
