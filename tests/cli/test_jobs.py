"""`aegis schedule …`, `aegis jobs …`, `aegis worker …`; and a worker in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.serving import environment as environment_of
from tests.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def test_a_schedule_from_beginning_to_end(aegis: Shell) -> None:
    made = aegis("schedule", "add", "nightly", "0 2 * * *", "memory.sweep")
    assert (made.status, "nightly: memory.sweep, next at" in made.out) == (0, True)
    taken = aegis("schedule", "add", "nightly", "0 2 * * *", "memory.sweep")
    assert (taken.status != 0, "[conflict]" in taken.err) == (True, True)
    put = aegis(
        "schedule", "add", "nightly", "30 2 * * *", "memory.sweep", "--replace", "--json",
        "--timezone", "Europe/Berlin", "--missed", "all", "--arguments", '{"a": 1}',
    ).json  # fmt: skip
    assert (put["cron"], put["arguments"]) == ("30 2 * * *", {"a": 1})
    assert "paused" in aegis("schedule", "pause", "nightly").out
    assert "paused" in aegis("schedule", "list").out
    assert "next at 2" in aegis("schedule", "resume", "nightly").out
    job = aegis("schedule", "run", "nightly", "--json").json
    assert "is enqueued" in aegis("schedule", "run", "nightly").out
    history = aegis("schedule", "history", "nightly", "--json").json["items"]
    assert history[-1]["id"] == job["id"]
    assert "memory.sweep" in aegis("schedule", "history", "nightly").out
    asked = aegis("schedule", "remove", "nightly")
    assert "[confirmation_needed]" in asked.err
    assert aegis("schedule", "remove", "nightly", "--yes").out == "nightly is removed.\n"
    assert aegis("schedule", "list", "--json").json == {"items": []}
    assert "[not_found]" in aegis("schedule", "pause", "nightly").err
    assert "[cron_invalid]" in aegis("schedule", "add", "x", "soon", "memory.sweep").err


def test_rates_of_providers_are_set_listed_and_lifted(aegis: Shell) -> None:
    assert aegis("worker", "rates", "--json").json == {"items": []}
    set_ = aegis("worker", "rate", "perplexity", "--per-minute", "30", "--burst", "2", "--json")
    assert set_.json == {"provider": "perplexity", "per_minute": 30.0, "burst": 2}
    assert "perplexity" in aegis("worker", "rates").out
    assert "[invalid_input]" in aegis("worker", "rate", "perplexity").err
    assert "[invalid_input]" in aegis("worker", "rate", "p", "--per-minute", "0").err
    assert aegis("worker", "rate", "perplexity", "--lift").status == 0
    assert aegis("worker", "rates", "--json").json == {"items": []}


def test_jobs_are_added_shown_and_ended(aegis: Shell) -> None:
    job = aegis("jobs", "add", "memory.sweep", "--due-at", "2099-01-01T00:00:00Z", "--json").json
    number = str(job["id"])
    assert job["due_at"].startswith("2099-01-01")
    assert "memory.sweep" in aegis("jobs", "list", "--state", "waiting").out
    assert "memory.sweep" in aegis("jobs", "show", number).out
    assert aegis("jobs", "cancel", number).out == f"Job {number} is cancelled.\n"
    assert aegis("jobs", "retry", number).out == f"Job {number} is waiting.\n"
    assert aegis("jobs", "show", number, "--json").json["attempts"] == 0
    assert "memory.sweep" in aegis("jobs", "functions").out.splitlines()
    assert "[function_unknown]" in aegis("jobs", "add", "os.system").err
    assert aegis("worker", "status", "--json").json == {
        "workers": 0, "places": 0, "jobs": {"due": 1, "later": 0, "running": 0},
    }  # fmt: skip
    assert (
        "kind is 'nothing'; use one of schedules, jobs, workflows, research, intel, alerts."
        in aegis("worker", "--kind", "nothing").err
    )
    assert "No worker runs" in aegis("worker", "list").err + aegis("worker", "list").out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_process_works_and_stops_in_order(
    aegis: Shell, dsn: str, tmp_path: Path, number: signal.Signals
) -> None:
    env = environment_of(tmp_path / "data", database_url=dsn, embedder="none")
    with subprocess.Popen(
        [sys.executable, "-m", "aegis.cli", "worker", "--concurrency", "3"],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        try:
            job = aegis("jobs", "add", "memory.sweep", "--json").json
            wait_for(dsn, f"SELECT state = 'completed' FROM jobs WHERE id = {job['id']}")
            (row,) = aegis("worker", "list", "--json").json["items"]
            assert (row["pid"], row["concurrency"], row["alive"]) == (process.pid, 3, True)
            names = {item["name"] for item in aegis("schedule", "list", "--json").json["items"]}
            assert {"memory.sweep", "memory.consolidate", "metrics.keep"} <= names
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert err.endswith("The worker has stopped.\n")
    assert aegis("worker", "list", "--json").json == {"items": []}
    (row,) = aegis("worker", "list", "--all", "--json").json["items"]
    assert row["stopped_at"] is not None
    assert "stopped" in aegis("worker", "list", "--all").out


def test_up_works_too_unless_it_is_turned_off(dsn: str, tmp_path: Path, aegis: Shell) -> None:
    with serving(tmp_path / "data", database_url=dsn, embedder="none") as served:
        with served.http() as http:
            assert http.post("/v1/schedules/memory.sweep/run").status_code in (201, 404)
        job = aegis("jobs", "add", "memory.sweep", "--json").json
        wait_for(dsn, f"SELECT state = 'completed' FROM jobs WHERE id = {job['id']}")
    (row,) = aegis("worker", "list", "--all", "--json").json["items"]
    assert row["stopped_at"] is not None
    with serving(tmp_path / "data", database_url=dsn, embedder="none", worker="off"):
        assert aegis("worker", "list", "--json").json == {"items": []}


def wait_for(dsn: str, question: str) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(question.encode()).fetchone() != (True,):
            assert time.monotonic() < deadline, json.dumps(
                conn.execute("SELECT to_jsonb(j) FROM jobs j").fetchall(), default=str
            )
            time.sleep(0.05)
