"""Facts whose grounds or successors are gone, that are old, or that ended: what becomes of each.

A change is a step of the fact's history (`facts undo`), and a note in its metadata under
`repaired` says what the audit did and what was there. Nothing is ended or deleted here; the way
`archive` moves facts to an archive, with their history.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from aegis.memory import belief
from aegis.memory.audit.report import Example, Repaired, excerpt
from aegis.memory.store import audit as store
from aegis.memory.store import fact_history as history
from aegis.memory.store import fact_repairs as repairs
from aegis.memory.store.audit_checks import checks_of
from aegis.memory.store.fact_repairs import Broken, Mended
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.store.audit_checks import RowCheck

__all__ = ["FACT_KINDS", "repair_facts"]

FACT_KINDS = ("orphans_facts", "facts_stale", "facts_expired")
#: What is left of the confidence in a fact that nothing bears out any more, and in one of which
#: nothing was heard for a year; a year later the same again.
UNSAID_FACTOR, STALE_FACTOR = 0.5, 0.8
_BATCH = 100
_EXAMPLES = 5


async def repair_facts(
    db: Database,
    kind: str,
    way: str | None,
    *,
    namespace: str | None,
    dry_run: bool,
    actor: str | None,
    seen: Callable[[int], object],
) -> Repaired:
    """Repair what a check of facts finds, in batches, each a transaction."""
    (check,) = checks_of(kind)
    if way == "archive":
        return await _archive(db, check, way, namespace, dry_run, seen)
    found, changed, after = 0, 0, 0
    examples: list[Example] = []
    while True:
        async with db.transaction() as conn:
            count, ids, _ = await _find(conn, check, namespace, dry_run, after)
        found += count
        if dry_run:
            async with db.transaction() as conn:
                broken = await repairs.lock_broken(conn, check, ids[:_EXAMPLES], lock=False)
                mended = await _mend(conn, kind, broken)
            examples = _examples(broken, mended)
            break
        if ids:
            async with audited(db) as conn:
                broken, mended = await _change(conn, check, ids, actor)
                if mended:
                    note(conn, "memory.repair", "check", kind, rows=len(mended))
            examples += _examples(broken, mended)[: _EXAMPLES - len(examples)]
            changed += len(mended)
            seen(changed)
        if count < _BATCH:
            break
        after = ids[-1]
    return Repaired(
        kind=kind,
        way=way,
        dry_run=dry_run,
        rows=found if dry_run else changed,
        held=0 if dry_run else found - changed,
        examples=examples,
        undo="aegis memory facts undo ID" if changed else None,
    )


async def _find(
    conn: Connection, check: RowCheck, namespace: str | None, dry_run: bool, after: int
) -> tuple[int, list[int], list[Example]]:
    return await store.find_rows(
        conn,
        check,
        namespace=namespace,
        limit=store.MOST_COUNTED if dry_run else _BATCH,
        after=after,
    )


async def _change(
    conn: Connection, check: RowCheck, ids: Sequence[int], actor: str | None
) -> tuple[list[Broken], list[Mended]]:
    """Change those of these facts that are still as they were found."""
    at = await history.lock_facts(conn, ids)
    broken = await repairs.lock_broken(conn, check, ids, lock=True)
    mended = await _mend(conn, check.kind, broken)
    await repairs.add_steps(conn, [m.id for m in mended], "updated", at=at, actor=actor)
    await repairs.change_facts(conn, mended, kind=check.kind, at=at)
    return broken, mended


async def _mend(conn: Connection, kind: str, broken: Sequence[Broken]) -> list[Mended]:
    """Return what facts become."""
    if kind == "facts_stale":
        return [Mended(id=b.id, superseded_by=b.superseded_by, factor=STALE_FACTOR) for b in broken]
    followers = await _followers(conn, broken)
    if kind == "facts_expired":
        return [Mended(id=b.id, superseded_by=followers.get(b.id)) for b in broken]
    trails = await repairs.list_trails(conn, [b.id for b in broken if b.unfollowed])
    mended: list[Mended] = []
    for b in broken:
        episodes = await _sayings(conn, b) if b.unsaid else []
        successor = followers.get(b.id, trails.get(b.id)) if b.unfollowed else b.superseded_by
        mended.append(
            Mended(
                id=b.id,
                superseded_by=successor,
                factor=UNSAID_FACTOR if b.unsaid and not episodes else 1.0,
                episodes=episodes or None,
                unsaid=b.unsaid,
            )
        )
    return mended


async def _followers(conn: Connection, broken: Sequence[Broken]) -> Mapping[int, int]:
    """Return, by fact, which one says something else of the same from its end on."""
    by_id = {b.id: b for b in broken}
    found: dict[int, list[int]] = defaultdict(list)
    for fact, follower, content in await repairs.list_followers(conn, list(by_id)):
        known = by_id[fact]
        if belief.relation(known.concept, content, known.content) != "unrelated":
            found[fact].append(follower)
    return {fact: max(ids) for fact, ids in found.items()}


async def _sayings(conn: Connection, fact: Broken) -> list[int]:
    """Return the episodes that say a fact in its own words, by id."""
    said = belief.normalised(fact.content)
    return sorted(
        row_id
        for row_id, summary in await repairs.list_sayings(conn, fact.namespace, fact.content)
        if said in belief.normalised(summary)
    )


async def _archive(
    db: Database,
    check: RowCheck,
    way: str,
    namespace: str | None,
    dry_run: bool,
    seen: Callable[[int], object],
) -> Repaired:
    """Move facts to archives, namespace by namespace; those that others name as successors stay."""
    from aegis.memory.retention.archiving import ARCHIVE_ROWS, archive_rows, settle

    async with db.transaction() as conn:
        count, ids, first = await _find(conn, check, namespace, True, 0)
        places = await store.list_places(conn, ids)
    moved = 0
    if not dry_run:
        await settle(db)
        for place in places:

            async def choose(conn: Connection, place: str = place) -> list[int]:
                return await repairs.lock_unreferenced(conn, check, place, limit=ARCHIVE_ROWS)

            while True:
                made = await archive_rows(
                    db, namespace=place, kind="fact", reason="expired", choose=choose
                )
                if made is None:
                    break
                moved += made.rows
                seen(moved)
    return Repaired(
        kind=check.kind,
        way=way,
        dry_run=dry_run,
        rows=count if dry_run else moved,
        held=0 if dry_run else max(count - moved, 0),
        examples=[
            Example(table=e.table, id=e.id, namespace=e.namespace, excerpt=excerpt(e.excerpt))
            for e in first
        ],
        undo="aegis memory archive restore ID" if moved else None,
    )


def _examples(broken: Sequence[Broken], mended: Sequence[Mended]) -> list[Example]:
    becomes = {m.id: m for m in mended}
    return [
        Example(
            table="semantic_memory",
            id=b.id,
            namespace=b.namespace,
            excerpt=f"{excerpt(f'{b.concept}: {b.content}')} → {_what(b, becomes[b.id])}",
        )
        for b in broken[:_EXAMPLES]
        if b.id in becomes
    ]


def _what(was: Broken, becomes: Mended) -> str:
    said: list[str] = []
    if becomes.superseded_by != was.superseded_by:
        after = "nothing" if becomes.superseded_by is None else f"fact {becomes.superseded_by}"
        said.append(f"followed by {after}")
    if becomes.episodes is not None:
        said.append(f"rests on episodes {', '.join(map(str, becomes.episodes[:5]))}")
    if becomes.factor < 1:
        said.append(f"confidence {was.confidence:.2f} to {was.confidence * becomes.factor:.2f}")
    return "; ".join(said) or "noted: nothing follows"
