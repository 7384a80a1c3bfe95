"""One audit: every check, each in a short transaction with a time limit of its own.

A large table is sampled: the texts of windows of episodes that follow one another, because what
repeats does so nearby, and a share of the pages for what no index finds. A finding says so.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from aegis.errors import Unavailable
from aegis.memory import belief
from aegis.memory.audit import skew
from aegis.memory.audit.report import CHECKS, AuditReport, Example, Finding, excerpt
from aegis.memory.audit.window import judge
from aegis.memory.store import audit as store
from aegis.memory.store.audit_checks import ROW_CHECKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.audit.window import Seen, Verdict
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.audit import Claim
    from aegis.memory.store.audit_checks import RowCheck

T = TypeVar("T")

__all__ = ["audit", "contradictory", "read_window", "similar_names"]

#: Episodes of a window, windows of an audit, and rows of a page.
WINDOW, WINDOWS, _PAGE = 20_000, 3, 5_000
#: Milliseconds that a check may take.
_LIMIT_MS = 10_000
#: Rows from which a table is sampled, and how many are read of it then.
_LARGE, _SAMPLE = 200_000, 100_000
_EXAMPLES = 5
_TIMED_OUT = "db_statement_timeout"


@dataclass(slots=True, kw_only=True)
class _Audit:
    db: Database
    embedder: Embedder | None
    namespace: str | None
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])

    def add(
        self,
        kind: str,
        count: int,
        examples: Sequence[Example],
        *,
        sampled: bool = False,
        note: str | None = None,
    ) -> None:
        check = CHECKS[kind]
        shown = [
            Example(table=e.table, id=e.id, namespace=e.namespace, excerpt=excerpt(e.excerpt))
            for e in examples[:_EXAMPLES]
        ]
        place = "" if self.namespace is None else f" --namespace {shlex.quote(self.namespace)}"
        self.findings.append(
            Finding(
                id=kind,
                severity=check.severity,
                count=count,
                sampled=sampled,
                examples=shown,
                meaning=check.meaning,
                repair=f"aegis memory audit --repair {kind}{place} --yes",
                note=note,
            )
        )


async def audit(
    db: Database,
    embedder: Embedder | None,
    *,
    namespace: str | None,
    on_progress: Callable[[int], object] | None = None,
) -> AuditReport:
    """Return what all checks find; nothing is changed."""
    this = _Audit(db=db, embedder=embedder, namespace=namespace)
    episodes = await _timed(this, "episodes", lambda conn: store.count_episodes(conn, namespace))
    looked_at = await _texts(this, episodes or 0, on_progress)
    await _rows(this)
    await _contradictions(this)
    await _namespaces(this)
    stale = await _timed(this, "terms_stale", lambda conn: store.list_stale_terms(conn, namespace))
    if stale:
        names = [
            Example(table="memory_namespaces", id=None, namespace=n, excerpt=f"{c:,} then")
            for n, c in stale
        ]
        this.add("terms_stale", len(stale), names)
    order = list(CHECKS)
    return AuditReport(
        namespace=namespace,
        episodes=episodes or 0,
        looked_at=looked_at,
        findings=sorted(this.findings, key=lambda f: order.index(f.id)),
        notes=this.notes,
    )


async def read_window(db: Database, *, namespace: str | None, after: int) -> list[Seen]:
    """Return the next episodes by id, in pages, each in a transaction of its own."""
    rows: list[Seen] = []
    while len(rows) < WINDOW:
        async with db.transaction() as conn:
            await store.limit_time(conn, _LIMIT_MS)
            page = await store.list_window(
                conn, namespace=namespace, after=after, limit=min(_PAGE, WINDOW - len(rows))
            )
        rows += page
        if not page:
            break
        after = page[-1].id
    return rows


def contradictory(claims: Sequence[Claim]) -> list[tuple[Claim, Claim]]:
    """Return (older, newer) of facts of one concept that contradict each other."""
    found: list[tuple[Claim, Claim]] = []
    for _, several in groupby(claims, key=lambda c: (c.namespace, c.key)):
        same = sorted(several, key=lambda c: (c.valid_from or c.recorded_at, c.recorded_at, c.id))
        for place, newer in enumerate(same):
            found += [
                (older, newer)
                for older in same[:place]
                if belief.relation(newer.concept, newer.content, older.content) == "contradicts"
            ]
    return found


def similar_names(counts: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Return namespaces whose names differ in case, blanks or marks only, the largest first."""
    alike: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, count in counts:
        alike[re.sub(r"[\W_]+", "", name.casefold()) or name].append((name, count))
    groups = [sorted(same, key=lambda item: (-item[1], item[0])) for same in alike.values()]
    return [same for same in groups if len(same) > 1]


async def _texts(this: _Audit, episodes: int, on_progress: Callable[[int], object] | None) -> int:
    """Judge the texts of all episodes, or of windows of them; return how many were read."""
    async with this.db.transaction() as conn:
        least, most = await store.read_bounds(conn)
    whole = episodes <= WINDOW * WINDOWS
    starts = [least - 1]
    if not whole:
        starts = [least - 1 + (most - least) * n // WINDOWS for n in range(WINDOWS)]
    looked_at = 0
    found: list[tuple[Verdict, Seen]] = []
    after = least - 1
    for number in range(WINDOWS):
        after = max(after, starts[number]) if number < len(starts) else after
        try:
            rows = await read_window(this.db, namespace=this.namespace, after=after)
        except Unavailable as error:
            _note_timeout(this, "texts", error)
            break
        if not rows:
            break
        # In a thread: reading twenty thousand texts would hold up everybody else.
        verdicts = await asyncio.to_thread(judge, rows)
        by_id = {row.id: row for row in rows}
        found += [(verdict, by_id[verdict.id]) for verdict in verdicts]
        looked_at += len(rows)
        after = rows[-1].id
        if on_progress is not None:
            on_progress(looked_at)
    sampled = looked_at < episodes
    scale = episodes / looked_at if looked_at and sampled else 1.0
    for kind in sorted({verdict.kind for verdict, _ in found}):
        rows_of = [row for verdict, row in found if verdict.kind == kind]
        examples = [
            Example(table="episodic_memory", id=r.id, namespace=r.namespace, excerpt=r.summary)
            for r in rows_of
        ]
        note = f"{looked_at:,} of {episodes:,} texts were read." if sampled else None
        this.add(kind, round(len(rows_of) * scale), examples, sampled=sampled, note=note)
    return looked_at


async def _rows(this: _Audit) -> None:
    """Run the checks that are conditions on rows; those of one kind on two tables are one."""
    model = this.embedder.model if this.embedder is not None else None
    dimensions = this.embedder.dimensions if this.embedder is not None else None
    for kind, checks in groupby(ROW_CHECKS, key=lambda check: check.kind):
        if kind.startswith("vectors_") and model is None:
            # Without an embedder there is no model that the others would be other than.
            continue
        count, examples, sampled = 0, list[Example](), False
        for check in checks:

            async def find(
                conn: Connection, check: RowCheck = check
            ) -> tuple[int, list[Example], float]:
                rows = await store.estimate_rows(conn, check.table)
                share = 1.0 if check.indexed or rows <= _LARGE else _SAMPLE / rows
                counted, _, first = await store.find_rows(
                    conn,
                    check,
                    namespace=this.namespace,
                    model=model,
                    dimensions=dimensions,
                    share=share,
                    limit=store.MOST_COUNTED,
                )
                return counted, first, share

            found = await _timed(this, kind, find)
            if found is not None:
                count += round(found[0] / found[2])
                examples += found[1]
                sampled = sampled or found[2] < 1
        if count:
            note = f"At least {count:,}." if count >= store.MOST_COUNTED and not sampled else None
            this.add(kind, count, examples, sampled=sampled, note=note)


async def _contradictions(this: _Audit) -> None:
    claims = await _timed(
        this, "contradictions", lambda conn: store.list_claims(conn, this.namespace)
    )
    pairs = await asyncio.to_thread(contradictory, claims or [])
    if pairs:
        examples = [
            Example(
                table="semantic_memory",
                id=older.id,
                namespace=older.namespace,
                excerpt=f"{older.concept}: {older.content} / {newer.id}: {newer.content}",
            )
            for older, newer in pairs
        ]
        this.add("contradictions", len({older.id for older, _ in pairs}), examples)


async def _namespaces(this: _Audit) -> None:
    if this.namespace is not None:
        return
    counts = await _timed(this, "namespaces_skew", store.list_namespaces)
    if not counts:
        return
    alike = similar_names(counts)
    if alike:
        examples = [
            Example(
                table="episodic_memory",
                id=None,
                namespace=name,
                excerpt=f"{count:,} episodes, beside {same[0][0]} with {same[0][1]:,}",
            )
            for same in alike
            for name, count in same[1:]
        ]
        this.add("namespaces_similar", len(examples), examples)
    found = await _timed(this, "namespaces_skew", lambda conn: skew.find_skew(conn, counts))
    if found is not None:
        this.add("namespaces_skew", 1, [found.example()])


async def _timed(this: _Audit, what: str, work: Callable[[Connection], Awaitable[T]]) -> T | None:
    """Return what `work` returns in a transaction with a time limit; None where it takes longer."""
    try:
        async with this.db.transaction() as conn:
            await store.limit_time(conn, _LIMIT_MS)
            return await work(conn)
    except Unavailable as error:
        _note_timeout(this, what, error)
        return None


def _note_timeout(this: _Audit, what: str, error: Unavailable) -> None:
    if error.code != _TIMED_OUT:
        raise error
    this.notes.append(f"{what} was not finished within {_LIMIT_MS // 1000} s.")
