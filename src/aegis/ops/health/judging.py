"""From what was seen to a verdict. Pure: no database, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.ops.health.models import STATES, Finding, Report, Result, Seen, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from aegis.ops.health.models import Check, Limits

__all__ = ["MOST_FINDINGS", "could_not", "grade", "judge", "summarize", "words"]

MOST_FINDINGS: Final = 20


def grade(check: Check, limits: Limits, seen: Seen) -> State:
    """Return what one thing that was seen means."""
    if seen.state is not None:
        return seen.state
    if seen.value is None:
        return limits.level
    if _passed(seen.value, limits.critical, below=check.below):
        return "critical"
    if _passed(seen.value, limits.warning, below=check.below):
        return "warning"
    return "ok"


def _passed(value: float, limit: float | None, *, below: bool) -> bool:
    if limit is None:
        return False
    return value < limit if below else value >= limit


def judge(
    check: Check,
    limits: Limits,
    seen: Sequence[Seen],
    *,
    muted: Collection[str] = (),
    elapsed_ms: float = 0.0,
) -> Result:
    """Return the result of a check that ran; things named in `muted` do not count."""
    found: list[Finding] = []
    fine: list[Seen] = []
    quiet = 0
    for one in seen:
        state = grade(check, limits, one)
        key = f"{check.id}:{one.object}" if one.object else check.id
        if state == "ok":
            fine.append(one)
        elif key in muted:
            quiet += 1
        else:
            found.append(
                Finding(
                    object=one.object,
                    state=state,
                    observed=one.observed,
                    value=one.value,
                    fix=one.fix,
                    key=key,
                )
            )
    found.sort(key=lambda f: (-STATES.index(f.state), _badness(check, f.value), f.object))
    state: State = found[0].state if found else "ok"
    return Result(
        id=check.id,
        group=check.group,
        title=check.title,
        state=state,
        observed=_observed(check, found, fine),
        value=found[0].value if found else _worst(check, fine),
        threshold=words(check, limits),
        means=check.means,
        advice=check.advice,
        docs=check.docs,
        findings=found[:MOST_FINDINGS],
        hidden=max(0, len(found) - MOST_FINDINGS),
        muted=quiet,
        elapsed_ms=elapsed_ms,
    )


def could_not(check: Check, limits: Limits, why: str, *, elapsed_ms: float = 0.0) -> Result:
    """Return the result of a check that has no answer, for the reason `why`."""
    return Result(
        id=check.id,
        group=check.group,
        title=check.title,
        state="unknown",
        observed=f"could not check: {why}",
        value=None,
        threshold=words(check, limits),
        means=check.means,
        advice=check.advice,
        docs=check.docs,
        findings=(),
        hidden=0,
        muted=0,
        elapsed_ms=elapsed_ms,
    )


def words(check: Check, limits: Limits) -> str:
    """Return limits as people read them: `warning from 80 %, critical from 90 %`."""
    if limits.warning is None and limits.critical is None:
        text = f"any is {limits.level}"
    else:
        link = "below" if check.below else "from"
        pairs = (("warning", limits.warning), ("critical", limits.critical))
        text = ", ".join(
            f"{name} {link} {limit:,.10g} {check.unit}".rstrip()
            for name, limit in pairs
            if limit is not None
        )
    if check.least_of:
        text += f"; {check.least_of} of at least {limits.least:,.10g}"
    return text


def summarize(results: Sequence[Result], *, now: datetime, elapsed_ms: float) -> Report:
    """Return the report of results; it is as bad as the worst of them."""
    states: list[State] = [result.state for result in results]
    worst: State = "ok"
    for state in states:
        if STATES.index(state) > STATES.index(worst):
            worst = state
    return Report(
        checked_at=now,
        state=worst,
        results=results,
        ok=states.count("ok"),
        unknown=states.count("unknown"),
        warning=states.count("warning"),
        critical=states.count("critical"),
        elapsed_ms=elapsed_ms,
    )


def _badness(check: Check, value: float | None) -> float:
    if value is None:
        return 0.0
    return value if check.below else -value


def _worst(check: Check, fine: Sequence[Seen]) -> float | None:
    values = [one.value for one in fine if one.value is not None]
    if not values:
        return None
    return min(values) if check.below else max(values)


def _observed(check: Check, found: Sequence[Finding], fine: Sequence[Seen]) -> str:
    if not found:
        whole = next((one.observed for one in fine if not one.object), None)
        return whole or check.fine
    first = found[0]
    text = f"{first.object}: {first.observed}" if first.object else first.observed
    return text if len(found) == 1 else f"{text} (and {len(found) - 1:,} more)"
