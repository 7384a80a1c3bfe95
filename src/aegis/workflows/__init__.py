"""Workflows: durable work that is data.

Owns `workflows`, `workflow_versions`, `workflow_executions`, `workflow_steps` and
`workflow_signals`. A workflow is a graph of nodes and edges, versioned; an execution is pinned to
its version. A finished step is never run again.

`task` registers a Python function for nodes of type `task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.workflows.nodes.task import task
    from aegis.workflows.service import Workflows

__all__ = ["Workflows", "task"]


def __getattr__(name: str) -> Any:
    # Whoever wants one module of this package does not load them all.
    if name == "task":
        from aegis.workflows.nodes.task import task

        return task
    if name == "Workflows":
        from aegis.workflows.service import Workflows

        return Workflows
    raise AttributeError(name)
