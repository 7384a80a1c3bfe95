"""Tools of decisions: `memory_decision_record`, `memory_decision_resolve`, …"""

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
    MaybeFeedback,
    MaybeOutcome,
    MaybeTime,
    Namespace,
    OutcomeText,
    answer,
    make_tool,
    maybe_time,
    named,
    told,
)
from aegis.memory.decisions import MIN_SIMILARITY
from aegis.memory.models import ROLES
from aegis.wire.cursor import BY_OFFSET, DUE_DECISIONS

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["decision_tools"]

DecisionId = Annotated[int, Field(description="Id of the decision.")]
Confidence = Annotated[
    float | None, Field(description="How likely success seems, 0 to 1; be honest.")
]
Episodes = Annotated[
    list[Any] | None,
    Field(
        description="Episodes that led to it: ids, or objects with episode_id and role "
        f"({', '.join(ROLES)})."
    ),
]


def decision_tools(memory: Memory) -> list[Tool]:
    """Return the tools that work on `memory`'s decisions."""
    return [*_recording(memory), *_reading(memory), *_learning(memory), *_changing(memory)]


def _recording(memory: Memory) -> list[Tool]:
    async def memory_decision_record(
        task_context: Annotated[str, Field(description="What was to be decided.")],
        alternatives: Annotated[
            list[Any],
            Field(description="The options that there were: texts, or objects with a name."),
        ],
        chosen_option: Annotated[str, Field(description="One of the alternatives.")],
        reasoning: Annotated[str, Field(description="Why this one.")],
        episode_id: Annotated[
            int | None, Field(description="The episode it belongs to; its own if left out.")
        ] = None,
        confidence: Confidence = None,
        review_at: MaybeTime = None,
        episodes: Episodes = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Record a decision with its options and reasons; resolve it when the outcome is known.

        review_at says when that ought to be: memory_decision_due reminds you then.
        """
        with told():
            decision = await memory.decisions.record(
                task_context,
                alternatives=alternatives,
                chosen_option=chosen_option,
                reasoning=reasoning,
                episode_id=episode_id,
                confidence=confidence,
                review_at=maybe_time("review_at", review_at),
                episodes=episodes or (),
                namespace=namespace,
            )
        return answer(decision)

    async def memory_decision_resolve(
        id: DecisionId,
        outcome: OutcomeText,
        lessons: Annotated[str | None, Field(description="What to do next time.")] = None,
        details: dict[str, Any] | None = None,
        feedback: MaybeFeedback = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Record how a pending decision turned out. An outcome is recorded once."""
        with told():
            decision = await memory.decisions.resolve(
                id,
                outcome,  # pyright: ignore[reportArgumentType]
                lessons=lessons,
                details=details,
                feedback=feedback,  # pyright: ignore[reportArgumentType]
                namespace=namespace,
            )
        return answer(decision)

    return [
        make_tool(memory_decision_record, ADDS, "Record a decision"),
        make_tool(memory_decision_resolve, ADDS, "Record a decision's outcome"),
    ]


def _reading(memory: Memory) -> list[Tool]:
    async def memory_decision_recall(
        query: Annotated[str, Field(description="What is to be decided now, in words.")],
        k: Limit = 5,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Find earlier decisions of the same kind and how they turned out."""
        with told():
            hits = await memory.decisions.recall(query, k=k, namespace=namespace)
        results = [{"score": h.hit.score, "decision": h.decision} for h in hits]
        return answer({"results": results})

    async def memory_decision_get(id: DecisionId, namespace: Namespace = None) -> CallToolResult:
        """Return one decision."""
        with told():
            return answer(await memory.decisions.get(id, namespace=namespace))

    async def memory_decision_list(
        outcome: MaybeOutcome = None,
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List decisions, newest first; outcome=pending for those that wait for their outcome."""
        with told():
            rows = await memory.decisions.list(
                outcome=outcome,  # pyright: ignore[reportArgumentType]
                limit=limit,
                offset=BY_OFFSET.at(cursor),
                namespace=namespace,
            )
        return answer(BY_OFFSET.page(rows, limit, cursor))

    return [
        make_tool(memory_decision_recall, READS, "Recall decisions"),
        make_tool(memory_decision_get, READS, "Read one decision"),
        make_tool(memory_decision_list, READS, "List decisions"),
    ]


def _learning(memory: Memory) -> list[Tool]:
    async def memory_decision_advise(
        question: Annotated[str, Field(description="What is to be decided now, in words.")],
        options: Annotated[
            list[str] | None, Field(description="Between what; those chosen before if left out.")
        ] = None,
        k: Annotated[int, Field(description="How many decisions to compare, 1 to 1000.")] = 20,
        min_similarity: Annotated[
            float, Field(description="Leave out decisions less alike, 0 to 1.")
        ] = MIN_SIMILARITY,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Say how each option fared in similar decisions: counts, success rate, lessons.

        Ask before you choose. A rate comes with its sample and a 95 % interval: mind them. Where
        nothing similar is recorded, the summary says so.
        """
        with told():
            return answer(
                await memory.decisions.advise(
                    question,
                    options=options,
                    k=k,
                    min_similarity=min_similarity,
                    namespace=namespace,
                )
            )

    async def memory_decision_calibration(
        bins: Annotated[int, Field(description="How many bins, 1 to 50.")] = 10,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Compare the confidence that decisions stated with how often they succeeded."""
        with told():
            return answer(await memory.decisions.calibration(bins=bins, namespace=namespace))

    async def memory_decision_due(
        days: Annotated[int, Field(description="Age of one without review_at, 1 to 36500.")] = 14,
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List decisions whose outcome ought to be known by now, oldest first; resolve them."""
        with told():
            rows = await memory.decisions.due(
                days=days, limit=limit, after=DUE_DECISIONS.at(cursor), namespace=namespace
            )
        return answer(DUE_DECISIONS.page(rows, limit))

    return [
        make_tool(memory_decision_advise, READS, "Ask what earlier decisions teach"),
        make_tool(memory_decision_calibration, READS, "Compare confidence with outcomes"),
        make_tool(memory_decision_due, READS, "List decisions to look at again"),
    ]


def _changing(memory: Memory) -> list[Tool]:
    async def memory_decision_update(
        id: DecisionId,
        task_context: str | None = None,
        reasoning: str | None = None,
        lessons_learned: str | None = None,
        user_feedback: MaybeFeedback = None,
        outcome_details: dict[str, Any] | None = None,
        review_at: MaybeTime = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Correct a decision's words; what was chosen and how it ended stay."""
        with told():
            changes = named(
                task_context=task_context,
                reasoning=reasoning,
                lessons_learned=lessons_learned,
                user_feedback=user_feedback,
                outcome_details=outcome_details,
                review_at=maybe_time("review_at", review_at),
            )
            return answer(await memory.decisions.update(id, namespace=namespace, **changes))

    async def memory_decision_delete(id: DecisionId, namespace: Namespace = None) -> CallToolResult:
        """Delete a decision for ever; its episode stays."""
        with told():
            await memory.decisions.delete(id, namespace=namespace)
        return answer({"deleted": id})

    return [
        make_tool(memory_decision_update, CHANGES, "Correct a decision"),
        make_tool(memory_decision_delete, DELETES, "Delete a decision"),
    ]
