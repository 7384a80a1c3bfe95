"""`/v1/memory/consolidation` and `/v1/memory/proposals`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from aegis.api import upkeep_answers as answers
from aegis.api.route import Router
from aegis.api.schemas import ConsolidationBody
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.memory.consolidation.proposal import STATES
from aegis.wire.cursor import BY_ID

__all__ = ["router"]

router = Router(prefix="/v1/memory", tags=["consolidation"], dependencies=[KnownParameters])

#: Who did it, in the history.
_ACTOR = "http"
_State = Annotated[str, Query(json_schema_extra={"enum": [*STATES, "all"]})]


@router.post("/consolidation", response_model=answers.Consolidated)
async def consolidate(memory: MemoryOf, body: ConsolidationBody | None = None) -> Any:
    """Propose what like episodes have in common; no episode is changed."""
    given = {} if body is None else body.given()
    return answer(await memory.consolidation.run(**given))


@router.get("/proposals", response_model=answers.ProposalPage)
async def list_proposals(
    memory: MemoryOf,
    state: _State = "proposed",
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
) -> Any:
    """List proposals, the oldest first; `next_cursor` leads to the next page."""
    rows = await memory.consolidation.proposals(
        state=None if state == "all" else state,  # pyright: ignore[reportArgumentType]
        limit=limit,
        after=BY_ID.at(cursor),
        namespace=namespace,
    )
    return answer(BY_ID.page(rows, limit, cursor))


@router.get("/proposals/{proposal_id}", response_model=answers.Proposal)
async def get_proposal(memory: MemoryOf, proposal_id: int, namespace: str | None = None) -> Any:
    """Return one proposal."""
    return answer(await memory.consolidation.get(proposal_id, namespace=namespace))


@router.post("/proposals/{proposal_id}/accept", response_model=answers.Proposal)
async def accept_proposal(memory: MemoryOf, proposal_id: int, namespace: str | None = None) -> Any:
    """Make a fact of a proposal; `undo` takes exactly that back."""
    return answer(await memory.consolidation.accept(proposal_id, namespace=namespace, actor=_ACTOR))


@router.post("/proposals/{proposal_id}/reject", response_model=answers.Proposal)
async def reject_proposal(memory: MemoryOf, proposal_id: int, namespace: str | None = None) -> Any:
    """Refuse a proposal; it comes back only with twice the evidence."""
    return answer(await memory.consolidation.reject(proposal_id, namespace=namespace, actor=_ACTOR))


@router.post("/proposals/{proposal_id}/undo", response_model=answers.Proposal)
async def undo_proposal(memory: MemoryOf, proposal_id: int, namespace: str | None = None) -> Any:
    """Take back what accepting a proposal did to facts."""
    return answer(await memory.consolidation.undo(proposal_id, namespace=namespace, actor=_ACTOR))
