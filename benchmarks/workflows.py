"""Durable executions of ten steps: steps a second beside DBOS, the next step's start, history.

Both run on the same server (`fsync` and `synchronous_commit` on), in turns, each in one process
with so many executions at once; every step is a function that returns its number, recorded before
the next begins. Then a million finished steps are put in, and claims and starts are timed again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from importlib import metadata
from statistics import median
from typing import TYPE_CHECKING, Any

from aegis.worker.loop import Worker
from aegis.workflows.engine import Engine
from aegis.workflows.language import Cel
from aegis.workflows.service import Workflows
from aegis.workflows.store import claims
from aegis.workflows.work import WorkflowsKind
from benchmarks.database import migrated_database
from benchmarks.report import Outcome, percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.workflows.nodes.contract import Runs, Step

__all__ = ["add_arguments", "run"]

_STEPS = 10
#: Processor time of this process a step in the latest run, the server's apart.
_cpu: dict[str, float] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--executions", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=100, help="executions at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--history", type=int, default=1_000_000, help="finished steps")
    parser.add_argument("--claims", type=int, default=300, help="claims and starts that are timed")


def run(args: argparse.Namespace) -> Outcome:
    """Return the figures."""
    return asyncio.run(_measure(args))


@dataclass
class _Parts:
    db: Database
    settings: Settings
    memory: Any = None
    research: Any = None
    intel: Any = None


class _Noop:
    """A step that notes when it begins, and how long after the one before it that is."""

    name = "noop"
    runs: Runs = "step"

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._ended: dict[str, float] = {}

    def check(self, params: Any) -> Sequence[Any]:
        del params
        return ()

    async def run(self, step: Step) -> Any:
        now = time.perf_counter()
        last = self._ended.get(step.execution_id)
        if last is not None:
            self.gaps.append(1_000 * (now - last))
        self._ended[step.execution_id] = time.perf_counter()
        return {"n": step.params["n"]}


async def _measure(args: argparse.Namespace) -> Outcome:
    figures: dict[str, float] = {}
    async with migrated_database() as db:
        await _save(db)
        ours: list[float] = []
        theirs: list[float] = []
        async with _Peer(db, args.concurrency) as peer:
            await peer.run(50)
            await _run(db, 50, args.concurrency)
            for _ in progress(range(args.rounds), "Executions"):
                ours.append(await _run(db, args.executions, args.concurrency))
                theirs.append(await peer.run(args.executions))
        figures["steps_per_s"] = median(ours)
        figures["dbos_steps_per_s"] = median(theirs)
        figures["vs_dbos_ratio"] = median(ours) / median(theirs)
        figures["cpu_us_per_step"] = _cpu["ours"]
        figures["dbos_cpu_us_per_step"] = _cpu["dbos"]
        figures["commit_p50_ms"] = await _commit(db)
        for at_once in (1, 8):
            noop = _Noop()
            await _run(db, 20 * at_once, at_once, noop)
            figures[f"next_step_{at_once}_p50_ms"] = percentile(noop.gaps, 50)
            figures[f"next_step_{at_once}_p95_ms"] = percentile(noop.gaps, 95)
        figures |= await _history(db, args)
    return Outcome(figures=figures, versions={"dbos": metadata.version("dbos")})


async def _save(db: Database) -> None:
    names = [f"s{n}" for n in range(_STEPS)]
    graph = {
        "name": "ten",
        "start": names[0],
        "nodes": {n: {"type": "noop", "params": {"n": i}} for i, n in enumerate(names)},
        "edges": [{"from": a, "to": b} for a, b in zip(names, names[1:] + names[:1], strict=True)][
            :-1
        ],
    }
    async with db.transaction() as conn:
        await conn.execute(
            """
            WITH w AS (
                INSERT INTO workflows (name, graph, version) VALUES ('ten', %(graph)s, 1)
                RETURNING id
            )
            INSERT INTO workflow_versions (workflow_id, version, graph) SELECT id, 1, %(graph)s
            FROM w
            """,
            {"graph": json.dumps(graph)},
        )


async def _run(db: Database, count: int, at_once: int, noop: _Noop | None = None) -> float:
    """Start executions and return steps a second until the last has ended."""
    step = noop or _Noop()
    engine = Engine(_Parts(db, db.settings), lambda _: step, Cel())
    kind = WorkflowsKind(engine)
    workflows = Workflows(db)
    worker = Worker(db, [kind], concurrency=at_once, grace_s=0.0)
    task = asyncio.create_task(worker.run())
    used, before = time.process_time(), time.perf_counter()
    started = await asyncio.gather(*(workflows.start("ten", {"n": n}) for n in range(count)))
    ids = [one.id for one in started]
    while await _open(db, ids):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    taken = time.perf_counter() - before
    _cpu["ours"] = 1e6 * (time.process_time() - used) / (count * _STEPS)
    worker.stop()
    await task
    return count * _STEPS / taken


async def _commit(db: Database) -> float:
    """Return the median milliseconds of one row committed: the floor of a step."""
    taken: list[float] = []
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE floor (n integer)")
        for _ in range(200):
            before = time.perf_counter()
            await conn.execute("INSERT INTO floor VALUES (1)")
            taken.append(time.perf_counter() - before)
    return 1_000 * median(taken)


async def _open(db: Database, ids: list[str]) -> int:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT count(*)
            FROM workflow_executions
            WHERE id = ANY (%s::uuid[])
              AND status = 'running'
            """,
            [ids],
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0]


class _Peer:
    """DBOS on the same server: an `async` workflow of ten `async` steps."""

    def __init__(self, db: Database, at_once: int) -> None:
        self._db = db
        self._at_once = at_once

    async def __aenter__(self) -> _Peer:
        import psycopg
        from dbos import DBOS
        from psycopg.conninfo import conninfo_to_dict

        async with self._db.connection() as conn:
            where = conninfo_to_dict(conn.info.dsn)
            host, port = conn.info.host, conn.info.port
        del psycopg
        user = where.get("user", "aegis")
        logging.getLogger("dbos").setLevel(logging.ERROR)
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"postgresql://{user}@/dbos_bench?host={host}&port={port}",
                "sys_db_pool_size": 20,
                "log_level": "ERROR",
            }
        )

        @DBOS.step()
        async def step(n: int) -> dict[str, int]:
            return {"n": n}

        @DBOS.workflow()
        async def ten(n: int) -> int:
            for number in range(_STEPS):
                await step(number)
            return n

        self._ten: Callable[[int], Awaitable[int]] = ten
        await asyncio.to_thread(DBOS.launch)
        return self

    async def __aexit__(self, *_: object) -> None:
        from dbos import DBOS

        await asyncio.to_thread(DBOS.destroy)

    async def run(self, count: int) -> float:
        """Run workflows and return steps a second."""
        room = asyncio.Semaphore(self._at_once)

        async def one(n: int) -> None:
            async with room:
                await self._ten(n)

        used, before = time.process_time(), time.perf_counter()
        await asyncio.gather(*(one(n) for n in range(count)))
        _cpu["dbos"] = 1e6 * (time.process_time() - used) / (count * _STEPS)
        return count * _STEPS / (time.perf_counter() - before)


async def _history(db: Database, args: argparse.Namespace) -> dict[str, float]:
    """Time claims and starts with little and with much finished history behind them."""
    await _time(db, 50)
    async with db.connection() as conn:
        await conn.execute("VACUUM ANALYZE")
    few = await _time(db, args.claims)
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute(
            """
            WITH ended AS (
                INSERT INTO workflow_executions (
                    workflow_id, version, context, status, current_node, steps, started_at,
                    completed_at
                )
                SELECT id, 1, '{"input": {"n": 1}, "nodes": {}}', 'completed', 's9', %(steps)s,
                       now() - make_interval(secs => n), now() - make_interval(secs => n)
                FROM workflows, generate_series(1, %(count)s) AS n
                RETURNING id
            )
            INSERT INTO workflow_steps (
                execution_id, seq, node, status, output, started_at, finished_at
            )
            SELECT id, n, 's' || n, 'completed', '{"n": 1}', now(), now()
            FROM ended, generate_series(1, %(steps)s) AS n
            """,
            {"steps": _STEPS, "count": args.history // _STEPS},
        )
        await conn.execute("VACUUM ANALYZE")
        await conn.execute("CHECKPOINT")
        await conn.execute("RESET statement_timeout")
    many = await _time(db, args.claims)
    figures = {f"{name}_ms": value for name, value in few.items()}
    figures |= {f"{name}_after_history_ms": value for name, value in many.items()}
    figures |= {f"{name}_history_ratio": many[name] / few[name] for name in few}
    return figures | {"claim_buffers": await _buffers(db), "history_steps": args.history}


async def _time(db: Database, count: int) -> dict[str, float]:
    """Return median milliseconds of a start, and of a claim of eight; all is ended again."""
    workflows = Workflows(db)
    starts: list[float] = []
    taken: list[float] = []
    for _ in range(count):
        before = time.perf_counter()
        await workflows.start("ten", {"n": 1})
        starts.append(time.perf_counter() - before)
    for _ in range(count // 8):
        before = time.perf_counter()
        async with db.connection() as conn:
            held = await claims.claim(conn, owner="x", limit=8, lease_s=600, without_keys=[])
        taken.append(time.perf_counter() - before)
        assert len(held) == 8
    async with db.transaction() as conn:
        await conn.execute(
            """
            UPDATE workflow_executions
            SET status = 'completed', wake_at = NULL, completed_at = now()
            WHERE status = 'running'
            """
        )
    return {"start": 1_000 * median(starts), "claim": 1_000 * median(taken)}


async def _buffers(db: Database) -> float:
    """Return the pages that a look for due executions reads while nothing is due."""
    async with db.connection() as conn:
        cursor = await conn.execute(
            """
            EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
            SELECT e.id
            FROM generate_series(10, -10, -1) AS p (priority)
            CROSS JOIN LATERAL (
                SELECT x.id
                FROM workflow_executions x
                WHERE x.status = 'running'
                  AND x.wake_at IS NOT NULL
                  AND x.priority = p.priority
                  AND GREATEST(x.wake_at, x.lease_until) <= now()
                ORDER BY GREATEST(x.wake_at, x.lease_until)
                LIMIT 8
            ) e
            LIMIT 8
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        assert "Seq Scan" not in json.dumps(plan)
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
