"""The engine of a client, as a worker runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.workflows.engine import Engine
from aegis.workflows.language import Cel
from aegis.workflows.nodes.registry import get_type
from aegis.workflows.work import WorkflowsKind

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Parts

__all__ = ["kind_of"]


def kind_of(parts: Parts) -> WorkflowsKind:
    """Return the work of executions, whose steps may use the parts of a client."""
    timeout_s = parts.settings.workflows_step_timeout_s
    return WorkflowsKind(Engine(parts, get_type, Cel(), step_timeout_s=timeout_s))
