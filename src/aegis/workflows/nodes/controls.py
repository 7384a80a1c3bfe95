"""Types that the engine carries out: ways through the graph, and waiting. See `control.py`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from aegis.workflows import control
from aegis.workflows.models import Problem
from aegis.workflows.nodes.kind import Control
from aegis.workflows.nodes.params import Param
from aegis.workflows.templates import has_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.workflows.models import JSON

__all__ = [
    "Approval",
    "Decision",
    "FanOut",
    "Join",
    "Parallel",
    "SignalWait",
    "SubWorkflow",
    "WaitFor",
    "WaitUntil",
]

#: Some hundred years; longer is a slip of the pen.
_MOST_SECONDS = 3_200_000_000.0
_TIMEOUT = Param(
    "number", "Seconds until it fails with `timed_out`; for ever if left out.", most=_MOST_SECONDS
)


class Decision(Control):
    """Chooses the way."""

    name = control.DECISION
    doc = "Chooses the first of its edges whose `when` holds; it fails where none does."
    result = "null"


_ERRORS = Param(
    "text",
    "`fail` ends all with the first branch that fails; `collect` makes "
    '`{"error": {"code", "message"}}` its result.',
    default="fail",
    choices=("fail", "collect"),
    literal=True,
)


class FanOut(Control):
    """Goes on once for each item."""

    name = control.FAN_OUT
    doc = (
        "Runs what follows it, up to the join, once for each item; there `item` and `index` can be "
        "named."
    )
    result = "The list; the join's result is the list of the branches' results."
    params: ClassVar[Mapping[str, Param]] = {
        "items": Param("list", "What to fan out over.", required=True, most=control.MOST_BRANCHES),
        "concurrency": Param(
            "whole",
            "Branches at once.",
            default=10,
            least=1,
            most=control.MOST_CONCURRENCY,
            literal=True,
        ),
        "errors": _ERRORS,
    }


class Parallel(Control):
    """Goes on in several ways at once."""

    name = control.PARALLEL
    doc = (
        "Follows every one of its edges whose `when` holds or is missing, all at once, up to the "
        "join; it fails where none holds."
    )
    result = (
        "Names of the nodes that its branches begin with; the join's result is an object of the "
        "branches' results by these names."
    )
    params: ClassVar[Mapping[str, Param]] = {"errors": _ERRORS}


class Join(Control):
    """Waits for all branches."""

    name = control.JOIN
    doc = "Waits for every branch of the `fan_out` or `parallel` before it."
    result = (
        "Results of the branches: a list in the order of the items; of `parallel` an object by the "
        "node that each began with."
    )


class SubWorkflow(Control):
    """Runs another workflow."""

    name = control.SUB_WORKFLOW
    doc = "Starts another workflow and waits for its end."
    result = "What the other workflow returned."
    params: ClassVar[Mapping[str, Param]] = {
        "workflow": Param("text", "Name of the workflow.", required=True, least=1, most=100),
        "version": Param("whole", "Its version; the newest active one if left out.", least=1),
        "input": Param("object", "Its input."),
    }


class WaitFor(Control):
    """Waits for a while."""

    name = control.WAIT_FOR
    doc = "Waits for some seconds; no worker is held meanwhile."
    result = "The time at which it ended."
    params: ClassVar[Mapping[str, Param]] = {
        "seconds": Param("number", "Seconds to wait.", required=True, most=_MOST_SECONDS)
    }


class WaitUntil(Control):
    """Waits for a time."""

    name = control.WAIT_UNTIL
    doc = "Waits until a time; no worker is held meanwhile."
    result = "The time at which it ended."
    params: ClassVar[Mapping[str, Param]] = {
        "time": Param(
            "text", "ISO 8601 with an offset: `2026-05-01T09:00:00+02:00`.", required=True
        )
    }

    def check_more(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with the time."""
        time: Any = params.get("time")
        if not isinstance(time, str) or has_template(time):
            return ()
        try:
            known = datetime.fromisoformat(time).tzinfo is not None
        except ValueError:
            known = False
        said = f"is {time[:40]!r}; write it as 2026-01-31T09:00:00+00:00, with its offset"
        return () if known else [Problem(node="", field="params.time", message=said)]


class SignalWait(Control):
    """Waits for a signal."""

    name = control.SIGNAL
    doc = "Waits for a signal from outside, also one that came before."
    result = "What the signal carried."
    params: ClassVar[Mapping[str, Param]] = {
        "name": Param("text", "Name of the signal.", required=True, least=1, most=200),
        "timeout_s": _TIMEOUT,
    }


class Approval(Control):
    """Waits for a person."""

    name = control.APPROVAL
    doc = "Waits until a person approves or rejects; ask `.approved` in the edges that leave it."
    result = '`{"approved": true or false, "by", "comment"}`'
    params: ClassVar[Mapping[str, Param]] = {
        "message": Param("text", "The question.", required=True, least=1, most=10_000),
        "data": Param("any", "What the person needs to see."),
        "timeout_s": _TIMEOUT,
    }
