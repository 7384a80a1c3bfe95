"""What checks found, as conditions for alerts: one a finding, one a check that has none. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.alerts import Condition

if TYPE_CHECKING:
    from aegis.ops.health.models import Report, Result

__all__ = ["SOURCE", "conditions_of"]

SOURCE: Final = "doctor"
_MOST_TEXT: Final = 500


def conditions_of(report: Report) -> list[Condition]:
    """Return one condition a check, whose state is the check's.

    The things that a check found are told in its text: a process that waits today is not the one
    that waited yesterday, and an alert for each would never be the same twice.
    """
    return [_condition(result) for result in report.results]


def _condition(result: Result) -> Condition:
    fixes = [finding.fix for finding in result.findings if finding.fix]
    advice = result.advice if not fixes else f"{result.advice} {fixes[0]}"
    return Condition(
        id=result.id,
        source=SOURCE,
        state=result.state,
        title=_clean(f"{result.title}: {result.observed}"),
        observed=_clean(result.observed),
        threshold=_clean(result.threshold),
        advice=_clean(advice),
        link=result.docs,
        labels={"check": result.id, "group": result.group},
    )


def _clean(text: str) -> str:
    """Return a text on one line that can be shown: statements of others are quoted in it."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(shown.split())[:_MOST_TEXT].strip() or "-"
