"""Tools of workflows. Approvals are a person's to give: no tool answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import ADDS, CHANGES, READS, UNDOES, answer, make_tool, told
from aegis.workflows.reading import json_of

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.workflows.service import Workflows

__all__ = ["workflow_tools"]

Id = Annotated[str, Field(description="The execution, by id.")]
Name = Annotated[str, Field(description="The workflow, by name.")]
MaybeInput = Annotated[
    dict[str, Any] | None, Field(description="Names and values of the workflow's input.")
]


def workflow_tools(workflows: Workflows) -> list[Tool]:
    """Return the tools that define, start and follow `workflows`."""
    return [
        *_reading_tools(workflows),
        _save_tool(workflows),
        *_execution_tools(workflows),
        *_acts(workflows),
    ]


def _reading_tools(workflows: Workflows) -> list[Tool]:
    async def workflow_list() -> CallToolResult:
        """List the workflows there are, with what each is for and the input it wants."""
        with told():
            found = await workflows.list(limit=1_000)
            return answer(
                {
                    "items": [
                        {
                            "name": one.name,
                            "version": one.version,
                            "description": one.graph.description,
                            "required": list(one.graph.required),
                            "defaults": dict(one.graph.defaults),
                        }
                        for one in found
                    ]
                }
            )

    async def workflow_show(
        name: Name,
        version: Annotated[int | None, Field(description="The newest if left out.")] = None,
    ) -> CallToolResult:
        """Show a workflow's graph: its nodes, their parameters, and the edges between them."""
        with told():
            found = await workflows.get(name, version)
            graph = json_of(found.graph)
            return answer({"name": found.name, "version": found.version, "graph": graph})

    async def workflow_types() -> CallToolResult:
        """List the types of nodes that a workflow may have, with their parameters."""
        from aegis.workflows.nodes.registry import node_types

        items: list[dict[str, Any]] = []
        for kind in node_types().values():
            params: Any = getattr(kind, "params", {})
            said = {n: ("required. " if p.required else "") + p.doc for n, p in params.items()}
            items.append({"type": kind.name, "what": getattr(kind, "doc", ""), "params": said})
        with told():
            return answer({"items": items})

    return [
        make_tool(workflow_list, READS, "List workflows"),
        make_tool(workflow_show, READS, "Show a workflow"),
        make_tool(workflow_types, READS, "Types of nodes"),
    ]


def _save_tool(workflows: Workflows) -> Tool:
    async def workflow_save(
        graph: Annotated[
            dict[str, Any],
            Field(
                description="name, start, nodes {name: {type, params, retry, timeout_s, "
                "on_error}}, edges [{from, to, when}], defaults, required, output."
            ),
        ],
    ) -> CallToolResult:
        """Save a workflow as its newest version; what is wrong is named by node and field.

        Text in params may hold {{ CEL }} over input, nodes.NAME, item, index and execution; `when`
        is CEL. Executions that run stay with their version.
        """
        with told():
            saved, new = await workflows.save(graph)
            return answer({"name": saved.name, "version": saved.version, "new": new})

    return make_tool(workflow_save, ADDS, "Save a workflow")


def _execution_tools(workflows: Workflows) -> list[Tool]:
    async def workflow_run(
        name: Name,
        input: MaybeInput = None,
        key: Annotated[
            str | None, Field(description="What makes a second start the same start.")
        ] = None,
    ) -> CallToolResult:
        """Start a workflow and return its execution at once; workflow_status tells how it goes."""
        with told():
            return answer(await workflows.start(name, input, key=key))

    async def workflow_executions(
        workflow: Annotated[str | None, Field(description="Of this workflow.")] = None,
        status: Annotated[
            str | None, Field(description="running, completed, failed or interrupted.")
        ] = None,
        limit: Annotated[int, Field(description="How many at most.")] = 20,
    ) -> CallToolResult:
        """List executions of workflows, the latest started first."""
        chosen: Any = status
        with told():
            rows = await workflows.executions(workflow=workflow, status=chosen, limit=limit)
            return answer({"items": rows})

    async def workflow_status(id: Id) -> CallToolResult:
        """Tell how an execution stands: status, node, results so far, output, what it waits for."""
        with told():
            return answer(await workflows.execution(id))

    async def workflow_history(
        id: Id, after: Annotated[int, Field(description="Steps above this number.")] = 0
    ) -> CallToolResult:
        """List the steps of an execution in order, an item an attempt, with results and errors."""
        with told():
            return answer({"items": await workflows.history(id, after=after, limit=200)})

    return [
        make_tool(workflow_run, ADDS, "Start a workflow"),
        make_tool(workflow_executions, READS, "List executions"),
        make_tool(workflow_status, READS, "How an execution stands"),
        make_tool(workflow_history, READS, "Steps of an execution"),
    ]


def _acts(workflows: Workflows) -> list[Tool]:
    async def workflow_signal(
        id: Id,
        name: Annotated[str, Field(description="Name of the signal.")],
        payload: Annotated[
            dict[str, Any] | list[Any] | str | float | bool | None,
            Field(description="What it carries."),
        ] = None,
        key: Annotated[
            str | None, Field(description="What makes a second signal the same signal.")
        ] = None,
    ) -> CallToolResult:
        """Tell an execution something that a node waits for; approvals are a person's to give."""
        with told():
            return answer({"sent": await workflows.signal(id, name, payload, key=key)})

    async def workflow_cancel(
        id: Id, reason: Annotated[str | None, Field(description="Why.")] = None
    ) -> CallToolResult:
        """End an execution, and those that it started; it counts as failed."""
        with told():
            return answer(await workflows.cancel(id, reason=reason))

    async def workflow_pause(id: Id) -> CallToolResult:
        """Interrupt an execution: no further step begins until workflow_resume."""
        with told():
            return answer(await workflows.pause(id))

    async def workflow_resume(id: Id, input: MaybeInput = None) -> CallToolResult:
        """Go on with an interrupted execution; values given are laid over its input."""
        with told():
            return answer(await workflows.resume(id, input))

    async def workflow_retry(
        id: Id,
        from_node: Annotated[
            str | None, Field(description="Begin here; where it failed if left out.")
        ] = None,
    ) -> CallToolResult:
        """Run a failed execution again; steps that finished are not run again."""
        with told():
            return answer(await workflows.retry(id, from_node))

    async def workflow_fork(
        id: Id,
        from_step: Annotated[int, Field(description="Number of the step to run anew.")],
        input: MaybeInput = None,
    ) -> CallToolResult:
        """Start another execution that shares the steps before one; the first one stays."""
        with told():
            return answer(await workflows.fork(id, from_step, input))

    return [
        make_tool(workflow_signal, ADDS, "Tell an execution something"),
        make_tool(workflow_cancel, CHANGES, "End an execution"),
        make_tool(workflow_pause, CHANGES, "Interrupt an execution"),
        make_tool(workflow_resume, UNDOES, "Go on with an execution"),
        make_tool(workflow_retry, UNDOES, "Run a failed execution again"),
        make_tool(workflow_fork, ADDS, "Run an execution from a step on"),
    ]
