"""What becomes of a proposal: accepting makes a fact of it, undoing takes back exactly that.

Invariant: a proposal's state and the steps of `fact_history` that belong to it change in one
transaction. Whoever decides locks the proposal first, then the concept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.memory import fact_steps
from aegis.memory.consolidation.proposal import digest_of
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.models import NewFact
from aegis.memory.store import fact_history as history
from aegis.memory.store import proposals as store

if TYPE_CHECKING:
    from aegis.db import Connection, Database
    from aegis.memory.consolidation.proposal import Proposal
    from aegis.memory.embedding import Embedder

__all__ = ["SOURCE", "accept", "reject", "undo"]

#: What facts name as their source that came of a proposal.
SOURCE = "consolidation"
#: Episodes that a fact names in their own words; all stand in the proposal.
_MOST_QUOTED = 50


async def accept(
    db: Database,
    embedder: Embedder | None,
    proposal_id: int,
    *,
    namespace: str,
    actor: str | None,
) -> Proposal:
    """Make a fact of a proposal and return the proposal.

    Raises:
        NotFound: the namespace has none of this id.
        Conflict: it is accepted already, or grew at this very moment.
    """
    async with db.transaction() as conn:
        seen = await store.get_proposal(conn, proposal_id, namespace=namespace)
    _refuse_accepted(seen)
    vectors, model = await embed_or_none(embedder, [f"{seen.concept}: {seen.content}"])
    async with db.transaction() as conn:
        proposal = await store.get_proposal(conn, proposal_id, namespace=namespace, lock=True)
        _refuse_accepted(proposal)
        if proposal.content != seen.content:
            raise Conflict(
                f"Proposal {proposal_id} has grown a moment ago; read it again.",
                code="proposal_changed",
            )
        return await _learn(conn, proposal, vectors[0], model, actor)


async def reject(db: Database, proposal_id: int, *, namespace: str, actor: str | None) -> Proposal:
    """Refuse a proposal and return it; its evidence proposes nothing until it has doubled.

    Raises:
        NotFound: the namespace has none of this id.
        Conflict: it is decided already.
    """
    async with db.transaction() as conn:
        proposal = await store.get_proposal(conn, proposal_id, namespace=namespace, lock=True)
        if proposal.state != "proposed":
            raise Conflict(
                f"Proposal {proposal_id} is {proposal.state} already.", code="proposal_decided"
            )
        return await store.decide(
            conn, proposal_id, "rejected", actor=actor, fact_id=None, steps=()
        )


async def undo(db: Database, proposal_id: int, *, namespace: str, actor: str | None) -> Proposal:
    """Take back what accepting a proposal did to facts and return the proposal.

    Raises:
        NotFound: the namespace has none of this id.
        Conflict: it is not accepted, or its facts were changed since.
    """
    async with db.transaction() as conn:
        proposal = await store.get_proposal(conn, proposal_id, namespace=namespace, lock=True)
        if proposal.state != "accepted":
            raise Conflict(
                f"Proposal {proposal_id} is {proposal.state}; only an accepted one can be undone.",
                code="proposal_not_accepted",
            )
        for step, fact_id, action in await store.read_steps(conn, proposal_id):
            if action == "created":
                await _remove(conn, fact_id, proposal, actor)
            else:
                await fact_steps.undo(conn, fact_id, step=step, namespace=namespace, actor=actor)
        return await store.decide(conn, proposal_id, "undone", actor=actor, fact_id=None, steps=())


async def _learn(
    conn: Connection, proposal: Proposal, vector: str | None, model: str | None, actor: str | None
) -> Proposal:
    begun = await store.read_clock(conn)
    fact = NewFact(
        concept=proposal.concept,
        content=proposal.content,
        category=proposal.kind,
        source=SOURCE,
        source_id=f"{SOURCE}:{digest_of(proposal.kind, proposal.sources)}",
        confidence=proposal.score,
        metadata={
            "proposal": proposal.id,
            "seen": proposal.seen,
            "first_at": proposal.first_at.isoformat(),
            "last_at": proposal.last_at.isoformat(),
            "episodes": proposal.sources[-_MOST_QUOTED:],
        },
        tags=[SOURCE],
    )
    learned = await fact_steps.learn(
        conn,
        fact,
        namespace=proposal.namespace,
        vector=vector,
        embedding_model=model,
        on_conflict="supersede",
        actor=actor,
    )
    steps = await store.list_steps_since(conn, proposal.namespace, begun)
    own = next((step for step, fact_id in steps if fact_id == learned.id), None)
    if own is not None:
        await store.add_episode_sources(
            conn,
            learned.id,
            proposal.sources[-_MOST_QUOTED:],
            namespace=proposal.namespace,
            # One source, however many episodes: they make it no surer than the score says.
            source=SOURCE,
            confidence=proposal.score,
            step=own,
        )
    return await store.decide(
        conn,
        proposal.id,
        "accepted",
        actor=actor,
        fact_id=learned.id,
        steps=[step for step, _ in steps],
    )


async def _remove(conn: Connection, fact_id: int, proposal: Proposal, actor: str | None) -> None:
    """Delete the fact that a proposal made, unless somebody has changed it since."""
    await history.lock_fact(conn, fact_id, namespace=proposal.namespace)
    steps = await history.list_steps(conn, fact_id, namespace=proposal.namespace)
    undone = {s.undoes for s in steps}
    left = [s for s in steps if s.action != "restored" and s.id not in undone]
    if left and left[0].action == "deleted":
        return
    if left and left[0].action != "created":
        raise Conflict(
            f"Fact {fact_id} was {left[0].action} after proposal {proposal.id} made it; undo that "
            "first, or delete the fact.",
            code="undo_blocked",
        )
    await fact_steps.forget(conn, fact_id, namespace=proposal.namespace, actor=actor)


def _refuse_accepted(proposal: Proposal) -> None:
    if proposal.state == "accepted":
        raise Conflict(
            f"Proposal {proposal.id} is accepted already, as fact {proposal.fact_id}.",
            code="proposal_decided",
        )
