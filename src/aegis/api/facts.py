"""`/v1/memory/facts`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response

from aegis.api import answers
from aegis.api.route import Router
from aegis.api.schemas import FactBody, FactChanges, FactQuestionBody, OptionalTime, UndoBody
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.wire.cursor import BY_OFFSET

__all__ = ["router"]

router = Router(prefix="/v1/memory/facts", tags=["facts"], dependencies=[KnownParameters])

#: Who did it, in the history.
_ACTOR = "http"


@router.post("", status_code=201, response_model=answers.Fact)
async def record_fact(memory: MemoryOf, body: FactBody) -> Any:
    """Remember a fact; one that is known already becomes surer, and is returned."""
    return answer(await memory.facts.record(actor=_ACTOR, **body.given()), 201)


@router.get("", response_model=answers.FactPage)
async def list_facts(
    memory: MemoryOf,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
    concept: str | None = None,
    category: str | None = None,
    tag: Annotated[list[str], Query()] = [],  # noqa: B006 (FastAPI copies it)
    as_of: Annotated[OptionalTime, Query()] = None,
    valid_at: Annotated[OptionalTime, Query()] = None,
) -> Any:
    """List facts that hold, last updated first; `next_cursor` leads to the next page."""
    rows = await memory.facts.list(
        limit=limit,
        offset=BY_OFFSET.at(cursor),
        namespace=namespace,
        concept=concept,
        category=category,
        tags=tag,
        as_of=as_of,
        valid_at=valid_at,
    )
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/recall", response_model=answers.FactHits)
async def recall_facts(memory: MemoryOf, body: FactQuestionBody) -> Any:
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
    return answer(
        await memory.facts.update(fact_id, namespace=namespace, actor=_ACTOR, **body.given())
    )


@router.delete("/{fact_id}", status_code=204)
async def delete_fact(memory: MemoryOf, fact_id: int, namespace: str | None = None) -> Response:
    """Delete one fact; `undo` brings it back."""
    await memory.facts.delete(fact_id, namespace=namespace, actor=_ACTOR)
    return Response(status_code=204)


@router.get("/{fact_id}/history", response_model=answers.FactSteps)
async def fact_history(
    memory: MemoryOf, fact_id: int, limit: int = 100, namespace: str | None = None
) -> Any:
    """Return the steps of a fact, the last one first."""
    steps = await memory.facts.history(fact_id, limit=limit, namespace=namespace)
    return answer({"items": steps})


@router.get("/{fact_id}/sources", response_model=answers.FactSources)
async def fact_sources(memory: MemoryOf, fact_id: int, namespace: str | None = None) -> Any:
    """Return who said a fact, and in which words."""
    return answer({"items": await memory.facts.sources(fact_id, namespace=namespace)})


@router.post("/{fact_id}/undo", response_model=answers.Fact)
async def undo_fact(
    memory: MemoryOf, fact_id: int, body: UndoBody | None = None, namespace: str | None = None
) -> Any:
    """Take back the last step of a fact and return what is there again."""
    given = {} if body is None else body.given()
    return answer(await memory.facts.undo(fact_id, namespace=namespace, actor=_ACTOR, **given))
