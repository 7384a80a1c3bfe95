"""What has faded goes to an archive, what has expired is deleted or archived: in short batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aegis.memory.retention import score
from aegis.memory.retention.archive import KINDS, Archive
from aegis.memory.retention.archiving import ARCHIVE_ROWS, archive_rows, settle
from aegis.memory.retention.expiry import policy_for
from aegis.memory.store import policies as policy_store
from aegis.memory.store import retention as store
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.memory.retention.archive import ArchiveKind
    from aegis.memory.retention.expiry import Policy
    from aegis.memory.retention.score import Decay, Traits

__all__ = ["Faded", "ForgetPlan", "ForgetReport", "SweepReport", "plan", "run", "sweep"]

#: Memories that are looked at together, and are one archive at most.
_PAGE = ARCHIVE_ROWS
#: Expired rows of one transaction.
_SWEEP_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Faded:
    """A memory that would be archived, and why."""

    id: int
    timestamp: datetime
    importance: str
    summary: str
    #: 0 to 1; below the plan's threshold.
    score: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPlan:
    """What `run` and `sweep` would take from a namespace now."""

    namespace: str
    #: Memories that decay takes, in all and by importance.
    faded: int
    by_importance: dict[str, int]
    #: The first of them, the most faded first.
    sample: list[Faded]
    #: The score below which a memory is forgotten.
    below: float
    #: Days without use that a memory has at least before it is, by importance.
    least_idle_days: dict[str, float]
    #: Episodes and facts that have expired and wait for the sweep.
    expired: dict[str, int]
    #: Of the expired episodes, those that stay: held, or what a decision rests on.
    blocked: int
    #: Episodes that decay never takes: critical, held, what decisions rest on.
    protected: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReport:
    """What was forgotten."""

    namespace: str
    archived: int
    archives: list[Archive] = field(default_factory=list[Archive])


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What became of what had expired."""

    deleted: int
    archived: int
    archives: list[Archive] = field(default_factory=list[Archive])


async def plan(db: Database, namespace: str, *, sample: int, now: datetime) -> ForgetPlan:
    """Return what would be taken; changes nothing."""
    decay = score.decay_of(db.settings)
    counts: dict[str, int] = {}
    worst: list[tuple[float, Traits]] = []
    async for page in _faded(db, namespace, decay, now):
        for traits in page:
            counts[traits.importance] = counts.get(traits.importance, 0) + 1
            worst.append((score.retention(traits, decay, now), traits))
        worst = sorted(worst, key=lambda pair: (pair[0], pair[1].id))[:sample]
    async with db.transaction() as conn:
        named = await store.titles(conn, [traits.id for _, traits in worst])
        expired = await store.list_expired_places(conn, namespace)
        blocked = await store.count_blocked(conn, namespace)
        protected = await store.count_protected(conn, namespace)
    return ForgetPlan(
        namespace=namespace,
        faded=sum(counts.values()),
        by_importance=counts,
        sample=[
            Faded(
                id=traits.id,
                timestamp=named[traits.id][1],
                importance=traits.importance,
                summary=named[traits.id][0],
                score=worth,
                why=score.why(traits, decay, now),
            )
            for worth, traits in worst
            if traits.id in named
        ],
        below=decay.below,
        least_idle_days=score.least_idle_days(decay),
        expired={kind: rows for _, kind, rows in expired},
        blocked=blocked,
        protected=protected,
    )


async def run(
    db: Database,
    namespace: str,
    *,
    limit: int | None,
    now: datetime,
    on_progress: Callable[[int], object] | None,
) -> ForgetReport:
    """Archive what has faded."""
    decay = score.decay_of(db.settings)
    await settle(db)
    archives: list[Archive] = []
    done = 0
    async for page in _faded(db, namespace, decay, now):
        wanted: list[int] = [traits.id for traits in page]
        links: dict[int, int] = {traits.id: traits.links for traits in page}
        if limit is not None:
            wanted = wanted[: limit - done]

        async def choose(
            conn: Connection, wanted: Sequence[int] = wanted, links: dict[int, int] = links
        ) -> list[int]:
            # What was recalled, held or decided upon since it was looked at stays.
            found = await _locked(conn, namespace, decay, now, wanted)
            return [
                t.id for t in found if score.is_forgettable(_with_links(t, links[t.id]), decay, now)
            ]

        made: Archive | None = await archive_rows(
            db, namespace=namespace, kind="episode", reason="decay", choose=choose
        )
        if made is not None:
            archives.append(made)
            done += made.rows
            if on_progress is not None:
                on_progress(done)
        if limit is not None and done >= limit:
            break
    return ForgetReport(namespace=namespace, archived=done, archives=archives)


async def sweep(db: Database, namespace: str | None) -> SweepReport:
    """Take away what has expired, in one namespace or in all."""
    await settle(db)
    async with db.transaction() as conn:
        places = await store.list_expired_places(conn, namespace)
    deleted = 0
    archives: list[Archive] = []
    for place, kind, _ in places:
        gone, made = await _sweep_place(db, place, next(k for k in KINDS if k == kind))
        deleted += gone
        archives += made
    archived = sum(archive.rows for archive in archives)
    return SweepReport(deleted=deleted, archived=archived, archives=archives)


async def _sweep_place(db: Database, place: str, kind: ArchiveKind) -> tuple[int, list[Archive]]:
    async with db.transaction() as conn:
        policies = await policy_store.list_policies(conn, [place])
    default = db.settings.forget_expired
    deleted = 0
    archives: list[Archive] = []

    async def to_archive(conn: Connection) -> list[int]:
        found = await store.lock_expired(conn, place, kind, limit=ARCHIVE_ROWS)
        return sorted(row[0] for row in found if _action(policies, row, default) == "archive")

    while True:
        async with audited(db) as conn:
            found = await store.lock_expired(conn, place, kind, limit=_SWEEP_ROWS)
            gone = [row[0] for row in found if _action(policies, row, default) == "delete"]
            delete = store.delete_episodes if kind == "episode" else store.delete_facts
            if gone:
                deleted += await delete(conn, gone)
                note(conn, "memory.expire", kind, None, namespace=Private(place), rows=len(gone))
        made = None
        if len(gone) < len(found):
            made = await archive_rows(
                db, namespace=place, kind=kind, reason="expired", choose=to_archive
            )
        if made is not None:
            archives.append(made)
        if not gone and made is None:
            return deleted, archives


def _action(policies: Sequence[Policy], row: tuple[int, str, str], default: str) -> str:
    policy = policy_for(policies, event_type=row[1], importance=row[2]) if row[1] else None
    return default if policy is None else policy.action


async def _faded(
    db: Database, namespace: str, decay: Decay, now: datetime
) -> AsyncIterator[list[Traits]]:
    """Yield what has faded, by id, an archive's worth at a time; each page in a transaction."""
    async with db.transaction() as conn:
        incoming = await store.count_incoming_links(conn, namespace)
    after_id = 0
    faded: list[Traits] = []
    while True:
        async with db.transaction() as conn:
            upto_id = await store.find_page_end(conn, namespace, after_id=after_id, rows=_PAGE)
            if upto_id is None:
                break
            page = await store.list_traits(
                conn,
                namespace,
                untouched_since=_untouched_since(decay, now),
                after_id=after_id,
                upto_id=upto_id,
            )
        linked = [_with_links(t, t.links + incoming.get(t.id, 0)) for t in page]
        faded += [traits for traits in linked if score.is_forgettable(traits, decay, now)]
        after_id = upto_id
        if len(faded) >= _PAGE:
            yield faded[:_PAGE]
            faded = faded[_PAGE:]
    if faded:
        yield faded


async def _locked(
    conn: Connection, namespace: str, decay: Decay, now: datetime, ids: Sequence[int]
) -> list[Traits]:
    return await store.list_traits(
        conn,
        namespace,
        untouched_since=_untouched_since(decay, now),
        ids=ids,
        lock=True,
    )


def _untouched_since(decay: Decay, now: datetime) -> dict[str, datetime]:
    least: dict[str, Any] = {
        name: min(days, 700_000.0) for name, days in score.least_idle_days(decay).items()
    }
    # The calendar has a beginning: with very long half-lives nothing is that old.
    return {name: now - timedelta(days=days) for name, days in least.items()}


def _with_links(traits: Traits, links: int) -> Traits:
    return replace(traits, links=links)
