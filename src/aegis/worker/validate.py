"""What jobs and schedules may be; each refusal names the field, the value and the range."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import InvalidInput
from aegis.worker import cron
from aegis.worker.models import JOB_STATES, MISSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.worker.models import NewJob, NewSchedule, ProviderRate

__all__ = [
    "MOST_JOBS",
    "check_job",
    "check_limit",
    "check_name",
    "check_rate",
    "check_result",
    "check_schedule",
    "check_states",
]

#: Jobs of one call.
MOST_JOBS: Final = 10_000
_MOST_BYTES: Final = 1_000_000
_MOST_DEPTH: Final = 64
#: Names stand in addresses.
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]+")


def check_name(name: str, value: Any, *, most: int) -> str:
    """Return a short printable text (`InvalidInput`)."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidInput(f"{name} is {_short(value)}; use printable characters, not only blanks.")
    if len(value) > most:
        raise InvalidInput(f"{name} has {len(value)} characters; up to {most} are taken.")
    return value


def check_limit(value: Any, *, most: int = 1_000) -> int:
    """Return how many are asked for (`InvalidInput`)."""
    return _number("limit", value, 1, most)


def check_states(states: Sequence[str]) -> Sequence[str]:
    """Return the states, all of them for none (`InvalidInput`)."""
    for state in states:
        if state not in JOB_STATES:
            raise InvalidInput(f"state is {_short(state)}; use one of {', '.join(JOB_STATES)}.")
    return states or JOB_STATES


def check_job(job: NewJob) -> None:
    """Refuse a job that cannot be (`InvalidInput`)."""
    check_name("function", job.function, most=200)
    for name in ("key", "unique_key"):
        if getattr(job, name) is not None:
            check_name(name, getattr(job, name), most=200)
    if job.provider is not None:
        check_name("provider", job.provider, most=100)
    if job.due_at is not None and job.due_at.tzinfo is None:
        raise InvalidInput(f"due_at is {job.due_at.isoformat()}; add a zone, such as +00:00.")
    _number("max_attempts", job.max_attempts, 1, 1_000)
    _check_call(job.arguments, job.priority, job.timeout_s)


def check_schedule(schedule: NewSchedule) -> None:
    """Refuse a schedule that cannot be (`InvalidInput`)."""
    check_name("name", schedule.name, most=100)
    if not _NAME.fullmatch(schedule.name):
        raise InvalidInput(
            f"name is {_short(schedule.name)}; use letters, digits and any of . _ - :"
        )
    check_name("function", schedule.function, most=200)
    check_name("created_by", schedule.created_by, most=100)
    cron.check(schedule.cron, schedule.timezone)
    if schedule.missed not in MISSED:
        raise InvalidInput(f"missed is {_short(schedule.missed)}; use one of {', '.join(MISSED)}.")
    _number("grace_s", schedule.grace_s, 0, 86_400)
    _number("jitter_s", schedule.jitter_s, 0, 86_400)
    _number("max_attempts", schedule.max_attempts, 1, 1_000)
    _check_call(schedule.arguments, schedule.priority, schedule.timeout_s)


def check_rate(rate: ProviderRate) -> None:
    """Refuse a rate that cannot be (`InvalidInput`)."""
    check_name("provider", rate.provider, most=100)
    if not 1e-3 <= rate.per_minute <= 1e6:
        raise InvalidInput(f"per_minute is {rate.per_minute:g}; use 0.001 to 1,000,000.")
    _number("burst", rate.burst, 1, 100_000)


def check_result(value: Any) -> None:
    """Refuse a result that cannot be stored (`InvalidInput`)."""
    _check_json("result", value)


def _check_call(arguments: Any, priority: Any, timeout_s: Any) -> None:
    if not isinstance(arguments, dict):
        raise InvalidInput(f"arguments is {_short(arguments)}; it is an object.")
    _check_json("arguments", arguments)
    _number("priority", priority, 0, 9)
    if timeout_s is not None:
        _number("timeout_s", timeout_s, 1, 604_800)


def _check_json(name: str, value: Any) -> None:
    if value is None:
        return
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}.") from None
    if size > _MOST_BYTES:
        raise InvalidInput(f"{name} has {size:,} bytes as JSON; up to {_MOST_BYTES:,} are taken.")
    _check_parts(name, value)


def _check_parts(name: str, value: Any) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        parts: list[Any] = []
        for item in level:
            if isinstance(item, str) and "\0" in item:
                raise InvalidInput(f"{name} holds a NUL character, which PostgreSQL cannot store.")
            if isinstance(item, dict):
                parts += [*item.keys(), *item.values()]  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(item, list | tuple):
                parts += item
        level = parts
        depth += 1
        if depth > _MOST_DEPTH:
            raise InvalidInput(f"{name} is nested deeper than {_MOST_DEPTH}.")


def _number(name: str, value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInput(f"{name} is {_short(value)}; use a whole number, {least:,} to {most:,}.")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
