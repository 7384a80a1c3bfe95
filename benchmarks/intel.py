"""Watching competitors: unchanged pages checked a second, and a corpus of changes and noise.

The pages are on a local server in a process of its own; the politeness for the test is no pause
and `--at-once` requests at a time. The yardstick is a loop of plain httpx2 with as many requests at
once, which reads each page and keeps nothing, in turns with ours in the same run. `same` pages are
sent as they were, `etag` ones are answered with 304, `noisy` ones differ in a counter and an id
each time and are read anew. The corpus (`tests/intel/corpus.py`) and one that nothing was tuned on
(`heldout.py`) go through the same checks, on the same tables.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx2

from aegis.db import fetch_value
from aegis.intel.service import Intel
from aegis.intel.work import IntelWork
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Generator

    from aegis.config import Settings
    from aegis.db import Database

__all__ = ["add_arguments", "run"]

_KINDS = ("same", "etag", "noisy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=16, help="requests to the host at a time")
    parser.add_argument("--rounds", type=int, default=3, help="times that each kind is measured")
    parser.add_argument("--cases", type=int, default=10_000, help="cases of the corpus at most")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    figures: dict[str, float] = {}
    for kind in _KINDS:
        async with migrated_database() as db:
            figures |= await _throughput(db, kind, args)
    for name in ("corpus", "held_out"):
        async with migrated_database() as db:
            figures |= await _corpus(db, name, args.cases, args.at_once)
    return figures


def _polite(settings: Settings, at_once: int) -> Settings:
    return replace(
        settings,
        outbound_allow="127.0.0.1",
        intel_delay_s=0,
        intel_confirm_s=0,
        intel_per_host=at_once,
    )


async def _throughput(db: Database, kind: str, args: argparse.Namespace) -> dict[str, float]:
    settings = _polite(db.settings, args.at_once)
    intel = Intel(db, settings)
    ours: list[float] = []
    plain: list[float] = []
    with _server() as url:
        made, _ = await intel.add(url, name="bench", discover=False)
        await _add_pages(db, made.id, [f"{url}/{kind}/{n}" for n in range(args.pages)])
        async with intel.watching() as watching:
            work = IntelWork(db, settings, watching)
            # The baseline, and where there is noise three fetches that learn it.
            for _ in range(4 if kind == "noisy" else 1):
                await _make_due(db)
                await _drain(work, args.at_once)
            if kind != "noisy":
                await _stop_learning(db)
            async with db.connection() as conn:
                await conn.execute("VACUUM ANALYZE")
            for _ in progress(range(args.rounds), f"Unchanged, {kind}"):
                await _make_due(db)
                started = time.perf_counter()
                done = await _drain(work, args.at_once)
                ours.append(done / (time.perf_counter() - started))
                plain.append(await _plain(url, kind, args.pages, args.at_once))
    return {
        f"{kind}.pages_per_s": median(ours),
        f"{kind}.plain_per_s": median(plain),
        f"{kind}.vs_plain_ratio": median(ours) / median(plain),
        f"{kind}.false_changes": await _count(db),
    }


async def _add_pages(db: Database, competitor_id: int, urls: list[str]) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO competitor_pages (competitor_id, url, page_type)
            SELECT %(id)s, url, 'features' FROM unnest(%(urls)s::text[]) AS url
            """,
            {"id": competitor_id, "urls": urls},
        )


async def _make_due(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE competitors SET discover_at = NULL")
        await conn.execute("UPDATE competitor_pages SET next_check_at = now()")


async def _stop_learning(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE competitor_pages SET noise = '{}' WHERE noise ? 'learning'")


async def _count(db: Database) -> float:
    async with db.transaction() as conn:
        return float(await fetch_value(conn, "SELECT count(*) FROM competitor_changes"))


async def _drain(work: IntelWork, at_once: int) -> int:
    """Do each due page once, as a worker does: claims in batches, so many at a time."""
    done: set[str] = set()
    running: set[asyncio.Task[None]] = set()
    while True:
        claims = await work.claim("bench", limit=at_once - len(running), lease_s=60)
        fresh = [claim for claim in claims if claim.id not in done]
        if len(fresh) < len(claims):
            # Due again: this round is over for it.
            await work.release([claim for claim in claims if claim.id in done])
        for claim in fresh:
            done.add(claim.id)
            running.add(asyncio.create_task(work.run(claim)))
        if not running:
            return len(done)
        finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # What is finished in the same moment makes one batch of claims.
        for task in finished:
            task.result()


async def _plain(url: str, kind: str, pages: int, at_once: int) -> float:
    queue = iter(range(pages))
    async with httpx2.AsyncClient() as client:

        async def fetch() -> None:
            for number in queue:
                headers = {"If-None-Match": '"1"'} if kind == "etag" else {}
                await client.get(f"{url}/{kind}/{number}", headers=headers)

        started = time.perf_counter()
        await asyncio.gather(*(fetch() for _ in range(at_once)))
        return pages / (time.perf_counter() - started)


async def _corpus(db: Database, name: str, most: int, at_once: int) -> dict[str, float]:
    """Follow every case through before, the turn, and after; count what was told."""
    from tests.intel.corpus import cases
    from tests.intel.heldout import held_out
    from tests.intel.site import Site, serve

    chosen = list(cases() if name == "corpus" else held_out())[:most]
    settings = _polite(db.settings, at_once)
    intel = Intel(db, settings)
    site = Site(pages={f"/{n}": _serving(case) for n, case in enumerate(chosen)})
    with serve(site):
        made, _ = await intel.add(site.url, name="corpus", discover=False)
        ids = await _add_cases(db, made.id, [(f"{site.url}/{n}", c) for n, c in enumerate(chosen)])
        async with intel.watching() as watching:
            work = IntelWork(db, settings, watching)
            await _rounds(db, work, 11, at_once, f"Before, {name}")
            early = await _told(db, ids)
            for case in chosen:
                case.turned = True
            await _rounds(db, work, 14, at_once, f"After, {name}")
            late = await _told(db, ids)
    scores = _score(chosen, early, late)
    return {f"{name}.{key}": value for key, value in scores.items()}


def _serving(case: Any) -> Any:
    def serve(_: Any) -> str:
        return case.serve()

    return serve


async def _add_cases(db: Database, competitor_id: int, pages: list[tuple[str, Any]]) -> list[int]:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            INSERT INTO competitor_pages (competitor_id, url, page_type)
            SELECT %(id)s, p.url, p.kind
            FROM unnest(%(urls)s::text[], %(kinds)s::text[]) WITH ORDINALITY AS p (url, kind, n)
            ORDER BY n
            RETURNING id
            """,
            {
                "id": competitor_id,
                "urls": [url for url, _ in pages],
                "kinds": [case.page_type for _, case in pages],
            },
        )
        return [row[0] for row in await cursor.fetchall()]


async def _rounds(db: Database, work: IntelWork, count: int, at_once: int, label: str) -> None:
    for _ in progress(range(count), label):
        await _make_due(db)
        await _drain(work, at_once)


async def _told(db: Database, ids: list[int]) -> list[list[str]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT page_id, change_type FROM competitor_changes ORDER BY id"
        )
        found: dict[int, list[str]] = {}
        for page_id, kind in await cursor.fetchall():
            found.setdefault(page_id, []).append(kind)
    return [found.get(page_id, []) for page_id in ids]


def _score(chosen: list[Any], early: list[list[str]], late: list[list[str]]) -> dict[str, float]:
    real = found = typed = false = 0
    for case, before, after in zip(chosen, early, late, strict=True):
        come = after[len(before) :]
        if case.change is not None:
            real += 1
            found += bool(come)
            typed += case.expected in come
        false += bool(before or (case.change is None and come))
    return {
        "cases": len(chosen),
        "real": real,
        "found_ratio": found / real,
        "right_type_ratio": typed / real,
        "false_ratio": false / len(chosen),
    }


@contextmanager
def _server() -> Generator[str]:
    """Run the pages' server in a process of its own and yield its address."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join(10)


def _serve(pipe: Any) -> None:
    asyncio.run(_serving_pages(pipe))


async def _serving_pages(pipe: Any) -> None:
    async with _listening(pipe) as server:
        await server.serve_forever()


@asynccontextmanager
async def _listening(pipe: Any) -> AsyncGenerator[asyncio.Server]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    async with server:
        yield server


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    number = 0
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            number += 1
            path = head.split(b" ", 2)[1].decode()
            writer.write(_response(path, b'if-none-match: "1"' in head.lower(), number))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


def _response(path: str, known: bool, number: int) -> bytes:
    kind = path.split("/")[1]
    if kind not in _KINDS:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    tag = '\r\nETag: "1"' if kind == "etag" else ""
    if kind == "etag" and known:
        return f"HTTP/1.1 304 Not Modified{tag}\r\n\r\n".encode()
    paragraphs = "".join(
        f"<section><h2>Part {n}</h2><p>{path} says that part {n} of it is made of words that go "
        f"on for about as long as the sentences of other pages do.</p></section>"
        for n in range(40)
    )
    noise = f"<p>{number * 37} visitors so far</p><p>{number:032x}</p>" if kind == "noisy" else ""
    body = (
        f"<!doctype html><html><head><title>{path}</title></head><body><nav><a href='/'>Home</a>"
        f"</nav><main><h1>{path}</h1>{paragraphs}{noise}</main></body></html>"
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8{tag}"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
