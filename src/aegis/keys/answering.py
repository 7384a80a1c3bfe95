"""What is asked of the database about calls, and its answers as verifications. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aegis.keys.limits import state_of
from aegis.keys.models import RATE_LIMIT, Binding, QuotaState, Verification
from aegis.keys.secret import is_one_of
from aegis.keys.validate import accepted_scopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.keys.models import Code, Limit, LimitState
    from aegis.keys.store.verification import Answer

__all__ = ["NOT_FOUND", "Question", "aged", "answers", "request"]

NOT_FOUND: Final = Verification(valid=False, code="NOT_FOUND")
_MINUTE_US: Final = 60_000_000


class Question(NamedTuple):
    """What is asked about a key; calls with the same question are counted together."""

    hashes: tuple[str, ...]
    scope: str | None
    limits: tuple[Limit, ...]


def request(number: int, question: Question, costs: Sequence[int]) -> dict[str, Any]:
    """Return a group of calls as `aegis_verify_calls` reads it."""
    asked: dict[str, Any] = {"number": number, "hashes": question.hashes, "costs": costs}
    if question.scope is not None:
        asked["accepts"] = accepted_scopes(question.scope)
    if question.limits:
        asked["limits"] = [
            {
                "name": x.name, "limit": x.limit, "window_s": x.window_s, "cost": x.cost,
                "shared": x.shared,
            }
            for x in question.limits
        ]  # fmt: skip
        if any(x.shared for x in question.limits):
            asked["shared"] = True
    return asked


def answers(found: Answer, question: Question, costs: Sequence[int]) -> list[Verification]:
    """Return what became of each call of a group."""
    codes = cast("list[Code]", found.codes)
    if found.hash is None or not is_one_of(found.hash, question.hashes):  # pyright: ignore[reportUnnecessaryComparison]
        return [NOT_FOUND] * len(codes)
    known: dict[str, Any] = {
        "key_id": found.key_id,
        "customer_id": found.customer_id,
        "environment": "test" if found.key_prefix.startswith("aegis_test_") else "live",
        "name": found.name,
        "tier": found.tier,
        "scopes": found.scopes,
        "expires_at": found.expires_at,
    }
    if found.namespaces is not None:
        known["namespaces"] = [Binding(**cast("Any", one)) for one in found.namespaces]
    if found.levels is None:
        return [Verification(valid=False, code=code, **known) for code in codes]
    return [_counted(found, known, place, code, costs[place]) for place, code in enumerate(codes)]


def aged(answer: Verification, seconds: float) -> Verification:
    """Return a refusal as it is some seconds later."""

    def less(wait: float | None) -> float | None:
        return None if wait is None else max(wait - seconds, 0.001)

    if answer.retry_after_s is None:
        return answer
    return replace(
        answer,
        retry_after_s=less(answer.retry_after_s),
        limits=[
            replace(x, retry_after_s=less(x.retry_after_s), reset_s=max(x.reset_s - seconds, 0.0))
            for x in answer.limits
        ],
    )


def _counted(
    found: Answer, known: dict[str, Any], place: int, code: Code, cost: int
) -> Verification:
    limits = _limits(found, place, code, cost)
    spent = code == "QUOTA_EXCEEDED"
    quota = customer_quota = None
    if found.period is not None:
        room = found.rooms[place]
        quota = _quota(found.period, found.granted, room, found.overage, found.at_us)
        if spent and cost > room:
            quota = replace(quota, exceeded=True)
    if found.customer_period is not None:
        room = cast("list[int]", found.customer_rooms)[place]
        granted = cast("int", found.customer_granted)
        customer_quota = _quota(found.customer_period, granted, room, 0, found.at_us)
        if spent and (quota is None or not quota.exceeded):
            customer_quota = replace(customer_quota, exceeded=True)
    retry_after_s = None
    if code == "RATE_LIMITED":
        waits = [x.retry_after_s for x in limits if x.exceeded]
        retry_after_s = None if None in waits else max((w for w in waits if w), default=None)
    elif spent:
        retry_after_s = next((q.reset_s for q in (quota, customer_quota) if q), None)
    return Verification(
        valid=code == "VALID",
        code=code,
        limits=limits,
        quota=quota,
        customer_quota=customer_quota,
        retry_after_s=retry_after_s,
        **known,
    )


def _limits(found: Answer, place: int, code: Code, cost: int) -> list[LimitState]:
    refused = code == "RATE_LIMITED"
    levels = cast("list[int]", found.levels)
    if found.names is None:
        return [
            state_of(
                RATE_LIMIT,
                backlog=levels[place],
                cost=cost,
                limit=found.limits[0],
                window_us=_MINUTE_US,
                refused=refused,
            )
        ]
    width = len(found.names)
    windows = cast("list[int]", found.windows)
    weights = cast("list[int | None]", found.weights)
    shared = cast("list[bool]", found.shared)
    return [
        state_of(
            name,
            backlog=levels[place * width + i],
            cost=cost if (weight := weights[i]) is None else weight,
            limit=found.limits[i],
            window_us=windows[i],
            refused=refused,
            shared=shared[i],
        )
        for i, name in enumerate(found.names)
    ]


def _quota(period: date, granted: int, room: int, overage: int, at_us: int) -> QuotaState:
    first = datetime(period.year, period.month, 1, tzinfo=UTC)
    resets_at = (first + timedelta(days=32)).replace(day=1)
    return QuotaState(
        period=period,
        limit=granted,
        remaining=room,
        overage=overage,
        resets_at=resets_at,
        reset_s=max(resets_at.timestamp() - at_us / 1e6, 0.0),
    )
