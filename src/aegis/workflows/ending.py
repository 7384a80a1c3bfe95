"""What a turn comes to: the execution goes on, is let go until a time, or is over.

Pure but for the settings that the engine carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError
from aegis.workflows.advance import next_due
from aegis.workflows.payload import encode, shorten
from aegis.workflows.store.writes import NewExecution, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.workflows.engine import Engine
    from aegis.workflows.execution import Reason, Status, StepRecord
    from aegis.workflows.flow import Flow
    from aegis.workflows.models import JSON
    from aegis.workflows.store.claims import Held

__all__ = ["MOST_TAKEOVERS", "Verdict", "judge", "write_of"]

#: Workers in a row that an execution may lose without a step recorded: it seems to kill them.
MOST_TAKEOVERS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an execution after a turn."""

    status: Status = "running"
    reason: Reason | None = None
    error: str | None = None
    output: JSON = None
    #: Whether its worker lets go of it.
    release: bool = False
    #: When something happens by itself.
    wake_at: datetime | None = None

    @property
    def ends(self) -> bool:
        """Return whether it is over."""
        return self.status != "running"


def judge(
    engine: Engine,
    held: Held,
    flow: Flow,
    about: Mapping[str, Any],
    *,
    now: datetime,
    busy: bool,
    ready: bool,
) -> Verdict:
    """Return the verdict; `busy`: steps are under way, `ready`: some could begin."""
    if flow.finished:
        return _finished(engine, flow, about)
    if flow.failure is not None:
        node, _, message = flow.failure
        return Verdict(status="failed", reason="step", error=shorten(f"{node}: {message}"))
    if held.deadline_at is not None and held.deadline_at <= now:
        return _over("deadline", f"It had not ended by {held.deadline_at:%Y-%m-%d %H:%M:%S} UTC.")
    if flow.seq >= engine.most_steps:
        return _over("ceiling", f"It took {flow.seq:,} steps, the most there may be; does it loop?")
    if held.takeovers >= MOST_TAKEOVERS:
        return _over(
            "crashed",
            f"{held.takeovers} workers in a row were lost at {flow.current}; does it kill them?",
        )
    times = [t for t in (next_due(flow), held.deadline_at) if t is not None]
    wake_at = min(times, default=None)
    paused = held.status != "running"
    far = wake_at is None or wake_at - now > timedelta(seconds=engine.hold_s)
    if not busy and (paused or (not ready and far)):
        return Verdict(reason="waiting", release=True, wake_at=wake_at)
    return Verdict(wake_at=wake_at)


def _over(reason: Reason, error: str) -> Verdict:
    return Verdict(status="failed", reason=reason, error=error)


def _finished(engine: Engine, flow: Flow, about: Mapping[str, Any]) -> Verdict:
    output = flow.result
    try:
        if flow.graph.output is not None:
            scope = {**flow.scope(""), "execution": about}
            output = engine.language.evaluate(flow.graph.output, scope)
        encode(output, "The output")
    except AegisError as error:
        return _over("step", shorten(f"output: {error.message}"))
    return Verdict(status="completed", output=output)


def write_of(
    held: Held,
    flow: Flow,
    verdict: Verdict,
    records: Sequence[StepRecord],
    children: Sequence[NewExecution],
    taken: Sequence[tuple[int, str]],
) -> Write:
    """Return what is to be written of a turn."""
    nodes = {
        r.node: r.output
        for r in records
        if not r.branch and (r.status == "completed" or r.output is not None)
    }
    return Write(
        id=held.id,
        token=held.token,
        status=verdict.status,
        reason=verdict.reason,
        current_node=flow.failure[0] if flow.failure is not None else flow.current,
        error=verdict.error,
        nodes=nodes or None,
        output=verdict.output,
        steps=flow.seq,
        records=records,
        children=children,
        taken=taken,
        release=verdict.release,
        wake_at=verdict.wake_at,
        seen=held.signals,
        parent_id=held.parent_id,
    )
