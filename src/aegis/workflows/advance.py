"""What the engine does itself: decisions, fan-outs, joins, and waits that begin or end.

`advance` is pure: it moves the flow as far as it goes without running a step, and returns what is
to be recorded for that.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import AegisError, InvalidInput, LimitExceeded, Unavailable
from aegis.workflows import control, outcomes
from aegis.workflows.execution import StepRecord
from aegis.workflows.payload import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from aegis.workflows.execution import Signal
    from aegis.workflows.flow import Flow, Place
    from aegis.workflows.models import JSON
    from aegis.workflows.outcomes import Language

__all__ = ["Advanced", "Child", "Ended", "World", "advance", "approval_name", "step_key"]

_NAMESPACE: Final = uuid.UUID("6f0f4c0a-93a5-4f0e-8f3f-1a2b7c1c2e20")
#: Longest wait in seconds, some 100 years: a date far away is a slip of the pen.
_MOST_SECONDS: Final = 3_200_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child execution ended."""

    completed: bool
    output: JSON
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A child execution to start with the record of the wait for it."""

    id: str
    workflow: str
    version: int | None
    input: dict[str, JSON]


@dataclass(slots=True, kw_only=True)
class World:
    """What an execution is told from outside; signals that a node takes are taken off the list."""

    execution_id: str
    about: Mapping[str, JSON]
    language: Language
    rng: Random
    signals: list[Signal] = field(default_factory=list["Signal"])
    #: By id; only children that have ended.
    ended: dict[str, Ended] = field(default_factory=dict[str, Ended])


@dataclass(slots=True, kw_only=True)
class Advanced:
    """What is to be recorded, all of it at once."""

    records: list[StepRecord] = field(default_factory=list[StepRecord])
    children: list[Child] = field(default_factory=list[Child])
    #: Ids of signals and the step that took each.
    taken: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def approval_name(node: str, branch: str = "") -> str:
    """Return the name of the signal that answers an approval."""
    return f"approval:{branch}/{node}" if branch else f"approval:{node}"


def step_key(execution_id: str, place: Place) -> str:
    """Return the idempotency key: the same for every attempt at a node, branch and visit."""
    name = f"{execution_id}\0{place.branch}\0{place.node}\0{place.visit}"
    return str(uuid.uuid5(_NAMESPACE, name))


def advance(flow: Flow, world: World, now: datetime, *, most: int) -> Advanced:
    """Move the flow until only steps to run, and waits, are left; at most `most` records."""
    done = Advanced()
    moved = True
    while moved and not flow.finished and flow.failure is None:
        moved = False
        for branch in list(flow.places):
            place = flow.places.get(branch)
            if place is None or len(done.records) >= most:
                continue
            record = _move(flow, place, world, now, done)
            if record is not None:
                done.records.append(record)
                flow.apply(record)
                moved = True
            if flow.failure is not None:
                break
    return done


def _move(
    flow: Flow, place: Place, world: World, now: datetime, done: Advanced
) -> StepRecord | None:
    if place.state == "retrying" and place.due_at is not None and place.due_at <= now:
        place.state, place.due_at = "ready", None
    if flow.node(place).type not in control.CONTROL or place.state not in ("ready", "waiting"):
        return None
    try:
        if place.state == "waiting":
            return _waited(flow, place, world, now, done)
        return _begin(flow, place, world, now, done)
    except AegisError as error:
        return _failure(flow, place, world, error, now)


def _begin(
    flow: Flow, place: Place, world: World, now: datetime, done: Advanced
) -> StepRecord | None:
    node = flow.node(place)
    if node.type == control.DECISION:
        return _result(flow, place, world, None, now)
    if node.type == control.PARALLEL:
        ways = outcomes.ways(flow, place, world.language, world.about)
        return _result(flow, place, world, ways, now)
    if node.type == control.JOIN:
        fan = flow.fans.get(place.branch)
        return _result(flow, place, world, fan.joined() if fan else [], now)
    scope = {**flow.scope(place.branch), "execution": world.about}
    params: Any = world.language.resolve(dict(node.params), scope)
    if node.type == control.FAN_OUT:
        return _result(flow, place, world, _items(params.get("items"), place), now)
    due_at, waits_for = _wait(node.type, params, place, world, now, done)
    return StepRecord(
        seq=flow.seq + 1,
        node=place.node,
        branch=place.branch,
        visit=place.visit,
        attempt=0,
        status="waiting",
        input=waits_for,
        due_at=due_at,
        started_at=now,
    )


def _items(items: Any, place: Place) -> list[Any]:
    if not isinstance(items, list):
        raise InvalidInput(
            f"items of {place.node} is {type(items).__name__}; a list is fanned out.",
            code="not_a_list",
        )
    found = cast("list[Any]", items)
    if len(found) > control.MOST_BRANCHES:
        raise LimitExceeded(
            f"{place.node} has {len(found):,} items; up to {control.MOST_BRANCHES:,} are fanned "
            "out. Group them.",
            code="too_many_items",
        )
    return found


def _wait(
    kind: str, params: Mapping[str, Any], place: Place, world: World, now: datetime, done: Advanced
) -> tuple[datetime | None, JSON]:
    """Return when a wait ends by itself, and what it waits for."""
    if kind == control.WAIT_UNTIL:
        return _time(params.get("time"), place), None
    if kind == control.WAIT_FOR:
        return _later(params.get("seconds"), "seconds", place, now), None
    if kind == control.SUB_WORKFLOW:
        child = _child(params, place, world)
        done.children.append(child)
        return None, {"child": child.id, "workflow": child.workflow}
    timeout_s = params.get("timeout_s")
    due_at = None if timeout_s is None else _later(timeout_s, "timeout_s", place, now)
    if kind == control.SIGNAL:
        return due_at, {"signal": str(params.get("name"))}
    asked = {"message": params.get("message"), "data": params.get("data")}
    return due_at, {"signal": approval_name(place.node, place.branch), **asked}


def _child(params: Mapping[str, Any], place: Place, world: World) -> Child:
    given: Any = params.get("input") or {}
    if not isinstance(given, dict):
        raise InvalidInput(f"input of {place.node} is no object; write names and values.")
    values = cast("dict[str, JSON]", given)
    version = params.get("version")
    return Child(
        id=step_key(world.execution_id, place),
        workflow=str(params.get("workflow")),
        version=version if isinstance(version, int) else None,
        input=values,
    )


def _time(value: Any, place: Place) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"time of {place.node} is {value!r}; write it as 2026-01-31T09:00:00+00:00.",
            code="not_a_time",
        ) from None
    if time.tzinfo is None:
        raise InvalidInput(
            f"time of {place.node} is {value!r}, without an offset; end it with +00:00 or Z.",
            code="not_a_time",
        )
    return time.astimezone(UTC)


def _later(seconds: Any, field: str, place: Place, now: datetime) -> datetime:
    number = seconds
    if isinstance(seconds, str):
        try:
            number = float(seconds)
        except ValueError:
            number = None
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not (0 <= number <= _MOST_SECONDS)
    ):
        raise InvalidInput(
            f"{field} of {place.node} is {seconds!r}; write seconds, from 0.", code="not_a_time"
        )
    return now + timedelta(seconds=number)


def _waited(
    flow: Flow, place: Place, world: World, now: datetime, done: Advanced
) -> StepRecord | None:
    node = flow.node(place)
    due = place.due_at is not None and place.due_at <= now
    if node.type in (control.WAIT_UNTIL, control.WAIT_FOR):
        return _result(flow, place, world, now.isoformat(), now) if due else None
    asked: dict[str, Any] = place.waits_for or {}
    if node.type == control.SUB_WORKFLOW:
        ended = world.ended.get(asked.get("child", ""))
        if ended is None:
            return None
        if ended.completed:
            return _result(flow, place, world, ended.output, now)
        raise Unavailable(
            f"{asked.get('workflow')} failed: {ended.error}", code="sub_workflow_failed"
        )
    signal = next((s for s in world.signals if s.name == asked.get("signal")), None)
    if signal is not None:
        record = _result(flow, place, world, signal.payload, now)
        world.signals.remove(signal)
        done.taken.append((signal.id, f"{place.branch}/{place.node}#{place.visit}"))
        return record
    if due:
        raise Unavailable(
            f"{asked.get('signal')} did not come before {place.due_at:%Y-%m-%d %H:%M:%S} UTC.",
            code="timed_out",
        )
    return None


def _result(flow: Flow, place: Place, world: World, output: JSON, now: datetime) -> StepRecord:
    encode(output, f"The result of {place.node}")
    return outcomes.completed(
        flow, place, output, world.language, world.about, started_at=now, now=now
    )


def _failure(
    flow: Flow, place: Place, world: World, error: AegisError, now: datetime
) -> StepRecord:
    return outcomes.failed(
        flow, place, error, world.language, world.about, started_at=now, now=now, rng=world.rng
    )


def next_due(flow: Flow) -> datetime | None:
    """Return when a wait or a pause between tries ends by itself; None if none does."""
    times: Sequence[datetime] = [
        p.due_at
        for p in flow.places.values()
        if p.state in ("waiting", "retrying") and p.due_at is not None
    ]
    return min(times, default=None)
