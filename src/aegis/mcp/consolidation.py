"""Tools of consolidation and audit: `memory_proposal_list`, …, `memory_audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.errors import InvalidInput
from aegis.mcp.tools import (
    CHANGES,
    READS,
    UNDOES,
    Cursor,
    Limit,
    Namespace,
    answer,
    make_tool,
    told,
)
from aegis.memory.audit.report import REPAIRABLE
from aegis.memory.consolidation.proposal import STATES
from aegis.memory.validate import namespace_of
from aegis.wire.cursor import BY_ID

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["upkeep_tools"]

ProposalId = Annotated[int, Field(description="Id of the proposal.")]
StateText = Annotated[
    str,
    Field(description="What became of it.", json_schema_extra={"enum": [*STATES, "all"]}),
]
#: Checks of namespaces beside one another: an agent has no say in those of others.
_OF_ALL = ("namespaces_similar", "namespaces_skew")
KindText = Annotated[
    str,
    Field(
        description="Id of the check.",
        json_schema_extra={"enum": [kind for kind in REPAIRABLE if kind not in _OF_ALL]},
    ),
]
WayText = Annotated[
    str | None,
    Field(
        description="decisions_open: remind or close; facts_expired: follow or archive.",
        json_schema_extra={"enum": ["remind", "close", "follow", "archive", None]},
    ),
]
#: Who did it, in the history.
_ACTOR = "mcp"


def upkeep_tools(memory: Memory) -> list[Tool]:
    """Return the tools that keep `memory` in good order."""
    return [*_proposals(memory), *_deciding(memory), *_audit(memory)]


def _proposals(memory: Memory) -> list[Tool]:
    async def memory_proposal_list(
        state: StateText = "proposed",
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List facts and patterns that like episodes suggest, with their episodes' ids."""
        with told():
            rows = await memory.consolidation.proposals(
                state=None if state == "all" else state,  # pyright: ignore[reportArgumentType]
                limit=limit,
                after=BY_ID.at(cursor),
                namespace=namespace,
            )
        return answer(BY_ID.page(rows, limit, cursor))

    async def memory_proposal_get(id: ProposalId, namespace: Namespace = None) -> CallToolResult:
        """Return one proposal."""
        with told():
            return answer(await memory.consolidation.get(id, namespace=namespace))

    return [
        make_tool(memory_proposal_list, READS, "List proposals"),
        make_tool(memory_proposal_get, READS, "Read one proposal"),
    ]


def _deciding(memory: Memory) -> list[Tool]:
    async def memory_proposal_accept(id: ProposalId, namespace: Namespace = None) -> CallToolResult:
        """Make a fact of a proposal, if its episodes bear it out; undo takes exactly that back."""
        with told():
            return answer(await memory.consolidation.accept(id, namespace=namespace, actor=_ACTOR))

    async def memory_proposal_reject(id: ProposalId, namespace: Namespace = None) -> CallToolResult:
        """Refuse a proposal; it comes back only with twice the evidence."""
        with told():
            return answer(await memory.consolidation.reject(id, namespace=namespace, actor=_ACTOR))

    async def memory_proposal_undo(id: ProposalId, namespace: Namespace = None) -> CallToolResult:
        """Take back what accepting a proposal did to facts."""
        with told():
            return answer(await memory.consolidation.undo(id, namespace=namespace, actor=_ACTOR))

    return [
        make_tool(memory_proposal_accept, CHANGES, "Accept a proposal"),
        make_tool(memory_proposal_reject, CHANGES, "Reject a proposal"),
        make_tool(memory_proposal_undo, UNDOES, "Undo an accepted proposal"),
    ]


def _audit(memory: Memory) -> list[Tool]:
    async def memory_audit(namespace: Namespace = None) -> CallToolResult:
        """Check one memory for junk, doubles, contradictions, orphans and what is stale.

        Nothing is changed; memory_audit_repair repairs what a finding names.
        """
        with told():
            # A namespace of its own alone: an agent is not told of those of others.
            place = namespace_of(namespace, memory.namespace)
            return answer(await memory.audit.run(namespace=place))

    async def memory_audit_repair(
        kind: KindText,
        way: WayText = None,
        dry_run: Annotated[bool, Field(description="False does it.")] = True,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Repair what a check of memory_audit found in one memory; look first, with dry_run.

        What is taken away or overwritten can be put back, as the answer's undo says.
        """
        with told():
            place = namespace_of(namespace, memory.namespace)
            if kind in _OF_ALL:
                raise InvalidInput(f"{kind} concerns several memories; a person repairs it.")
            return answer(
                await memory.audit.repair(
                    kind, way=way, namespace=place, dry_run=dry_run, actor=_ACTOR
                )
            )

    return [
        make_tool(memory_audit, READS, "Audit the memory"),
        make_tool(memory_audit_repair, CHANGES, "Repair the memory"),
    ]
