"""What the audit log costs: changes at once, verifying a million rows, a glance at a long log.

`issue` issues keys, each with its row; `issue_unlogged` does the same in a transaction that writes
none, in turns with it. The row itself is one statement more to lock the head and one to write, and
clients that write at the same time follow one another, each until its commit. `append` writes rows
alone. Verifying is compared with reading the same rows and doing nothing with them (`scan`), in
turns with it, each in a process of its own: processor time is the client's, and memory is what the
process held at most beyond one that opened the database and read nothing. Both are measured at a
tenth of the rows, too: what grows with the log would show.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from aegis.config import load_settings
from aegis.db import Database
from aegis.keys import Keys
from aegis.keys import service as key_service
from aegis.security.audit import store
from aegis.security.audit.glancing import glance
from aegis.security.audit.recording import append as append_notes
from aegis.security.audit.recording import audited, make_note, note
from aegis.security.audit.service import AuditLog
from benchmarks.database import server
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from aegis.config import Settings
    from aegis.db import Connection

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows that are verified")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="times that both are measured")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    from aegis.db import migrate

    figures: dict[str, float] = {}
    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(migrate.upgrade, dsn)
        settings = load_settings({}, data_dir=Path(folder))
        async with await Database.open(dsn, settings) as db:
            for clients in progress(args.clients, "changes"):
                figures |= await _changes(db, settings, clients, args)
            figures |= await _verifying(db, dsn, settings, args)
    return figures


async def _changes(
    db: Database, settings: Settings, clients: int, args: argparse.Namespace
) -> dict[str, float]:
    keys = Keys(db, settings)

    async def issue() -> None:
        await keys.issue("acme")

    async def append() -> None:
        async with audited(db, settings) as conn:
            note(conn, "keys.update", "key", "k", rate_limit=5)

    async def unlogged() -> None:
        with _unlogged():
            await keys.issue("acme")

    found: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name, work in (("issue", issue), ("issue_unlogged", unlogged), ("append", append)):
            rate, times = await _clients(work, clients, args.seconds)
            found.setdefault(name, []).append(rate)
            waits.setdefault(name, []).extend(times)
    figures: dict[str, float] = {}
    for name, rates in found.items():
        figures[f"{name}.{clients}_clients.per_s"] = median(rates)
        figures[f"{name}.{clients}_clients.p50_ms"] = 1_000 * percentile(waits[name], 50)
        figures[f"{name}.{clients}_clients.p95_ms"] = 1_000 * percentile(waits[name], 95)
    figures[f"issue_vs_unlogged.{clients}_clients.ratio"] = median(
        one / other for one, other in zip(found["issue"], found["issue_unlogged"], strict=True)
    )
    return figures


class _unlogged:
    """Have keys be issued without a row, as they were before there was a log."""

    def __enter__(self) -> None:
        self._kept = (key_service.audited, key_service.note)
        key_service.audited = _plain  # pyright: ignore[reportAttributeAccessIssue]
        key_service.note = _say_nothing  # pyright: ignore[reportAttributeAccessIssue]

    def __exit__(self, *_: object) -> None:
        key_service.audited, key_service.note = self._kept


@asynccontextmanager
async def _plain(db: Database, settings: Settings | None = None) -> AsyncGenerator[Connection]:
    del settings
    async with db.transaction() as conn:
        yield conn


def _say_nothing(*_: Any, **__: Any) -> None: ...


async def _clients(
    work: Callable[[], Awaitable[None]], clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Return how often a second `work` is done, and how long each took, seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        while (began := time.perf_counter()) < end:
            await work()
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return len(times) / (time.perf_counter() - began), times


async def _verifying(
    db: Database, dsn: str, settings: Settings, args: argparse.Namespace
) -> dict[str, float]:
    figures: dict[str, float] = {}
    log = AuditLog(db, settings)
    for name, rows in (("tenth", args.rows // 10), ("whole", args.rows)):
        await _fill(db, settings, rows)
        await log.head()
        found = await asyncio.to_thread(_turns, dsn, settings.data_dir, args.rounds)
        figures |= {f"{name}.{figure}": value for figure, value in found.items()}
    figures["memory_at_ten_times_the_rows.ratio"] = (
        figures["whole.verify_mb"] / figures["tenth.verify_mb"]
    )
    began = time.perf_counter()
    async with db.transaction() as conn:
        await glance(conn, settings)
    figures["glance_ms"] = 1_000 * (time.perf_counter() - began)
    return figures


async def _fill(db: Database, settings: Settings, rows: int) -> None:
    async with db.transaction() as conn:
        have = (await store.get_head(conn)).seq
    batch = 2_000
    for _ in progress(range(max(0, rows - have) // batch), "rows"):
        notes = [
            make_note("keys.update", "key", f"k{n}", before={"rate_limit": n}, after={"n": n + 1})
            for n in range(batch)
        ]
        async with db.transaction() as conn:
            await append_notes(conn, settings, notes)
    async with db.connection() as conn:
        await conn.execute("VACUUM ANALYZE audit_log")


def _turns(dsn: str, folder: Path, rounds: int) -> dict[str, float]:
    """Return what reading and verifying take, each in fresh processes and in turns."""
    spawn = get_context("spawn")
    found: dict[str, list[_Took]] = {}
    for _ in range(rounds):
        for what in ("nothing", "scan", "verify"):
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                found.setdefault(what, []).append(process.submit(_one, what, dsn, folder).result())
    scan, verify = found["scan"], found["verify"]
    held = {what: median(one.peak_mb for one in took) for what, took in found.items()}
    cpu = median(one.cpu_s for one in verify)
    return {
        "rows": verify[0].rows,
        "problems": max(one.problems for one in verify),
        "verify_cpu_s": cpu,
        "verify_cpu_us_per_row": 1e6 * cpu / verify[0].rows,
        "verify_vs_scan_cpu.ratio": median(
            v.cpu_s / s.cpu_s for v, s in zip(verify, scan, strict=True)
        ),
        "verify_vs_scan_wall.ratio": median(
            v.wall_s / s.wall_s for v, s in zip(verify, scan, strict=True)
        ),
        "scan_mb": held["scan"] - held["nothing"],
        "verify_mb": held["verify"] - held["nothing"],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Took:
    """What one process took."""

    rows: int
    problems: int
    cpu_s: float
    wall_s: float
    peak_mb: float


def _one(what: str, dsn: str, folder: Path) -> _Took:
    """Read, verify, or do neither, in this process (one of its own)."""
    return asyncio.run(_measured(what, dsn, load_settings({}, data_dir=folder)))


async def _measured(what: str, dsn: str, settings: Settings) -> _Took:
    rows = problems = 0
    async with await Database.open(dsn, settings, min_size=1) as db:
        began, cpu = time.perf_counter(), time.process_time()
        if what == "scan":
            async with db.transaction() as conn:
                await store.begin_snapshot(conn)
                async for page in store.stream_rows(conn, after=0, page=2_000):
                    rows += len(page)
        elif what == "verify":
            found = await AuditLog(db, settings).verify()
            rows, problems = found.rows, found.problems
        took = (time.process_time() - cpu, time.perf_counter() - began)
    return _Took(
        rows=rows,
        problems=problems,
        cpu_s=took[0],
        wall_s=took[1],
        peak_mb=_peak_mb(),
    )


def _peak_mb() -> float:
    """Return the most memory that this process held; Linux's `ru_maxrss` begins with a parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
