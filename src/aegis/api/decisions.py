"""`/v1/memory/decisions`."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from aegis.api import answers
from aegis.api.route import Router
from aegis.api.schemas import AdviceBody, DecisionBody, DecisionChanges, OutcomeBody, QuestionBody
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.wire.cursor import BY_OFFSET, DUE_DECISIONS

__all__ = ["router"]

router = Router(prefix="/v1/memory/decisions", tags=["decisions"], dependencies=[KnownParameters])


@router.post("", status_code=201, response_model=answers.Decision)
async def record_decision(memory: MemoryOf, body: DecisionBody) -> Any:
    """Record a decision, pending; without `episode_id` an episode is recorded with it."""
    return answer(await memory.decisions.record(**body.given()), 201)


@router.get("", response_model=answers.DecisionPage)
async def list_decisions(
    memory: MemoryOf,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
    outcome: str | None = None,
) -> Any:
    """List decisions, newest first; `next_cursor` leads to the next page."""
    rows = await memory.decisions.list(
        limit=limit,
        offset=BY_OFFSET.at(cursor),
        namespace=namespace,
        outcome=outcome,  # pyright: ignore[reportArgumentType]
    )
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/recall", response_model=answers.DecisionHits)
async def recall_decisions(memory: MemoryOf, body: QuestionBody) -> Any:
    """Return the decisions whose episodes answer the question best."""
    return answer({"results": await memory.decisions.recall(**body.given())})


@router.post("/advise", response_model=answers.Advice)
async def advise(memory: MemoryOf, body: AdviceBody) -> Any:
    """Say how options fared in similar decisions; that there are none, where there are none."""
    return answer(await memory.decisions.advise(**body.given()))


@router.get("/calibration", response_model=answers.Calibration)
async def calibration(memory: MemoryOf, bins: int = 10, namespace: str | None = None) -> Any:
    """Compare the confidence of resolved decisions with what came of them."""
    return answer(await memory.decisions.calibration(bins=bins, namespace=namespace))


@router.get("/due", response_model=answers.DecisionPage)
async def list_due_decisions(
    memory: MemoryOf,
    days: int = 14,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
) -> Any:
    """List open decisions past their `review_at`, or `days` old without one; oldest first."""
    rows = await memory.decisions.due(
        days=days, limit=limit, after=DUE_DECISIONS.at(cursor), namespace=namespace
    )
    return answer(DUE_DECISIONS.page(rows, limit))


@router.get("/{decision_id}", response_model=answers.Decision)
async def get_decision(memory: MemoryOf, decision_id: int, namespace: str | None = None) -> Any:
    """Return one decision."""
    return answer(await memory.decisions.get(decision_id, namespace=namespace))


@router.post("/{decision_id}/outcome", response_model=answers.Decision)
async def resolve_decision(
    memory: MemoryOf, decision_id: int, body: OutcomeBody, namespace: str | None = None
) -> Any:
    """Record how a decision turned out, once."""
    return answer(await memory.decisions.resolve(decision_id, namespace=namespace, **body.given()))


@router.patch("/{decision_id}", response_model=answers.Decision)
async def update_decision(
    memory: MemoryOf, decision_id: int, body: DecisionChanges, namespace: str | None = None
) -> Any:
    """Change fields of a decision; what was chosen and how it ended stay."""
    return answer(await memory.decisions.update(decision_id, namespace=namespace, **body.given()))


@router.delete("/{decision_id}", status_code=204)
async def delete_decision(
    memory: MemoryOf, decision_id: int, namespace: str | None = None
) -> Response:
    """Delete one decision; its episode stays."""
    await memory.decisions.delete(decision_id, namespace=namespace)
    return Response(status_code=204)
