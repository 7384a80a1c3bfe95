"""The language of conditions and templates, as the engine asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.workflows import expressions, templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.workflows.models import JSON

__all__ = ["Cel"]


class Cel:
    """CEL in conditions and between `{{` and `}}`."""

    def holds(self, source: str, scope: Mapping[str, JSON]) -> bool:
        """Return whether a condition holds."""
        return expressions.holds(source, scope)

    def evaluate(self, source: str, scope: Mapping[str, JSON]) -> JSON:
        """Return the value of an expression."""
        return expressions.evaluate(source, scope)

    def resolve(self, value: JSON, scope: Mapping[str, JSON]) -> JSON:
        """Return `value` with each `{{ expression }}` in its texts replaced."""
        return templates.resolve(value, scope)
