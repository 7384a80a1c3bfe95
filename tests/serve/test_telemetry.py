"""`aegis up` measures, watches and tells people; what it owes survives `kill -9`."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from aegis.db.postmaster import wait_until
from tests.serving import serving

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

DISK = {"id": "disk", "state": "critical", "title": "Disk is full", "hold_s": 0}


class Receiver:
    """What was posted, and what is answered."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.url = ""


@contextmanager
def receiver() -> Generator[Receiver]:
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.got.append({**body, "status": found.status})
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def count(dsn: str, query: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_it_measures_and_tells_and_a_killed_process_s_message_arrives_later(
    tmp_path: Path, dsn: str
) -> None:
    settings = {
        "database_url": dsn,
        "embedder": "none",
        "metrics_collect": "cgroup",
        "metrics_every_s": "1",
    }
    observed = {"source": "ours", "conditions": [DISK]}
    with receiver() as ops:
        ops.status = 503
        named = f"ops={ops.url}"
        with serving(tmp_path / "a", alert_channels=named, **settings) as served:
            with served.http() as client:
                assert wait_until(
                    lambda: client.get("/v1/alerts/channels").json()["items"] != [], 60
                )
                done = client.post("/v1/alerts/observations", json=observed)
                assert len(done.json()["fired"]) == 1
            assert wait_until(lambda: len(ops.got) >= 1, 60)
            assert wait_until(lambda: count(dsn, "SELECT count(*) FROM container_metrics") > 2, 60)
            served.process.kill()
            served.process.wait()
        ops.status = 200
        with psycopg.connect(dsn, autocommit=True) as conn:
            # Two minutes from now, as far as the process that takes over can tell.
            conn.execute("UPDATE metric_watch SET lease_until = now() - INTERVAL '1 s'")
            conn.execute("UPDATE metric_collectors SET lease_until = now() - INTERVAL '1 s'")
            before = count(dsn, "SELECT count(*) FROM container_metrics")
        with serving(tmp_path / "b", alert_channels=named, **settings):
            sent = "SELECT count(*) FROM alert_deliveries WHERE state = 'sent'"
            assert wait_until(lambda: count(dsn, sent) == 1, 90)
            mine = "SELECT count(*) FROM metric_watch WHERE lease_until > now()"
            assert wait_until(lambda: count(dsn, mine) == 1, 60)
            # The lease is taken at the beginning of a round: once more, and the first is over.
            taken = count(dsn, "SELECT extract(epoch FROM lease_until) FROM metric_watch")
            later = f"lease_until > to_timestamp({taken}) + INTERVAL '1 s'"
            again = f"SELECT count(*) FROM metric_watch WHERE {later}"
            assert wait_until(lambda: count(dsn, again) == 1, 90)
            assert count(dsn, "SELECT count(*) FROM container_metrics") > before
        assert len({one["delivery_id"] for one in ops.got}) == 1
        assert "Disk is full" in ops.got[-1]["subject"]
    # Whoever stops in order saves what it knows, and lets go of the watch.
    assert count(dsn, "SELECT count(*) FROM metric_watch_states") >= 1
    assert count(dsn, "SELECT count(*) FROM metric_watch WHERE owner IS NULL") == 1
    assert count(dsn, "SELECT count(*) FROM metric_collectors") == 0
