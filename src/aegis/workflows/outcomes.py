"""What is recorded of a step: its result and where it leads, or what becomes of its failure.

Pure: the clock, chance and the language of expressions are given.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from aegis.errors import AegisError, InvalidInput
from aegis.workflows.control import CONTROL, DECISION, PARALLEL
from aegis.workflows.execution import StepRecord
from aegis.workflows.models import CONTINUE, FAIL
from aegis.workflows.nodes.contract import retryable
from aegis.workflows.payload import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from random import Random

    from aegis.workflows.flow import Flow, Place
    from aegis.workflows.models import JSON

__all__ = ["Language", "completed", "failed", "following", "ways"]


#: The step ran to its end; another try would only do it again.
_TOO_LARGE: Final = ("payload_too_large", "context_too_large")


class Language(Protocol):
    """How expressions and templates are read, as `expressions` does; errors are `AegisError`s."""

    def holds(self, source: str, scope: Mapping[str, JSON]) -> bool:
        """Return whether a condition holds."""
        ...

    def evaluate(self, source: str, scope: Mapping[str, JSON]) -> JSON:
        """Return the value of an expression."""
        ...

    def resolve(self, value: JSON, scope: Mapping[str, JSON]) -> JSON:
        """Return `value` with each `{{ expression }}` in its texts replaced."""
        ...


def following(
    flow: Flow, place: Place, output: JSON, language: Language, about: Mapping[str, JSON]
) -> str | None:
    """Return the node that follows a result: the first edge that holds; None ends the branch.

    Raises:
        AegisError: an edge's `when` cannot be evaluated; or no edge of a decision holds.
    """
    if flow.node(place).type == PARALLEL:
        # Its branches are its result.
        return None
    edges = flow.graph.edges_from(place.node)
    scope: dict[str, JSON] | None = None
    for edge in edges:
        if edge.when is None:
            return edge.target
        if scope is None:
            scope = {**flow.scope(place.branch, **{place.node: output}), "execution": about}
        if language.holds(edge.when, scope):
            return edge.target
    if flow.node(place).type == DECISION:
        raise InvalidInput(
            f"No edge of the decision {place.node} holds; give it one without `when`.",
            code="no_way",
        )
    return None


def ways(flow: Flow, place: Place, language: Language, about: Mapping[str, JSON]) -> list[str]:
    """Return the nodes that follow a `parallel`: all to which an edge leads that holds.

    Raises:
        AegisError: an edge's `when` cannot be evaluated; or none holds.
    """
    scope = {**flow.scope(place.branch), "execution": about}
    found = [
        edge.target
        for edge in flow.graph.edges_from(place.node)
        if edge.when is None or language.holds(edge.when, scope)
    ]
    if not found:
        raise InvalidInput(
            f"No edge of {place.node} holds; give one of them no `when`.", code="no_way"
        )
    return list(dict.fromkeys(found))


def completed(
    flow: Flow,
    place: Place,
    output: JSON,
    language: Language,
    about: Mapping[str, JSON],
    *,
    started_at: datetime,
    now: datetime,
) -> StepRecord:
    """Return the record of a result that can be kept (`AegisError` where it leads nowhere)."""
    return StepRecord(
        seq=flow.seq + 1,
        node=place.node,
        branch=place.branch,
        visit=place.visit,
        attempt=place.attempt,
        status="completed",
        output=output,
        next_node=following(flow, place, output, language, about),
        started_at=started_at,
        finished_at=now,
    )


def failed(
    flow: Flow,
    place: Place,
    error: BaseException,
    language: Language,
    about: Mapping[str, JSON],
    *,
    started_at: datetime,
    now: datetime,
    rng: Random,
) -> StepRecord:
    """Return the record of a failure: another try later, or what `on_error` says."""
    node = flow.node(place)
    record = StepRecord(
        seq=flow.seq + 1,
        node=place.node,
        branch=place.branch,
        visit=place.visit,
        attempt=place.attempt,
        status="failed",
        error_code=code_of(error),
        error=message_of(error),
        started_at=started_at,
        finished_at=now,
    )
    tries = place.attempt - place.spent
    final = node.type in CONTROL or getattr(error, "code", None) in _TOO_LARGE
    mendable = not final and retryable(error, node.retry.non_retryable)
    if mendable and tries < node.retry.attempts:
        # Half of the pause is chance: what failed together does not come back together.
        pause_s = node.retry.pause_s(tries) * (0.5 + rng.random() / 2)
        pause_s = max(pause_s, float(getattr(error, "after_s", 0.0) or 0.0))
        return replace(record, status="retrying", due_at=now + timedelta(seconds=pause_s))
    if node.on_error == FAIL:
        return record
    if node.on_error != CONTINUE:
        return replace(record, next_node=node.on_error)
    output = {"error": {"code": record.error_code, "message": record.error}}
    try:
        way = following(flow, place, output, language, about)
    except AegisError as second:
        return replace(record, error_code=second.code, error=second.message)
    return replace(record, output=output, next_node=way)


def code_of(error: BaseException) -> str:
    """Return the stable code of an error; of one that is not ours, its class."""
    code: Any = getattr(error, "code", None)
    return code if isinstance(error, AegisError) and code else type(error).__name__


def message_of(error: BaseException) -> str:
    """Return an error's line, shortened; of one that is not ours, with its class."""
    if isinstance(error, AegisError):
        return shorten(error.message)
    return shorten(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
