"""A server that dies, or has no connection to spare, while a question is under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import aegis
from aegis.config import Settings, load_settings
from aegis.db import embedded
from aegis.db.postmaster import wait_until
from aegis.errors import Unavailable
from tests.cluster import embedded_folder
from tests.serving import CALL, environment, serving
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Waits for nothing to happen are bounded by this.
PATIENCE = {"embedder": "none", "lock_timeout_ms": "60000", "statement_timeout_ms": "60000"}


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir)


def hold(conn: psycopg.Connection) -> None:
    """Keep every other statement on episodes waiting until the transaction ends."""
    conn.execute("LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE")


def wait_for_a_waiting_backend(conn: psycopg.Connection) -> int:
    """Return the process of a backend that waits for the lock that `hold` took."""
    for _ in range(3000):
        row = conn.execute(
            """
            SELECT activity.pid, pg_sleep(0.01)
            FROM pg_stat_activity AS activity
            WHERE activity.wait_event_type = 'Lock'
            AND pg_backend_pid() = ANY (pg_blocking_pids(activity.pid))
            """
        ).fetchone()
        if row is not None:
            return int(row[0])
        conn.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("victim", ["backend", "postmaster"])
def test_server_killed_in_the_middle_of_a_recall(own: Settings, victim: str) -> None:
    assert run(own.data_dir, "memory", "record", "note", "the hull is red").returncode == 0
    endpoint = embedded.start(own)
    # Only closed in the end: its server is dead by then.
    with closing(psycopg.connect(endpoint.dsn)) as holder:
        hold(holder)
        with subprocess.Popen(
            [*CALL, "memory", "recall", "hull"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(own.data_dir, **PATIENCE),
        ) as recall:
            waiting = wait_for_a_waiting_backend(holder)
            if victim == "postmaster":
                os.kill(endpoint.pid, signal.SIGKILL)
            os.kill(waiting, signal.SIGKILL)
            out, err = recall.communicate(timeout=60)
    assert (recall.returncode, out) == (7, ""), err
    assert err.startswith("aegis: ")
    assert err.endswith("[db_unreachable]\n")
    assert err.count("\n") == 1
    again = run(own.data_dir, "memory", "recall", "hull", "--json")
    assert again.returncode == 0, again.stderr
    assert [hit["episode"]["summary"] for hit in json.loads(again.stdout)["results"]] == [
        "the hull is red"
    ]


def test_serving_process_survives_the_death_of_its_server(own: Settings) -> None:
    with serving(own.data_dir, embedder="none") as served, served.http() as http:
        answer = http.post("/v1/memory/episodes", json={"event_type": "note", "summary": "kept"})
        assert answer.status_code == 201, answer.text
        pid = embedded.status(own).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        for _ in range(2):
            gone = http.post("/v1/memory/recall", json={"query": "kept"})
            if gone.status_code != 200:
                assert (gone.status_code, gone.json()["status"]) == (503, 503)
                assert gone.headers["content-type"] == "application/problem+json"
                assert gone.headers["retry-after"]
        embedded.start(own)
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)
        recovered = http.post("/v1/memory/recall", json={"query": "kept"})
        assert recovered.json()["results"][0]["episode"]["summary"] == "kept"
        assert http.get("/readyz").status_code == 200


def test_killed_process_and_server_come_back_with_every_row(own: Settings) -> None:
    with serving(own.data_dir, embedder="none") as served:
        with served.http() as http:
            assert (
                http.post(
                    "/v1/memory/episodes", json={"event_type": "note", "summary": "kept"}
                ).status_code
                == 201
            )
        pid = embedded.status(own).pid
        assert pid is not None
        served.process.kill()
        os.kill(pid, signal.SIGKILL)
        served.process.wait(timeout=30)
    with serving(own.data_dir, embedder="none") as served, served.http() as http:
        items = http.get("/v1/memory/episodes").json()["items"]
        assert [item["summary"] for item in items] == ["kept"]


def test_pool_without_a_free_connection_says_so_and_recovers(tmp_path: Path, dsn: str) -> None:
    small = {**PATIENCE, "pool_min_size": "1", "pool_max_size": "1", "pool_timeout_s": "0.5"}
    first: list[Any] = []
    with (
        psycopg.connect(dsn) as holder,
        serving(tmp_path, database_url=dsn, **small) as served,
        served.http() as http,
    ):
        hold(holder)
        question = {"query": "x"}

        def ask() -> None:
            # What goes on beside the requests may have the one connection at first.
            while not first or first[-1].status_code == 503:
                first.append(http.post("/v1/memory/recall", json=question))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for_a_waiting_backend(holder)
        with served.http() as other:
            second = other.post("/v1/memory/recall", json=question)
            assert (second.status_code, second.json()["code"]) == (503, "pool_exhausted")
            assert other.get("/readyz").status_code == 503
            assert other.get("/healthz").status_code == 200
        # The command asks the process that serves, and passes on what it says.
        line = refused(
            tmp_path,
            "memory",
            "recall",
            "x",
            status=7,
            code="pool_exhausted",
            database_url=dsn,
            **small,
        )
        assert "AEGIS_POOL_MAX_SIZE" in line
        holder.rollback()
        asking.join(60)
        assert first[-1].status_code == 200
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)


async def test_pool_without_a_free_connection_in_python(dsn: str) -> None:
    settings = load_settings(
        {}, database_url=dsn, embedder="none", pool_min_size=1, pool_max_size=1, pool_timeout_s=0.2
    )
    async with aegis.connect(settings=settings) as client:
        async with client.db.transaction():
            with pytest.raises(Unavailable) as caught:
                await client.memory.recall("x")
            assert caught.value.code == "pool_exhausted"
        assert await client.memory.recall("x") == []


def test_lock_that_is_not_to_be_had_ends_in_a_line(tmp_path: Path, dsn: str) -> None:
    with psycopg.connect(dsn) as holder:
        hold(holder)
        refused(
            tmp_path,
            "memory",
            "record",
            "note",
            "x",
            status=7,
            code="db_lock_timeout",
            database_url=dsn,
            lock_timeout_ms="200",
        )
        refused(
            tmp_path,
            "memory",
            "recall",
            "x",
            status=7,
            code="db_statement_timeout",
            database_url=dsn,
            statement_timeout_ms="200",
        )
    done = run(tmp_path, "memory", "list", "--json", database_url=dsn)
    assert json.loads(done.stdout)["items"] == []
