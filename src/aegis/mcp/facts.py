"""Tools of facts: `memory_fact_record`, `memory_fact_recall`, …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import (
    ADDS,
    CHANGES,
    DELETES,
    READS,
    Cursor,
    Limit,
    Namespace,
    answer,
    make_tool,
    named,
    told,
)
from aegis.wire.cursor import after_offset, next_offset

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["fact_tools"]

FactId = Annotated[int, Field(description="Id of the fact.")]
Confidence = Annotated[float, Field(description="How sure, 0 to 1.")]


def fact_tools(memory: Memory) -> list[Tool]:
    """Return the tools that work on `memory`'s facts."""
    return [*_recording(memory), *_reading(memory), *_changing(memory)]


def _recording(memory: Memory) -> list[Tool]:
    async def memory_fact_record(
        concept: Annotated[str, Field(description="What it is about, in a few words.")],
        content: Annotated[str, Field(description="What is known, in whole sentences.")],
        category: str | None = None,
        source: Annotated[str | None, Field(description="Where it is known from.")] = None,
        confidence: Confidence = 1.0,
        tags: list[str] = [],  # noqa: B006 (pydantic copies it)
        metadata: dict[str, Any] | None = None,
        source_id: str | None = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Remember a fact: something that holds, not something that happened."""
        with told():
            fact = await memory.facts.record(
                concept,
                content,
                category=category,
                source=source,
                confidence=confidence,
                tags=tags,
                metadata=metadata,
                source_id=source_id,
                namespace=namespace,
            )
        return answer(fact)

    return [make_tool(memory_fact_record, ADDS, "Remember a fact")]


def _reading(memory: Memory) -> list[Tool]:
    async def memory_fact_recall(
        query: Annotated[str, Field(description="A question or description, in words.")],
        k: Limit = 10,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Find the facts that answer a question best."""
        with told():
            return answer({"results": await memory.facts.recall(query, k=k, namespace=namespace)})

    async def memory_fact_get(id: FactId, namespace: Namespace = None) -> CallToolResult:
        """Return one fact."""
        with told():
            return answer(await memory.facts.get(id, namespace=namespace))

    async def memory_fact_list(
        concept: str | None = None,
        category: str | None = None,
        tags: list[str] = [],  # noqa: B006 (pydantic copies it)
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List facts, last updated first."""
        with told():
            offset = after_offset(cursor)
            rows = await memory.facts.list(
                concept=concept,
                category=category,
                tags=tags,
                limit=limit,
                offset=offset,
                namespace=namespace,
            )
        return answer({"items": rows, "next_cursor": next_offset(rows, limit, offset)})

    return [
        make_tool(memory_fact_recall, READS, "Recall facts"),
        make_tool(memory_fact_get, READS, "Read one fact"),
        make_tool(memory_fact_list, READS, "List facts"),
    ]


def _changing(memory: Memory) -> list[Tool]:
    async def memory_fact_update(
        id: FactId,
        concept: str | None = None,
        content: str | None = None,
        category: str | None = None,
        source: str | None = None,
        confidence: Confidence | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Correct a fact: the fields you name are replaced, the others stay."""
        with told():
            changes = named(
                concept=concept,
                content=content,
                category=category,
                source=source,
                confidence=confidence,
                tags=tags,
                metadata=metadata,
            )
            return answer(await memory.facts.update(id, namespace=namespace, **changes))

    async def memory_fact_delete(id: FactId, namespace: Namespace = None) -> CallToolResult:
        """Delete a fact for ever."""
        with told():
            await memory.facts.delete(id, namespace=namespace)
        return answer({"deleted": id})

    return [
        make_tool(memory_fact_update, CHANGES, "Correct a fact"),
        make_tool(memory_fact_delete, DELETES, "Delete a fact"),
    ]
