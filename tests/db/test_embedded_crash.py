"""Whatever is killed at whatever moment, the next start brings back every committed row."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import Settings, load_settings
from aegis.db import embedded
from aegis.db.postmaster import processes_of, wait_until
from tests.cluster import embedded_folder
from tests.db.test_embedded import START, ask

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir)


def kill_all(data: Path) -> None:
    for pid in processes_of(data):
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not processes_of(data), 10)


def test_kill_of_every_process_loses_no_committed_row(own: Settings) -> None:
    endpoint = embedded.start(own)
    ask(endpoint.dsn, "CREATE TABLE kept (n int)")
    ask(endpoint.dsn, "INSERT INTO kept SELECT generate_series(1, 1000)")
    with psycopg.connect(endpoint.dsn) as uncommitted:
        uncommitted.execute("INSERT INTO kept VALUES (-1)")
        kill_all(endpoint.data_dir)
        uncommitted.close()
    assert (endpoint.data_dir / "postmaster.pid").exists()
    assert embedded.status(own).state == "stopped"
    again = embedded.start(own)
    assert again.started
    assert ask(again.dsn, "SELECT array[count(*), min(n), sum(n)]::text FROM kept") == (
        "{1000,1,500500}"
    )


def test_orphans_of_a_killed_postmaster_do_not_keep_it_from_starting(own: Settings) -> None:
    endpoint = embedded.start(own)
    ask(endpoint.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    with psycopg.connect(endpoint.dsn) as busy:
        backend = busy.info.backend_pid
        # An endless loop does not notice that the postmaster is gone.
        busy.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        os.kill(endpoint.pid, signal.SIGKILL)
        # The log's writer stays too, for as long as somebody may write.
        assert wait_until(lambda: len(processes_of(endpoint.data_dir)) <= 2, 10)
        assert backend in processes_of(endpoint.data_dir)
        again = embedded.start(own)
        assert backend not in processes_of(endpoint.data_dir)
        busy.close()
    assert ask(again.dsn, "SELECT n FROM kept") == 7


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(".new-*/data/PG_VERSION", id="initdb-began"),
        pytest.param(".new-*/data/base/5", id="initdb-nearly-done"),
        pytest.param("18/PG_VERSION", id="cluster-made"),
        pytest.param("18/postmaster.pid", id="server-launched"),
    ],
)
def test_a_first_start_killed_half_way_is_done_again(own: Settings, moment: str) -> None:
    home = own.data_dir / "postgres"
    starter = subprocess.Popen(
        [sys.executable, "-c", START, own.data_dir], stdout=subprocess.DEVNULL
    )
    assert wait_until(lambda: bool(list(home.glob(moment))), 30)
    starter.kill()
    starter.wait()
    endpoint = embedded.start(own)
    assert ask(endpoint.dsn, "SELECT current_database()") == "aegis"
    assert not list(home.glob(".new-*"))


def test_a_pid_file_that_names_a_foreign_process_is_stale(own: Settings) -> None:
    endpoint = embedded.start(own)
    pid_file = endpoint.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill_all(endpoint.data_dir)
    owner = endpoint.data_dir.stat()
    # What the number belongs to after a restart of the machine: any process of the same user.
    user = owner.st_uid if os.geteuid() == 0 else None
    foreign = subprocess.Popen(["sleep", "60"], cwd="/", user=user)
    try:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        shutil.copy(pid_file, endpoint.socket_dir / f".s.PGSQL.{endpoint.port}.lock")
        assert embedded.status(own).state == "stopped"
        again = embedded.start(own)
        assert again.started
        assert foreign.poll() is None
        assert ask(again.dsn, "SELECT 1") == 1
    finally:
        foreign.kill()
        foreign.wait()


def test_an_immediate_stop_is_recovered_from(own: Settings) -> None:
    endpoint = embedded.start(own)
    ask(endpoint.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    assert embedded.stop(own, "immediate")
    assert ask(embedded.start(own).dsn, "SELECT n FROM kept") == 7
