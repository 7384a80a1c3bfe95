"""Tools of the graph: `memory_graph_neighbours`, `memory_graph_path`, …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import (
    ADDS,
    READS,
    Cursor,
    Limit,
    MaybeTime,
    Namespace,
    answer,
    make_tool,
    maybe_time,
    told,
)
from aegis.memory.graph.models import DIRECTIONS, ENTITY_KINDS, ENTITY_ORDERS
from aegis.wire.cursor import BY_OFFSET

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["graph_tools"]

NodeName = Annotated[
    str,
    Field(description="episode:12, fact:3, entity:5, or an entity by kind and name: person:Alice."),
]
Types = Annotated[list[str] | None, Field(description="Relation types to follow; all if left out.")]


def _choice(choices: tuple[str, ...], description: str, *, optional: bool = False) -> Any:
    allowed: Any = [*choices, None] if optional else [*choices]
    return Field(description=description, json_schema_extra={"enum": allowed})


def graph_tools(memory: Memory) -> list[Tool]:
    """Return the tools that work on `memory`'s graph."""
    return [*_searching(memory), *_listing(memory)]


def _searching(memory: Memory) -> list[Tool]:
    async def memory_graph_neighbours(
        node: NodeName,
        depth: Annotated[int, Field(description="Relations away, 1 to 5.")] = 1,
        limit: Annotated[int, Field(description="Nodes at most, 1 to 2000.")] = 50,
        types: Types = None,
        direction: Annotated[str, _choice(DIRECTIONS, "Which relations to follow.")] = "both",
        as_of: MaybeTime = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Show which memories, facts and entities hang together with one of them."""
        with told():
            return answer(
                await memory.graph.neighbours(
                    node,
                    depth=depth,
                    limit=limit,
                    types=types or (),
                    direction=direction,  # pyright: ignore[reportArgumentType]
                    as_of=maybe_time("as_of", as_of),
                    namespace=namespace,
                )
            )

    async def memory_graph_path(
        source: NodeName,
        target: NodeName,
        max_depth: Annotated[int, Field(description="Relations at most, 1 to 10.")] = 6,
        types: Types = None,
        as_of: MaybeTime = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Find a shortest way from one memory, fact or entity to another."""
        with told():
            return answer(
                await memory.graph.path(
                    source,
                    target,
                    max_depth=max_depth,
                    types=types or (),
                    as_of=maybe_time("as_of", as_of),
                    namespace=namespace,
                )
            )

    return [
        make_tool(memory_graph_neighbours, READS, "Look around in the graph"),
        make_tool(memory_graph_path, READS, "Find a way in the graph"),
    ]


def _listing(memory: Memory) -> list[Tool]:
    async def memory_graph_entities(
        of: Annotated[
            str | None, Field(description="Those of one node, such as episode:12.")
        ] = None,
        kind: Annotated[str | None, _choice(ENTITY_KINDS, "What they are.", optional=True)] = None,
        name: Annotated[str | None, Field(description="A part of the name.")] = None,
        order: Annotated[str, _choice(ENTITY_ORDERS, "What comes first.")] = "degree",
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List people, projects, files and other things that memories speak of."""
        with told():
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

    async def memory_graph_relate(
        source: NodeName,
        target: NodeName,
        type: Annotated[str, Field(description="Such as works_on, caused, part_of.")] = "related",
        weight: Annotated[float, Field(description="How strong or how sure, 0 to 1.")] = 1.0,
        valid_from: MaybeTime = None,
        valid_to: MaybeTime = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Write that one thing has to do with another; an entity that is not there is made."""
        with told():
            return answer(
                await memory.graph.relate(
                    source,
                    target,
                    type,
                    weight=weight,
                    valid_from=maybe_time("valid_from", valid_from),
                    valid_to=maybe_time("valid_to", valid_to),
                    namespace=namespace,
                )
            )

    return [
        make_tool(memory_graph_entities, READS, "List entities"),
        make_tool(memory_graph_relate, ADDS, "Relate two things"),
    ]
