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
    UNDOES,
    Cursor,
    Limit,
    MaybeTime,
    Namespace,
    OnConflictText,
    answer,
    make_tool,
    maybe_time,
    named,
    told,
)
from aegis.wire.cursor import BY_OFFSET

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["fact_tools"]

FactId = Annotated[int, Field(description="Id of the fact.")]
Confidence = Annotated[float, Field(description="How sure, 0 to 1.")]
_HOW_SURE = "How sure, 0 to 1; certain if left out."
#: Who did it, in the history.
_ACTOR = "mcp"


def fact_tools(memory: Memory) -> list[Tool]:
    """Return the tools that work on `memory`'s facts."""
    return [*_recording(memory), *_reading(memory), *_changing(memory), *_history(memory)]


def _recording(memory: Memory) -> list[Tool]:
    async def memory_fact_record(
        concept: Annotated[str, Field(description="What it is about, in a few words.")],
        content: Annotated[str, Field(description="What is known, in whole sentences.")],
        category: str | None = None,
        source: Annotated[str | None, Field(description="Where it is known from.")] = None,
        confidence: Annotated[float | None, Field(description=_HOW_SURE)] = None,
        tags: list[str] = [],  # noqa: B006 (pydantic copies it)
        metadata: dict[str, Any] | None = None,
        source_id: str | None = None,
        valid_from: MaybeTime = None,
        ttl: Annotated[
            str | None, Field(description="Forget it after this time, such as 30d; kept otherwise.")
        ] = None,
        expires_at: MaybeTime = None,
        on_conflict: OnConflictText = "supersede",
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Remember a fact: something that holds, not something that happened.

        One that is known already becomes surer and is returned; not by a repeat that names neither
        source nor confidence. Known ones that it contradicts end where it begins; nothing is lost,
        and undo takes it back.
        """
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
                valid_from=maybe_time("valid_from", valid_from),
                ttl=ttl,
                expires_at=maybe_time("expires_at", expires_at),
                on_conflict=on_conflict,  # pyright: ignore[reportArgumentType]
                actor=_ACTOR,
                namespace=namespace,
            )
        return answer(fact)

    return [make_tool(memory_fact_record, ADDS, "Remember a fact")]


def _reading(memory: Memory) -> list[Tool]:
    async def memory_fact_recall(
        query: Annotated[str, Field(description="A question or description, in words.")],
        k: Limit = 10,
        as_of: MaybeTime = None,
        valid_at: MaybeTime = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Find the facts that answer a question best, of those that hold now.

        as_of: as they were believed then; valid_at: what was true then.
        """
        with told():
            hits = await memory.facts.recall(
                query,
                k=k,
                namespace=namespace,
                as_of=maybe_time("as_of", as_of),
                valid_at=maybe_time("valid_at", valid_at),
            )
            return answer({"results": hits})

    async def memory_fact_get(id: FactId, namespace: Namespace = None) -> CallToolResult:
        """Return one fact."""
        with told():
            return answer(await memory.facts.get(id, namespace=namespace))

    async def memory_fact_list(
        concept: str | None = None,
        category: str | None = None,
        tags: list[str] = [],  # noqa: B006 (pydantic copies it)
        as_of: MaybeTime = None,
        valid_at: MaybeTime = None,
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List facts that hold now, last updated first.

        as_of: as they were believed then; valid_at: what was true then.
        """
        with told():
            rows = await memory.facts.list(
                concept=concept,
                category=category,
                tags=tags,
                limit=limit,
                offset=BY_OFFSET.at(cursor),
                as_of=maybe_time("as_of", as_of),
                valid_at=maybe_time("valid_at", valid_at),
                namespace=namespace,
            )
        return answer(BY_OFFSET.page(rows, limit, cursor))

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
            return answer(
                await memory.facts.update(id, namespace=namespace, actor=_ACTOR, **changes)
            )

    async def memory_fact_delete(id: FactId, namespace: Namespace = None) -> CallToolResult:
        """Delete a fact; its history stays, and undo brings it back."""
        with told():
            await memory.facts.delete(id, namespace=namespace, actor=_ACTOR)
        return answer({"deleted": id})

    return [
        make_tool(memory_fact_update, CHANGES, "Correct a fact"),
        make_tool(memory_fact_delete, DELETES, "Delete a fact"),
    ]


def _history(memory: Memory) -> list[Tool]:
    async def memory_fact_history(
        id: FactId, limit: Limit = 20, namespace: Namespace = None
    ) -> CallToolResult:
        """Return what became of a fact, the last step first, with what it was before each."""
        with told():
            steps = await memory.facts.history(id, limit=limit, namespace=namespace)
            return answer({"items": steps})

    async def memory_fact_sources(id: FactId, namespace: Namespace = None) -> CallToolResult:
        """Return who said a fact, in which words, and how sure each was."""
        with told():
            return answer({"items": await memory.facts.sources(id, namespace=namespace)})

    async def memory_fact_undo(
        id: FactId,
        step: Annotated[
            int | None, Field(description="Its last step not yet undone, from its history.")
        ] = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Take back the last step of a fact: a merge, an end, a change or a deletion."""
        with told():
            return answer(await memory.facts.undo(id, step=step, namespace=namespace, actor=_ACTOR))

    return [
        make_tool(memory_fact_history, READS, "History of a fact"),
        make_tool(memory_fact_sources, READS, "Sources of a fact"),
        make_tool(memory_fact_undo, UNDOES, "Undo a step of a fact"),
    ]
