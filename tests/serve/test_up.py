"""`aegis up` as people run it: real processes, real signals, a real port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import psycopg
import pytest

from aegis.config import load_settings
from aegis.db import embedded
from aegis.db.postmaster import wait_until
from aegis.wire.presence import find_presence
from tests.cluster import embedded_folder
from tests.serving import CALL, aegis, answer, environment, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def embedded_dir() -> Iterator[Path]:
    """A data folder whose embedded server is gone at the end."""
    with embedded_folder() as folder:
        yield folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly(data_dir: Path, dsn: str, number: signal.Signals) -> None:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        assert httpx2.get(f"{served.url}/healthz").json() == {"status": "ok"}
        served.process.send_signal(number)
        _, err = served.process.communicate(timeout=30)
        # Jobs that were due at once, and under way, are handed back, which is told.
        *handed_back, last = err.splitlines()
        assert (served.process.returncode, last) == (0, "Aegis has stopped.")
        assert [x for x in handed_back if " info aegis.worker worker.stopped " not in x] == []
    assert find_presence(data_dir) is None
    assert not (data_dir / "serve.json").exists()
    with psycopg.connect(dsn) as conn:
        left = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aegis'"
        ).fetchone()
    assert left == (0,)


def test_request_under_way_is_finished_before_the_end(data_dir: Path, dsn: str) -> None:
    with (
        serving(data_dir, database_url=dsn, embedder="none") as served,
        psycopg.connect(dsn) as conn,
        psycopg.connect(dsn, autocommit=True) as watch,
        ThreadPoolExecutor() as pool,
        served.http() as http,
    ):
        conn.execute("LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(http.get, "/v1/memory/episodes")
        # What goes on beside the requests may wait as well.
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND query LIKE 'SELECT%e.id,%e.namespace,%'"
        )
        while watch.execute(waits).fetchone() == (0,):
            watch.execute("SELECT pg_sleep(0.02)")
        served.process.terminate()
        conn.rollback()
        assert asked.result(timeout=20).json() == {"items": [], "next_cursor": None}
        assert served.process.wait(timeout=30) == 0


def test_embedded_server_that_it_started_ends_with_it(embedded_dir: Path) -> None:
    with serving(embedded_dir, embedder="none") as served:
        assert "embedded in" in served.said
        with served.http() as http:
            body = {"event_type": "note", "summary": "kept"}
            assert http.post("/v1/memory/episodes", json=body).status_code == 201
        served.process.terminate()
        assert served.process.wait(timeout=30) == 0
    assert embedded.status(load_settings({}, data_dir=embedded_dir)).state == "stopped"
    # kill -9 of what serves, and of the database beside it: nothing is lost.
    with serving(embedded_dir, embedder="none") as served:
        server = embedded.status(load_settings({}, data_dir=embedded_dir))
        assert server.pid is not None
        served.process.kill()
        served.process.wait()
        os.kill(server.pid, signal.SIGKILL)
    with serving(embedded_dir, embedder="none") as served, served.http() as http:
        (episode,) = http.get("/v1/memory/episodes").json()["items"]
    assert episode["summary"] == "kept"


def test_server_killed_under_a_question_is_said_and_survived(embedded_dir: Path) -> None:
    settings = load_settings({}, data_dir=embedded_dir)
    with (
        serving(embedded_dir, embedder="none") as served,
        closing(psycopg.connect(embedded.dsn(settings))) as conn,
        closing(psycopg.connect(embedded.dsn(settings), autocommit=True)) as watch,
        ThreadPoolExecutor() as pool,
        served.http() as http,
    ):
        conn.execute("LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(http.get, "/v1/memory/episodes")
        typed = pool.submit(aegis, embedded_dir, "memory", "list", embedder="none")
        # What goes on beside the requests may wait as well.
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND query LIKE 'SELECT%e.id,%e.namespace,%'"
        )
        while watch.execute(waits).fetchone() != (2,):
            watch.execute("SELECT pg_sleep(0.02)")
        embedded.stop(settings, "immediate")
        assert asked.result(timeout=30).status_code == 503
        done = typed.result(timeout=30)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1), done.stderr
        assert http.get("/readyz").status_code == 503
        embedded.start(settings)
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)
        embedded.stop(settings)


def _pid_when_running(settings: Settings) -> int | None:
    found = embedded.status(settings)
    return found.pid if found.state == "running" else None


def test_killed_server_comes_back_by_itself(embedded_dir: Path) -> None:
    settings = load_settings({}, data_dir=embedded_dir)
    with serving(embedded_dir, embedder="none") as served, served.http() as http:
        before = embedded.status(settings).pid
        assert before is not None
        assert not embedded.crashed(settings)
        os.kill(before, signal.SIGKILL)
        # A killed process is still there for a moment, so the new one is waited for by its id.
        assert wait_until(lambda: _pid_when_running(settings) not in (None, before), 30)
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)
    # It was started again here, so it ends with what started it.
    assert embedded.status(settings).state == "stopped"


def test_stopped_server_stays_stopped_until_a_command_needs_it(embedded_dir: Path) -> None:
    settings = load_settings({}, data_dir=embedded_dir)
    with (
        serving(embedded_dir, embedder="none", pool_timeout_s="2") as served,
        served.http() as http,
    ):
        assert embedded.stop(settings)
        assert not embedded.crashed(settings)
        gone = [http.get("/v1/memory/episodes") for _ in range(3)][-1]
        assert (gone.status_code, gone.json()["code"]) == (503, "db_unreachable")
        assert embedded.status(settings).state == "stopped"
        asked = aegis(embedded_dir, "memory", "recall", "x", "--json", embedder="none")
        assert answer(asked) == {"results": [], "warnings": []}
        assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)
        embedded.stop(settings)


def test_server_that_comes_back_on_another_port_is_followed(embedded_dir: Path) -> None:
    settings = load_settings({}, data_dir=embedded_dir)
    with serving(embedded_dir, embedder="none", pool_timeout_s="2") as served:
        before = embedded.start(settings).port
        assert embedded.stop(settings)
        with socket.socket() as other, served.http() as http:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", before))
            other.listen()
            assert http.get("/readyz").status_code == 503
            assert embedded.start(settings).port != before
            assert wait_until(lambda: http.get("/readyz").status_code == 200, 30)
        embedded.stop(settings)


def test_stopping_the_server_under_it_wants_to_be_told_twice(embedded_dir: Path) -> None:
    with serving(embedded_dir, embedder="none") as served:
        refused = aegis(embedded_dir, "db", "stop")
        assert refused.returncode == 4
        assert f"process {served.process.pid}" in refused.stderr
        assert aegis(embedded_dir, "db", "stop", "--yes").stdout == "Stopped.\n"


def test_listening_beyond_this_machine_is_advised_against(data_dir: Path, dsn: str) -> None:
    more = {"database_url": dsn, "embedder": "none"}
    with serving(data_dir, "--host", "0.0.0.0", "--port", "0", **more) as served:
        assert "without TLS" in served.said
        assert httpx2.get(f"{served.url}/v1/status").status_code == 401


@pytest.mark.parametrize("delay_s", [0.3, 0.6, 0.9])
def test_signal_in_the_middle_of_the_start_leaves_nothing(
    embedded_dir: Path, delay_s: float
) -> None:
    process = subprocess.Popen(
        [*CALL, "up", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(embedded_dir, embedder="none"),
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=delay_s)
    process.terminate()
    _, err = process.communicate(timeout=60)
    # Before Python has come as far as to listen, the signal itself ends it.
    assert (process.returncode, err) in [(-signal.SIGTERM, ""), (0, "Aegis has stopped.\n")]
    settings = load_settings({}, data_dir=embedded_dir)
    assert embedded.status(settings).state in ("absent", "stopped")
    assert find_presence(embedded_dir) is None


def test_second_one_on_the_port_is_told_who_is_there(data_dir: Path, dsn: str) -> None:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        port = served.url.rpartition(":")[2]
        more = {"database_url": dsn, "embedder": "none"}
        second = aegis(data_dir, "up", "--port", port, **more)
        assert (second.returncode, second.stdout) == (9, "")
        assert f"process {served.process.pid}" in second.stderr
        assert second.stderr.endswith("[port_taken]\n")
        assert second.stderr.count("\n") == 1
        assert httpx2.get(f"{served.url}/healthz").status_code == 200


def test_port_of_another_program_is_named(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = aegis(data_dir, "up", "--port", port)
    assert done.returncode == 9
    assert f"Port {port} on 127.0.0.1 is taken by another program" in done.stderr
    # Nothing was started for it.
    assert not (data_dir / "postgres").exists()


def test_address_that_is_not_this_machines_is_refused(data_dir: Path) -> None:
    done = aegis(data_dir, "up", "--host", "203.0.113.7", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (8, 1)
    assert "[api_host_invalid]" in done.stderr


def test_server_that_does_not_answer_is_said_in_one_line(data_dir: Path) -> None:
    url = f"postgresql://u:hidden@127.0.0.1:{free_port()}/x"
    done = aegis(data_dir, "up", "--port", "0", database_url=url)
    assert (done.returncode, done.stderr.count("\n")) == (7, 1)
    assert "[db_unreachable]" in done.stderr
    assert "hidden" not in done.stderr


def test_empty_database_gets_its_tables(data_dir: Path, empty_dsn: str) -> None:
    with serving(data_dir, database_url=empty_dsn, embedder="none") as served:
        assert httpx2.get(f"{served.url}/readyz").json()["status"] == "ok"


def test_database_that_is_behind_is_backed_up_and_upgraded(data_dir: Path, dsn: str) -> None:
    more = {"database_url": dsn, "embedder": "none"}
    answer(aegis(data_dir, "memory", "record", "note", "kept", "--json", **more))
    assert aegis(data_dir, "db", "downgrade", "0001", "--yes", **more).returncode == 0
    with serving(data_dir, **more) as served, served.http() as http:
        (episode,) = http.get("/v1/memory/episodes").json()["items"]
    assert episode["summary"] == "kept"
    assert len(list((data_dir / "backups").glob("[!.]*_before-upgrade"))) == 1


def test_what_is_private_is_its_owners_alone(data_dir: Path, dsn: str) -> None:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        for name in ("operator-token", "serve.json"):
            assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
        assert served.token not in served.said
        assert served.token not in (data_dir / "serve.json").read_text()
        # Nobody finds the token, or the address with a password, among the processes' arguments.
        assert served.token not in " ".join(map(str, served.process.args))  # pyright: ignore[reportArgumentType]


def test_token_stays_the_same(data_dir: Path, dsn: str) -> None:
    tokens: list[str] = []
    for _ in range(2):
        with serving(data_dir, database_url=dsn, embedder="none") as served:
            tokens.append(served.token)
    assert tokens[0] == tokens[1]


def test_missing_vectors_are_filled_in(data_dir: Path, dsn: str) -> None:
    more = {"database_url": dsn}
    made = answer(
        aegis(data_dir, "memory", "record", "note", "later", "--json", embedder="none", **more)
    )
    assert isinstance(made, dict)
    assert not made["embedded"]
    with serving(data_dir, **more), psycopg.connect(dsn, autocommit=True) as watch:
        missing = "SELECT count(*) FROM episodic_memory WHERE embedding IS NULL"
        for _ in range(1000):
            if watch.execute(missing).fetchone() == (0,):
                return
            watch.execute("SELECT pg_sleep(0.02)")
    raise AssertionError("the vector is still missing")


RECALLS = [
    ("where did the cat sit?",),
    ("cat", "-k", "1", "--json"),
    ("cat", "--mode", "text", "--json"),
    ("cat", "--since", "2026-05-01T00:00:00Z", "--tag", "pets", "--json"),
    ("cat", "--since", "2026-05-01"),
    ("cat", "--min-importance", "urgent"),
    ("cat", "--mode", "magic"),
    ("",),
    ("cat", "-k", "0"),
    ("cat", "--namespace", "nobody"),
]


def test_served_recall_is_the_direct_one(data_dir: Path, dsn: str) -> None:
    more = {"database_url": dsn}
    for summary in ("The cat sat on the mat.", "Lunch was — wie immer — good.", "Rain again."):
        at = "2026-05-01T09:00:00+02:00"
        done = aegis(
            data_dir, "memory", "record", "note", summary, "--tag", "pets", "--at", at, **more
        )
        assert done.returncode == 0, done.stderr
    direct = [aegis(data_dir, "memory", "recall", *r, **more) for r in RECALLS]
    with serving(data_dir, **more):
        served = [aegis(data_dir, "memory", "recall", *r, **more) for r in RECALLS]
    for asked, one, other in zip(RECALLS, direct, served, strict=True):
        assert (asked, one.returncode, without_age(one.stdout), one.stderr) == (
            asked,
            other.returncode,
            without_age(other.stdout),
            other.stderr,
        )


def without_age(text: str) -> object:
    """Return an answer without what the passing of time changes in it."""
    if not text.startswith("{"):
        return [line.split("  ")[2:] for line in text.splitlines()]
    document = json.loads(text)
    return [(hit["episode"], [part["arm"] for part in hit["parts"]]) for hit in document["results"]]


def test_recall_asks_who_serves_and_nobody_else(data_dir: Path, dsn: str, empty_dsn: str) -> None:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        status = answer(
            aegis(data_dir, "db", "status", "--json", database_url=dsn, embedder="none")
        )
        assert isinstance(status, dict)
        assert status["serving"]["pid"] == served.process.pid
        assert status["serving"]["pool"]["max_size"] == 10
        # The same folder with another database is another matter.
        other = aegis(data_dir, "memory", "recall", "cat", database_url=empty_dsn)
        assert other.returncode == 9
        served.process.kill()
        served.process.wait()
        # What a killed process left behind leads nobody astray.
        assert (data_dir / "serve.json").exists()
        found = aegis(data_dir, "memory", "recall", "cat", database_url=dsn, embedder="none")
        assert found.returncode == 0


def test_what_it_says_fits_80_columns(data_dir: Path, dsn: str) -> None:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        token = str(data_dir / "operator-token")
        usual = served.said.replace(token, "/var/lib/aegis/operator-token")
        usual = re.sub(r"(?m)^ {15}\S+@.*$", "", usual)
        assert [line for line in usual.splitlines() if len(line) > 80] == []
        assert served.url in usual
