"""`/v1/memory/graph`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from aegis.api import graph_shapes as shapes
from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.wire.cursor import BY_OFFSET

__all__ = ["router"]

router = Router(prefix="/v1/memory/graph", tags=["graph"], dependencies=[KnownParameters])
Texts = Annotated[list[str], Query()]
Time = Annotated[OptionalTime, Query()]
#: `episode:12`, `fact:3`, `entity:5`, or kind and name of an entity, `person:Alice`.
NodeName = Annotated[
    str, Query(description="episode:12, fact:3, entity:5, or an entity: person:Alice.")
]
MEDIA_TYPES = {"mermaid": "text/vnd.mermaid", "graphml": "application/graphml+xml"}


@router.get("/neighbours", response_model=shapes.Neighbourhood)
async def neighbours(
    memory: MemoryOf,
    node: NodeName,
    depth: int = 1,
    width: int = 50,
    limit: int = 200,
    type: Texts = [],  # noqa: B006 (FastAPI copies it)
    direction: str = "both",
    as_of: Time = None,
    namespace: str | None = None,
) -> Any:
    """Return what is at most `depth` relations away from a node, the nearest first."""
    return answer(
        await memory.graph.neighbours(
            node,
            depth=depth,
            width=width,
            limit=limit,
            types=type,
            direction=direction,  # pyright: ignore[reportArgumentType]
            as_of=as_of,
            namespace=namespace,
        )
    )


@router.get("/path", response_model=shapes.Path)
async def path(
    memory: MemoryOf,
    source: NodeName,
    target: NodeName,
    max_depth: int = 6,
    width: int = 200,
    type: Texts = [],  # noqa: B006
    as_of: Time = None,
    namespace: str | None = None,
) -> Any:
    """Return a shortest way from one node to another; no nodes where there is none."""
    return answer(
        await memory.graph.path(
            source,
            target,
            max_depth=max_depth,
            width=width,
            types=type,
            as_of=as_of,
            namespace=namespace,
        )
    )


@router.get("/entities", response_model=shapes.EntityPage)
async def entities(
    memory: MemoryOf,
    of: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    order: str = "degree",
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
) -> Any:
    """List entities, the most connected first; `of` lists those of one node."""
    rows = await memory.graph.entities(
        of=of,
        kind=kind,  # pyright: ignore[reportArgumentType]
        name=name,
        order=order,  # pyright: ignore[reportArgumentType]
        limit=limit,
        offset=BY_OFFSET.at(cursor),
        namespace=namespace,
    )
    return answer(BY_OFFSET.page(rows, limit if of is None else None, cursor))


@router.post("/relations", status_code=201, response_model=shapes.Relation)
async def relate(memory: MemoryOf, body: shapes.RelationBody) -> Any:
    """Write a relation from one node to another; written twice, it is one."""
    return answer(await memory.graph.relate(**body.given()), 201)


@router.post("/relations/end", response_model=shapes.Relations)
async def unrelate(memory: MemoryOf, body: shapes.EndBody) -> Any:
    """End the relations from one node to another, at a time or now."""
    return answer({"items": await memory.graph.unrelate(**body.given())})


@router.post("/merges", status_code=201, response_model=shapes.Merge)
async def merge_entities(memory: MemoryOf, body: shapes.MergeBody) -> Any:
    """Make two entities one; it can be undone."""
    return answer(await memory.graph.merge_entities(**body.given()), 201)


@router.get("/merges", response_model=shapes.Merges)
async def list_merges(memory: MemoryOf, limit: int = 50, namespace: str | None = None) -> Any:
    """List merges, the last one first."""
    return answer({"items": await memory.graph.merges(limit=limit, namespace=namespace)})


@router.post("/merges/{merge_id}/undo", response_model=shapes.Merge)
async def undo_merge(memory: MemoryOf, merge_id: int, namespace: str | None = None) -> Any:
    """Take a merge back; the last one of an entity first."""
    return answer(await memory.graph.undo_merge(merge_id, namespace=namespace))


@router.post("/build", response_model=shapes.Built)
async def build(memory: MemoryOf, body: shapes.BuildBody) -> Any:
    """Read for entities what is new or changed; `again` reads all of the namespace."""
    return answer(await memory.graph.build(**body.given()))


@router.get("/draw")
async def draw(
    memory: MemoryOf,
    node: NodeName,
    format: str = "mermaid",
    depth: int = 2,
    width: int = 20,
    limit: int = 60,
    type: Texts = [],  # noqa: B006
    as_of: Time = None,
    namespace: str | None = None,
) -> Response:
    """Return a node's neighbourhood as Mermaid or GraphML."""
    text = await memory.graph.draw(
        node,
        format=format,  # pyright: ignore[reportArgumentType]
        depth=depth,
        width=width,
        limit=limit,
        types=type,
        as_of=as_of,
        namespace=namespace,
    )
    return Response(text.encode(), media_type=f"{MEDIA_TYPES[format]}; charset=utf-8")
