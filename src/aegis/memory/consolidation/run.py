"""One run over a namespace: slice by slice, each stored with its mark in one transaction.

A run that is killed goes on at the last slice. The mark cannot skip an episode whose transaction
commits late: it moves only up to an id below which nobody can commit any more (`read_upper`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aegis.errors import AegisError, Conflict
from aegis.memory.consolidation import acceptance, drafting, gathering, telling, wording
from aegis.memory.consolidation.proposal import verdict
from aegis.memory.store import consolidation as store
from aegis.memory.store import consolidation_marks as marks
from aegis.memory.store import proposals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.memory.consolidation.gathering import Reach, Reader
    from aegis.memory.consolidation.groups import Group
    from aegis.memory.consolidation.proposal import Draft, Proposal, Verdict
    from aegis.memory.consolidation.wording import Remark
    from aegis.memory.embedding import Embedder
    from aegis.memory.llm import LanguageModel

__all__ = ["Consolidated", "run"]

_log = logging.getLogger("aegis.memory")

#: New episodes of a slice; objects that are followed up in it; episodes that follow a failure.
_SLICE, _OBJECTS, _FOLLOWERS = 400, 60, 5
#: Seconds that writers under way are waited for, and between looks at them.
_PATIENCE_S, _LOOK_S = 5.0, 0.05


@dataclass(slots=True, kw_only=True)
class Consolidated:
    """What a run did, or would do."""

    namespace: str
    dry_run: bool
    #: New episodes that were looked at, junk among them.
    episodes: int = 0
    #: Groups of like episodes that had a new one among them.
    groups: int = 0
    #: Proposals made, and those that got more evidence, by id; of a dry run none.
    proposed: list[int] = field(default_factory=list[int])
    grown: list[int] = field(default_factory=list[int])
    #: Of these, accepted by `consolidate_accept_from`.
    accepted: list[int] = field(default_factory=list[int])
    #: What a dry run would propose.
    drafts: list[Draft] = field(default_factory=list["Draft"])
    #: Id up to which everything has been looked at.
    done_to: int = 0
    #: What else is to be known of the run, one line each.
    notes: list[str] = field(default_factory=list[str])


@dataclass(slots=True, kw_only=True)
class _Run:
    db: Database
    embedder: Embedder | None
    model: LanguageModel | None
    since: datetime | None
    accept_from: float
    reach: Reach
    reader: Reader
    done: Consolidated


async def run(
    db: Database,
    embedder: Embedder | None,
    model: LanguageModel | None,
    *,
    namespace: str,
    since: datetime | None,
    dry_run: bool,
    accept_from: float,
    on_progress: Callable[[int], object] | None = None,
) -> Consolidated:
    """Propose what the namespace's new episodes say, and return what was done.

    With `since`, episodes from that time on are looked at, new or not; the mark stays where it is.

    Raises:
        Conflict: another run over the namespace is under way.
    """
    # A session's lock: whatever ends the run ends it.
    async with db.session("Consolidation") as holder:
        if not await marks.lock_run(holder, namespace):
            raise Conflict(
                f"Another consolidation of namespace {namespace!r} is under way; wait for its end.",
                code="consolidation_running",
            )
        try:
            return await _run(
                db, embedder, model, namespace, since, dry_run, accept_from, on_progress
            )
        finally:
            if not holder.closed:
                await marks.unlock_run(holder, namespace)


async def _run(
    db: Database,
    embedder: Embedder | None,
    model: LanguageModel | None,
    namespace: str,
    since: datetime | None,
    dry_run: bool,
    accept_from: float,
    on_progress: Callable[[int], object] | None,
) -> Consolidated:
    done = Consolidated(namespace=namespace, dry_run=dry_run)
    upper, settled = await _settled_upper(db)
    async with db.transaction() as conn:
        mark = await marks.find_done(conn, namespace)
        reach = await gathering.find_reach(conn, embedder, namespace)
    moves = settled and since is None and not dry_run
    if not settled:
        done.notes.append(
            "Somebody has been writing for long; what is new is looked at again next time."
        )
    this = _Run(
        db=db,
        embedder=embedder,
        model=model,
        since=since,
        accept_from=accept_from,
        reach=reach,
        reader=gathering.Reader(namespace),
        done=done,
    )
    after = 0 if since is not None else mark
    while True:
        async with db.transaction() as conn:
            rows = await store.list_new(
                conn, namespace, after=after, upto=upper, since=since, limit=_SLICE
            )
        if not rows:
            break
        after = rows[-1].id
        done.episodes += len(rows)
        await _slice(this, this.reader.take(rows), after if moves else None)
        if on_progress is not None:
            on_progress(done.episodes)
    if moves:
        async with db.transaction() as conn:
            await marks.mark_done(conn, namespace, max(mark, upper), finished=True)
    done.done_to = max(mark, upper) if moves else mark
    return done


async def _settled_upper(db: Database) -> tuple[int, bool]:
    """Return the greatest id so far, and whether all up to it are there or never will be.

    Writers under way are waited for, a little: most end at once.
    """
    async with db.transaction() as conn:
        upper, writers = await marks.read_upper(conn)
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    waiting = set(writers)
    while waiting and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_LOOK_S)
        async with db.transaction() as conn:
            waiting &= set(await marks.still_writing(conn))
    return upper, not waiting


async def _slice(this: _Run, new: Mapping[int, Remark], mark: int | None) -> None:
    """Propose what a slice says, and move the mark behind it in the same transaction."""
    namespace = this.done.namespace
    async with this.db.transaction() as conn:
        pairs, remarks = await gathering.find_pairs(conn, namespace, new, this.reach, this.reader)
        found = await asyncio.to_thread(drafting.group_remarks, pairs, remarks)
        drafts = drafting.fact_drafts(found, remarks)
        drafts += await _remedies(this, conn, found, remarks)
        drafts += await _patterns(this, conn, new, drafts)
        ready = [d for d in drafts if await _is_news(conn, namespace, d)]
    this.done.groups += len(found)
    worded = [await _worded(this, draft, remarks) for draft in ready]
    if this.done.dry_run:
        this.done.drafts += worded
        return
    async with this.db.transaction() as conn:
        made = [await _store(conn, namespace, draft) for draft in drafts if draft not in ready]
        made += [await _store(conn, namespace, draft) for draft in worded]
        if mark is not None:
            await marks.mark_done(conn, namespace, mark, finished=False)
    for action, proposal_id, score in made:
        if action == "propose":
            this.done.proposed.append(proposal_id)
        elif action == "grow" and proposal_id not in [*this.done.proposed, *this.done.grown]:
            this.done.grown.append(proposal_id)
        if action in ("propose", "grow") and 0 < this.accept_from <= score:
            await _accept(this, proposal_id)


async def _remedies(
    this: _Run, conn: Connection, found: Sequence[Group], remarks: Mapping[int, Remark]
) -> list[Draft]:
    """Return what like failures were followed by more than once."""
    drafts: list[Draft] = []
    for group in found:
        failures = [remarks[i] for i in group.members if wording.is_failure(remarks[i])]
        if len(failures) < 2:
            continue
        links = await store.list_followers(
            conn, this.done.namespace, [f.id for f in failures], limit=_FOLLOWERS
        )
        ids = sorted({after for _, after in links})
        known = await this.reader.read(conn, ids)
        followers = {
            f.id: [known[after] for before, after in links if before == f.id and after in known]
            for f in failures
        }
        fixes = [r for r in known.values() if wording.is_fix(r)][: drafting.MOST_MENTIONS]
        pairs = await gathering.pairs_among(conn, fixes)
        draft = drafting.remedy_draft(failures, followers, pairs)
        if draft is not None:
            drafts.append(draft)
    return drafts


async def _patterns(
    this: _Run, conn: Connection, new: Mapping[int, Remark], told: Sequence[Draft]
) -> list[Draft]:
    """Return the events that keep happening to an object which a new episode names."""
    namespace = this.done.namespace
    drafts: list[Draft] = []
    for event_type, name in drafting.mentioned(new.values())[:_OBJECTS]:
        lexemes = await store.lexemes_of(conn, name)
        if not lexemes:
            continue
        query = gathering.phrase_query(namespace, lexemes)
        ids = await store.list_mentions(
            conn, namespace, event_type, query, limit=drafting.MOST_MENTIONS
        )
        if len(ids) < drafting.LEAST_MENTIONS:
            continue
        members = await this.reader.read(conn, sorted(ids))
        draft = drafting.pattern_draft(event_type, name, list(members.values()), [*told, *drafts])
        if draft is not None:
            drafts.append(draft)
    return drafts


async def _is_news(conn: Connection, namespace: str, draft: Draft) -> bool:
    known = await proposals.list_overlapping(conn, namespace, draft.sources)
    return verdict(draft, known).action in ("propose", "grow")


async def _worded(this: _Run, draft: Draft, remarks: Mapping[int, Remark]) -> Draft:
    """Return the draft in a model's words, where there is one and its words hold."""
    if this.model is None:
        return draft
    told = [remarks[i] for i in draft.sources if i in remarks]
    try:
        # No transaction is open here.
        return await telling.tell(this.model, draft, told)
    except AegisError as error:
        # Each draft would wait for it anew.
        this.model = None
        this.done.notes.append(telling.describe_failure(error))
        _log.warning("memory.llm_failed", extra={"code": error.code, "why": error.message})
        return draft


async def _store(conn: Connection, namespace: str, draft: Draft) -> tuple[str, int, float]:
    """Do with a draft what its evidence asks for; return what that was, to which, and its score."""
    known = await proposals.list_overlapping(conn, namespace, draft.sources)
    decided = verdict(draft, known)
    proposal_id = decided.proposal_id or 0
    if decided.action == "note":
        await proposals.note_sources(conn, proposal_id, decided.sources)
    if decided.action in ("note", "skip"):
        return decided.action, proposal_id, 0.0
    done, seen = drafting.completed(draft, decided.sources, _same_matter(decided, known))
    if decided.action == "grow":
        await proposals.grow_proposal(conn, proposal_id, done, seen=seen)
        return "grow", proposal_id, done.score
    made = await proposals.insert_proposal(conn, done, namespace=namespace, seen=seen)
    return ("skip", 0, 0.0) if made is None else ("propose", made, done.score)


def _same_matter(decided: Verdict, known: Sequence[Proposal]) -> list[Proposal]:
    """Return the proposals that what is stored follows."""
    return [p for p in known if p.id == decided.proposal_id]


async def _accept(this: _Run, proposal_id: int) -> None:
    try:
        await acceptance.accept(
            this.db,
            this.embedder,
            proposal_id,
            namespace=this.done.namespace,
            actor="consolidation",
        )
    except Conflict as error:
        # Somebody decided about it a moment ago.
        this.done.notes.append(error.message)
        return
    this.done.accepted.append(proposal_id)
