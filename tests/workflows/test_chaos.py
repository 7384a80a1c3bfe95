"""200 executions while workers are killed every second and the database is restarted twice.

All complete; what is recorded is recorded once, and never begun again; what has to happen exactly
once has happened exactly once.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.config import load_settings
from aegis.db import Database, migrate
from aegis.workflows.service import Workflows
from tests.cluster import restartable_cluster, wheel_bin_dir
from tests.workflows.conftest import chain, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EXECUTIONS = 200
_LEASE_S = 4.0
_KILLS = 12
_ITEMS = 3

INNER = chain(("x", "step"), ("y", "effect"))
OUTER = {
    "start": "a",
    "nodes": {
        "a": {"type": "step"},
        "b": {"type": "effect"},
        "each": {"type": "fan_out", "params": {"items": "{{ input.items }}", "concurrency": 2}},
        "work": {"type": "step"},
        "stores": {"type": "effect"},
        "meet": {"type": "join"},
        "wait": {"type": "wait_for", "params": {"seconds": 1.5}},
        "sub": {"type": "sub_workflow", "params": {"workflow": "inner"}},
        "signal": {"type": "signal", "params": {"name": "go"}},
        "last": {"type": "effect"},
    },
    "edges": [
        {"from": a, "to": b}
        for a, b in (
            ("a", "b"),
            ("b", "each"),
            ("each", "work"),
            ("work", "stores"),
            ("stores", "meet"),
            ("meet", "wait"),
            ("wait", "sub"),
            ("sub", "signal"),
            ("signal", "last"),
        )
    ],
}


@dataclass(slots=True)
class Workers:
    """Processes, by number, and what they noted."""

    dsn: str
    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: int = 0
    killed: int = 0

    def start(self) -> None:
        number, self.started = self.started, self.started + 1
        file = self.folder / f"{number}.jsonl"
        log = (self.folder / f"{number}.log").open("wb")
        module = "tests.workflows.chaos_worker"
        with closing(log):
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", module, self.dsn, file, str(_LEASE_S)], stderr=log
            )

    def kill_busiest(self) -> None:
        """Kill the worker that has begun the most steps, and start another."""
        busy = {n: self.folder / f"{n}.jsonl" for n in self.processes}
        sizes = {n: file.stat().st_size if file.exists() else 0 for n, file in busy.items()}
        number = max(sizes, key=lambda n: sizes[n])
        if sizes[number] == 0:
            return
        process = self.processes.pop(number)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        self.killed += 1
        self.start()

    def notes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for file in self.folder.glob("*.jsonl"):
            # The last line of a killed one may be cut off: it did not begin.
            lines = [line for line in file.read_text().split("\n") if line.endswith("}")]
            found.extend(json.loads(line) for line in lines)
        return found

    def stop(self) -> list[int]:
        for process in self.processes.values():
            process.terminate()
        return [process.wait(timeout=60) for process in self.processes.values()]


async def start_all(dsn: str) -> None:
    async with await Database.open(dsn, load_settings({}), min_size=1) as db:
        await save(db, "inner", INNER)
        await save(db, "outer", OUTER)
        workflows = Workflows(db)
        started = await asyncio.gather(
            *(
                workflows.start("outer", {"items": list(range(_ITEMS))}, key=f"order-{n}")
                for n in range(_EXECUTIONS)
            )
        )
        # Half of them are told before they wait for it.
        for one in started[::2]:
            await workflows.signal(one.id, "go")


def tell_the_rest(dsn: str) -> int:
    """Send the signal to those that wait for it, and return how many are not done."""

    async def tell() -> int:
        async with await Database.open(dsn, load_settings({}), min_size=1) as db:
            workflows = Workflows(db)
            listed = await workflows.executions(limit=1_000)
            for one in listed:
                if one.current_node == "signal" and one.reason == "waiting":
                    await workflows.signal(one.id, "go", key="once")
            return sum(one.status == "running" for one in listed)

    return asyncio.run(tell())


@pytest.mark.timeout(600)
def test_all_complete_and_nothing_recorded_is_done_again(tmp_path: Path) -> None:
    with restartable_cluster(wheel_bin_dir()) as (dsn, restart):
        migrate.upgrade(dsn)
        with psycopg.connect(dsn) as conn:
            conn.execute("CREATE TABLE effects (key text NOT NULL, node text NOT NULL)")
        asyncio.run(start_all(dsn))
        workers = Workers(dsn=dsn, folder=tmp_path)
        try:
            for _ in range(4):
                workers.start()
            disturb(workers, restart)
            wait_for_all(dsn)
        finally:
            statuses = workers.stop()
        assert statuses == [0, 0, 0, 0]
        assert workers.killed >= _KILLS
        check(dsn, workers)


def disturb(workers: Workers, restart: Callable[[], None]) -> None:
    """Kill a worker every second; restart the database after a third and two thirds of that."""
    deadline = time.monotonic() + 180
    restarts = 0
    while workers.killed < _KILLS:
        assert time.monotonic() < deadline, f"only {workers.killed} could be killed"
        time.sleep(1)
        workers.kill_busiest()
        if workers.killed >= (restarts + 1) * _KILLS // 3 and restarts < 2:
            restart()
            restarts += 1
    assert restarts == 2


def wait_for_all(dsn: str) -> None:
    deadline = time.monotonic() + 240
    while (left := tell_the_rest(dsn)) > 0:
        assert time.monotonic() < deadline, f"{left} are not done"
        time.sleep(0.5)


def check(dsn: str, workers: Workers) -> None:
    with psycopg.connect(dsn) as conn:
        statuses = conn.execute(
            """
            SELECT w.name, e.status, e.error, count(*)
            FROM workflow_executions e
            JOIN workflows w ON w.id = e.workflow_id
            GROUP BY 1, 2, 3
            ORDER BY 1
            """
        ).fetchall()
        assert statuses == [
            ("inner", "completed", None, _EXECUTIONS),
            ("outer", "completed", None, _EXECUTIONS),
        ]
        steps = conn.execute(
            """
            SELECT execution_id::text, node, branch, finished_at
            FROM workflow_steps
            WHERE status = 'completed'
            """
        ).fetchall()
        effects = conn.execute("SELECT key, count(*) FROM effects GROUP BY key").fetchall()
    recorded = {(e, node, branch): at for e, node, branch, at in steps}
    # a, b, each, three times two, meet, wait, sub, signal, last; and of the child x and y.
    assert len(steps) == len(recorded) == _EXECUTIONS * (8 + 2 * _ITEMS + 2)
    assert len(effects) == _EXECUTIONS * (2 + _ITEMS + 1)
    assert {count for _, count in effects} == {1}
    late = [
        note
        for note in workers.notes()
        if note["at"] > recorded[note["execution"], note["node"], note["branch"]].timestamp()
    ]
    assert late == [], "begun again after it was recorded"
    # Something did go wrong, or nothing was shown: some steps were begun more than once.
    begun = Counter(note["key"] for note in workers.notes())
    assert max(begun.values()) > 1
