"""Workers killed while jobs run, the database restarted under them: all done, none twice at once.

Every attempt is noted outside the database, with its token. One may follow another of the same job
only when that has ended, was cancelled, or died with its worker.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from aegis.db import migrate
from tests.cluster import restartable_cluster, wheel_bin_dir

if TYPE_CHECKING:
    from pathlib import Path

_JOBS = 300
_LEASE_S = 4.0


@dataclass(slots=True)
class Attempt:
    """One call of the function."""

    worker: int
    begun: float
    ended: float | None = None


@dataclass(slots=True)
class Workers:
    """Processes, by number; what they noted, and when they were killed."""

    dsn: str
    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(
        default_factory=dict[int, "subprocess.Popen[bytes]"]
    )
    killed: dict[int, float] = field(default_factory=dict[int, float])
    started: int = 0

    def start(self) -> None:
        number, self.started = self.started, self.started + 1
        file = self.folder / f"{number}.jsonl"
        log = (self.folder / f"{number}.log").open("wb")
        with closing(log):
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", "tests.worker.chaos_worker", self.dsn, file, str(_LEASE_S)],
                stderr=log,
            )

    def kill_busiest(self) -> None:
        """Kill the worker that has noted the most since it started, and start another."""
        notes = self.notes()
        busy = {
            n: sum(1 for e in notes.get(n, []) if e["event"] == "begin") for n in self.processes
        }
        number = max(busy, key=lambda n: busy[n])
        process = self.processes.pop(number)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        self.killed[number] = time.monotonic()
        self.start()

    def notes(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for file in self.folder.glob("*.jsonl"):
            found[int(file.stem)] = [json.loads(line) for line in file.read_text().splitlines()]
        return found

    def begun(self) -> int:
        return sum(e["event"] == "begin" for entries in self.notes().values() for e in entries)

    def stop(self) -> list[int]:
        """Stop all of them in order, once the newest has got so far that it can."""
        pids = {process.pid for process in self.processes.values()}
        deadline = time.monotonic() + 60
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            while not pids <= {row[0] for row in conn.execute("SELECT pid FROM workers")}:
                assert time.monotonic() < deadline, "a worker did not start"
                time.sleep(0.05)
        for process in self.processes.values():
            process.terminate()
        return [process.wait(timeout=60) for process in self.processes.values()]


def attempts(workers: Workers) -> dict[int, dict[int, Attempt]]:
    """Return the attempts by job and token; none may have begun twice."""
    found: dict[int, dict[int, Attempt]] = defaultdict(dict)
    for worker, entries in workers.notes().items():
        for entry in entries:
            of_job = found[entry["job"]]
            if entry["event"] == "begin":
                assert entry["token"] not in of_job, f"token {entry} was run twice"
                of_job[entry["token"]] = Attempt(worker=worker, begun=entry["at"])
            else:
                of_job[entry["token"]].ended = entry["at"]
    return found


def test_all_jobs_are_done_and_none_runs_twice_at_once(tmp_path: Path) -> None:
    with restartable_cluster(wheel_bin_dir()) as (dsn, restart):
        migrate.upgrade(dsn)
        with psycopg.connect(dsn) as conn:
            conn.execute(
                "INSERT INTO jobs (function, arguments, max_attempts) "
                "SELECT 'work', jsonb_build_object('n', n, 's', 0.5), 100 "
                "FROM generate_series(1, %s) AS n",
                [_JOBS],
            )
        workers = Workers(dsn=dsn, folder=tmp_path)
        try:
            for _ in range(3):
                workers.start()
            disturb(workers, restart)
            wait_for_all(dsn)
        finally:
            statuses = workers.stop()
        assert statuses == [0, 0, 0]
        with psycopg.connect(dsn) as conn:
            rows = conn.execute("SELECT id, state, result, token FROM jobs ORDER BY id").fetchall()
    assert [row[1] for row in rows] == ["completed"] * _JOBS
    assert [row[2] for row in rows] == list(range(1, _JOBS + 1))
    found = attempts(workers)
    assert set(found) == {row[0] for row in rows}
    again = 0
    for job, _, _, token in rows:
        of_job = [found[job][number] for number in sorted(found[job])]
        assert max(found[job]) == token, "an older token had the last word"
        for before, after in zip(of_job, of_job[1:], strict=False):  # noqa: RUF007
            again += 1
            over = before.ended or workers.killed[before.worker]
            assert over <= after.begun, f"job {job} ran twice at once: {before} {after}"
    # Something did go wrong, or nothing was shown.
    assert len(workers.killed) >= 4
    assert again >= 4


def disturb(workers: Workers, restart: Any) -> None:
    """Kill a worker whenever so many more jobs have begun; once, restart the database."""
    for step in range(1, 7):
        wait_until_begun(workers, step * 40)
        if step == 3:
            restart()
        else:
            workers.kill_busiest()


def wait_until_begun(workers: Workers, count: int) -> None:
    deadline = time.monotonic() + 120
    while workers.begun() < count:
        assert time.monotonic() < deadline, f"{workers.begun()} of {count} have begun"
        time.sleep(0.02)


def wait_for_all(dsn: str) -> None:
    deadline = time.monotonic() + 150
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            row = conn.execute("SELECT count(*) FROM jobs WHERE finished_at IS NULL").fetchone()
            if row == (0,):
                return
            assert time.monotonic() < deadline, f"{row} are not done"
            time.sleep(0.1)
