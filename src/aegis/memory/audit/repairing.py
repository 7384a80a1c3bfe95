"""Repairs: dry unless asked for, in batches, and what they delete or overwrite can be restored.

A repair judges anew, over everything, and a batch is one short transaction; one that is stopped
has done whole batches.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, LiteralString

from aegis.errors import InvalidInput
from aegis.memory import backfill, belief
from aegis.memory.audit.decision_repairs import repair_decisions
from aegis.memory.audit.fact_repairs import FACT_KINDS, repair_facts
from aegis.memory.audit.report import CHECKS, REPAIRABLE, Example, Repaired, excerpt
from aegis.memory.audit.run import contradictory, read_window, similar_names
from aegis.memory.audit.skew import repair_skew
from aegis.memory.audit.window import judge
from aegis.memory.belief import Belief
from aegis.memory.store import audit as store
from aegis.memory.store import fact_history as history
from aegis.memory.store import quarantine, search, statistics
from aegis.memory.store.audit_checks import checks_of
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.audit.window import Verdict
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.audit import Claim
    from aegis.memory.store.audit_checks import RowCheck

__all__ = ["repair"]

_BATCH = 500
_EXAMPLES = 5


async def repair(
    db: Database,
    embedder: Embedder | None,
    kind: str,
    *,
    way: str | None = None,
    namespace: str | None,
    dry_run: bool,
    actor: str | None,
    on_progress: Callable[[int], object] | None = None,
) -> Repaired:
    """Repair what a check finds and return what was done, or would be.

    Raises:
        InvalidInput: there is no repair of this kind or way, or it needs an embedder.
    """
    if kind not in REPAIRABLE:
        raise InvalidInput(f"repair is {kind!r}; use one of {', '.join(REPAIRABLE)}.")
    ways = CHECKS[kind].ways
    if way is not None and way not in ways:
        known = f"use one of {', '.join(ways)}" if ways else f"{kind} has one way; leave it out"
        raise InvalidInput(f"way is {way!r}; {known}.")
    way = way or next(iter(ways), None)
    if kind.startswith("vectors_") and embedder is None:
        raise InvalidInput(f"There is no embedder, so that {kind} has no meaning.")
    return await _by_kind(
        db, embedder, kind, way, namespace, dry_run, actor, on_progress or _nothing
    )


async def _by_kind(
    db: Database,
    embedder: Embedder | None,
    kind: str,
    way: str | None,
    namespace: str | None,
    dry_run: bool,
    actor: str | None,
    seen: Callable[[int], object],
) -> Repaired:
    match kind:
        case "contradictions":
            done = await _end_older(db, namespace, dry_run, actor, seen)
        case "namespaces_similar":
            done = await _merge_namespaces(db, namespace, dry_run, seen)
        case "namespaces_skew":
            done = await repair_skew(db, namespace, dry_run)
        case "terms_stale":
            done = await _count_terms(db, namespace, dry_run)
        case "decisions_open":
            done = await repair_decisions(
                db, way or "remind", namespace=namespace, dry_run=dry_run, seen=seen
            )
        case _ if kind in FACT_KINDS:
            done = await repair_facts(
                db, kind, way, namespace=namespace, dry_run=dry_run, actor=actor, seen=seen
            )
        case _ if checks := checks_of(kind):
            done = await _change_rows(db, embedder, checks, namespace, dry_run, seen)
        case _:
            done = await _put_aside(db, kind, namespace, dry_run, seen)
    return done


async def _put_aside(
    db: Database,
    kind: str,
    namespace: str | None,
    dry_run: bool,
    seen: Callable[[int], object],
) -> Repaired:
    """Move episodes of a kind into quarantine, window by window."""
    after, found, moved = 0, 0, 0
    examples: list[Example] = []
    while True:
        rows = await read_window(db, namespace=namespace, after=after)
        if not rows:
            break
        after = rows[-1].id
        by_id = {row.id: row for row in rows}
        verdicts = [v for v in await asyncio.to_thread(judge, rows) if v.kind == kind]
        found += len(verdicts)
        examples += [
            Example(
                table="episodic_memory",
                id=v.id,
                namespace=by_id[v.id].namespace,
                excerpt=excerpt(by_id[v.id].summary),
            )
            for v in verdicts[: _EXAMPLES - len(examples)]
        ]
        for batch in _batches(verdicts) if not dry_run else ():
            async with audited(db) as conn:
                went = await quarantine.put_aside(
                    conn,
                    [v.id for v in batch],
                    [by_id[v.id].digest for v in batch],
                    kind=kind,
                    reasons=[v.reason for v in batch],
                )
                _note(conn, kind, went)
            moved += went
            seen(moved)
    return Repaired(
        kind=kind,
        dry_run=dry_run,
        rows=found if dry_run else moved,
        held=0 if dry_run else found - moved,
        examples=examples,
        undo=None if dry_run or not moved else _undo(kind),
    )


async def _change_rows(
    db: Database,
    embedder: Embedder | None,
    checks: Sequence[RowCheck],
    namespace: str | None,
    dry_run: bool,
    seen: Callable[[int], object],
) -> Repaired:
    """Repair rows that a condition finds; `vectors_missing` is what the backfill is for."""
    kind = checks[0].kind
    found, changed = 0, 0
    examples: list[Example] = []
    for check in checks:
        after = 0
        while True:
            async with audited(db) as conn:
                count, ids, first = await store.find_rows(
                    conn,
                    check,
                    namespace=namespace,
                    model=embedder.model if embedder is not None else None,
                    dimensions=embedder.dimensions if embedder is not None else None,
                    limit=store.MOST_COUNTED if dry_run else _BATCH,
                    after=after,
                )
                if not dry_run and kind != "vectors_missing":
                    now = await _change(conn, check.table, kind, ids)
                    _note(conn, kind, now)
                    changed += now
            found += count
            examples = (examples + first)[:_EXAMPLES]
            if dry_run or not ids or kind == "vectors_missing":
                break
            after = ids[-1]
            seen(changed)
            if len(ids) < _BATCH:
                break
    if kind == "vectors_missing" and not dry_run:
        changed = await backfill.fill_missing(db, embedder, on_progress=seen)
        async with audited(db) as conn:
            _note(conn, kind, changed)
    overwrites = changed and kind != "vectors_missing"
    return Repaired(
        kind=kind,
        dry_run=dry_run,
        rows=found if dry_run else changed,
        held=0,
        examples=[
            Example(table=e.table, id=e.id, namespace=e.namespace, excerpt=excerpt(e.excerpt))
            for e in examples
        ],
        undo=_undo(kind) if overwrites else None,
    )


async def _change(conn: Connection, table: LiteralString, kind: str, ids: Sequence[int]) -> int:
    if kind == "orphans_related":
        return await quarantine.drop_related(conn, ids, kind=kind)
    if kind == "future_timestamps":
        return await quarantine.redate(conn, ids, kind=kind)
    reason = (
        "Its length was not that of its model."
        if kind == "vectors_dimensions"
        else "It was of another model."
    )
    return await quarantine.clear_vectors(conn, table, ids, kind=kind, reason=reason)


async def _end_older(
    db: Database,
    namespace: str | None,
    dry_run: bool,
    actor: str | None,
    seen: Callable[[int], object],
) -> Repaired:
    """End the older one of facts that contradict one another where the newer one begins."""
    async with db.transaction() as conn:
        claims = await store.list_claims(conn, namespace)
    # The last one that contradicts it is what holds after it.
    ending = {older.id: (older, newer) for older, newer in contradictory(claims)}
    ended = 0
    for older, newer in ending.values() if not dry_run else ():
        ended += await _end(db, older, newer, actor)
        seen(ended)
    return Repaired(
        kind="contradictions",
        dry_run=dry_run,
        rows=len(ending) if dry_run else ended,
        held=0 if dry_run else len(ending) - ended,
        examples=[
            Example(
                table="semantic_memory",
                id=older.id,
                namespace=older.namespace,
                excerpt=excerpt(f"{older.content} / {newer.id}: {newer.content}"),
            )
            for older, newer in list(ending.values())[:_EXAMPLES]
        ],
        undo="aegis memory facts undo ID" if ended else None,
    )


async def _end(db: Database, older: Claim, newer: Claim, actor: str | None) -> int:
    """Supersede a fact, unless either changed since it was read; return how many (0 or 1)."""
    async with audited(db) as conn:
        at = await history.lock_concept(conn, older.namespace, older.concept, None)
        now = {c.id: c for c in await store.list_claims(conn, older.namespace)}
        if now.get(older.id) != older or now.get(newer.id) != newer:
            return 0
        rival = Belief(
            id=older.id,
            content=older.content,
            valid_from=older.valid_from,
            valid_to=older.valid_to,
            recorded_at=older.recorded_at,
        )
        placed = belief.place(newer.valid_from, newer.recorded_at, [rival])
        shifts = [shift for shift in placed.shifts if shift.superseded]
        for shift in shifts:
            await history.add_step(
                conn, shift.id, "superseded", namespace=older.namespace, at=at, actor=actor
            )
            await history.shift_fact(conn, shift, superseded_by=newer.id, at=at)
        _note(conn, "contradictions", len(shifts))
    return len(shifts)


async def _merge_namespaces(
    db: Database, namespace: str | None, dry_run: bool, seen: Callable[[int], object]
) -> Repaired:
    """Move the rows of the smaller of namespaces with like names into the largest."""
    async with db.transaction() as conn:
        alike = similar_names(await store.list_namespaces(conn))
    pairs = [
        (name, count, same[0][0])
        for same in alike
        for name, count in same[1:]
        if namespace in (None, name)
    ]
    moved = 0
    tables: tuple[LiteralString, ...] = ("episodic_memory", "semantic_memory")
    for old, _, new in pairs if not dry_run else ():
        for table in tables:
            while True:
                async with audited(db) as conn:
                    went = await quarantine.move_namespace(
                        conn, table, old, new, kind="namespaces_similar", limit=_BATCH
                    )
                    _note(conn, "namespaces_similar", went)
                moved += went
                seen(moved)
                if went < _BATCH:
                    break
    return Repaired(
        kind="namespaces_similar",
        dry_run=dry_run,
        rows=sum(count for _, count, _ in pairs) if dry_run else moved,
        held=0,
        examples=[
            Example(
                table="episodic_memory", id=None, namespace=old, excerpt=f"{count:,} into {new}"
            )
            for old, count, new in pairs[:_EXAMPLES]
        ],
        undo=_undo("namespaces_similar") if moved else None,
    )


async def _count_terms(db: Database, namespace: str | None, dry_run: bool) -> Repaired:
    async with db.transaction() as conn:
        stale = await store.list_stale_terms(conn, namespace)
    counted = 0
    for name, _ in stale if not dry_run else ():
        async with audited(db) as conn:
            done = await statistics.sample_namespace(conn, name, small=search.SMALL_NAMESPACE)
            _note(conn, "terms_stale", int(done))
        counted += done
    return Repaired(
        kind="terms_stale",
        dry_run=dry_run,
        rows=len(stale) if dry_run else counted,
        held=0 if dry_run else len(stale) - counted,
        examples=[
            Example(table="memory_namespaces", id=None, namespace=name, excerpt=f"{count:,} then")
            for name, count in stale[:_EXAMPLES]
        ],
        undo=None,
    )


def _note(conn: Connection, kind: str, rows: int) -> None:
    """Have the audit log say what a repair does in this transaction."""
    if rows:
        note(conn, "memory.repair", "check", kind, rows=rows)


def _undo(kind: str) -> str:
    return f"aegis memory quarantine restore --kind {kind} --yes"


def _batches(verdicts: Sequence[Verdict]) -> list[Sequence[Verdict]]:
    return [verdicts[n : n + _BATCH] for n in range(0, len(verdicts), _BATCH)]


def _nothing(_: int) -> None:
    return None
