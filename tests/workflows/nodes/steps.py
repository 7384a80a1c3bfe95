"""Steps as nodes get them, without an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aegis.config import load_settings
from aegis.workflows.nodes.contract import Step

if TYPE_CHECKING:
    from aegis.workflows.nodes.contract import Parts


@dataclass
class SomeParts:
    """What of a client a test has."""

    settings: Any = None
    db: Any = None
    memory: Any = None
    research: Any = None
    intel: Any = None


def a_step(
    *,
    params: dict[str, Any],
    settings: Any = None,
    conn: Any = None,
    node: str = "one",
    **parts: Any,
) -> Step:
    """Return the first attempt at a node."""
    some = SomeParts(settings=settings or load_settings({}), **parts)
    return Step(
        execution_id="00000000-0000-0000-0000-000000000001",
        node=node,
        branch="",
        attempt=1,
        params=params,
        input={},
        scope={"input": {}, "nodes": {}, "execution": {"namespace": "team"}},
        idempotency_key="key-1",
        parts=cast("Parts", some),
        conn=conn,
    )
