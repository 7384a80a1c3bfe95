"""`/v1/memory/facts`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from aegis.api import answers
from aegis.api.schemas import FactBody, FactChanges, QuestionBody
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.wire.cursor import after_offset, next_offset

__all__ = ["router"]

router = APIRouter(prefix="/v1/memory/facts", tags=["facts"], dependencies=[KnownParameters])


@router.post("", status_code=201, response_model=answers.Fact)
async def record_fact(memory: MemoryOf, body: FactBody) -> Any:
    """Remember a fact."""
    return answer(await memory.facts.record(**body.given()), 201)


@router.get("", response_model=answers.FactPage)
async def list_facts(
    memory: MemoryOf,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
    concept: str | None = None,
    category: str | None = None,
    tag: Annotated[list[str], Query()] = [],  # noqa: B006 (FastAPI copies it)
) -> Any:
    """List facts, last updated first; `next_cursor` leads to the next page."""
    offset = after_offset(cursor)
    rows = await memory.facts.list(
        limit=limit,
        offset=offset,
        namespace=namespace,
        concept=concept,
        category=category,
        tags=tag,
    )
    return answer({"items": rows, "next_cursor": next_offset(rows, limit, offset)})


@router.post("/recall", response_model=answers.FactHits)
async def recall_facts(memory: MemoryOf, body: QuestionBody) -> Any:
    """Return the facts that answer the question best, by meaning and words."""
    return answer({"results": await memory.facts.recall(**body.given())})


@router.get("/{fact_id}", response_model=answers.Fact)
async def get_fact(memory: MemoryOf, fact_id: int, namespace: str | None = None) -> Any:
    """Return one fact."""
    return answer(await memory.facts.get(fact_id, namespace=namespace))


@router.patch("/{fact_id}", response_model=answers.Fact)
async def update_fact(
    memory: MemoryOf, fact_id: int, body: FactChanges, namespace: str | None = None
) -> Any:
    """Change fields of a fact; new words get a new vector."""
    return answer(await memory.facts.update(fact_id, namespace=namespace, **body.given()))


@router.delete("/{fact_id}", status_code=204)
async def delete_fact(memory: MemoryOf, fact_id: int, namespace: str | None = None) -> Response:
    """Delete one fact."""
    await memory.facts.delete(fact_id, namespace=namespace)
    return Response(status_code=204)
