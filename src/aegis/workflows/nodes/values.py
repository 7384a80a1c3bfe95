"""Making values of others: every parameter may be an expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Step

__all__ = ["SetValue"]


class SetValue(Kind):
    """Makes a value."""

    name = "set"
    doc = "Makes a value of others: a choice, a sum, a list in another form."
    result = "The value."
    params: ClassVar[Mapping[str, Param]] = {
        "value": Param("any", "Text, a list, an object, with expressions in it.", required=True)
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Return the value, which has been resolved."""
        _ = step
        return params["value"]
