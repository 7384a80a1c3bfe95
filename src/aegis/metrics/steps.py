"""How fine a chart is, and which table is fine enough for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aegis.metrics.models import Source

__all__ = ["QUARTERS_KEPT_DAYS", "Plan", "choose"]

#: Seconds between samples, as collectors send them by default.
_SAMPLE_S: Final = 15
_STEPS: Final = (
    60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800, 1_209_600, 2_592_000,
)  # fmt: skip
#: Days that quarters of an hour and hours are kept; minutes and fives of them as long as samples.
QUARTERS_KEPT_DAYS: Final = 200
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where the points are read, and how long a point is; 0 seconds is a sample each."""

    source: Source
    step_s: int


def choose(span_s: float, *, points: int, age_s: float, keep_days: int) -> Plan:
    """Return the plan for a chart of `span_s` seconds that began `age_s` ago.

    The coarsest table that still has the step is read; one that no longer reaches back so far is
    passed over for the next.
    """
    kept = age_s <= keep_days * _DAY_S
    if kept and span_s / _SAMPLE_S <= points:
        return Plan(source="samples", step_s=0)
    step = next((step for step in _STEPS if span_s / step <= points), _STEPS[-1])
    if not kept:
        step = max(step, 900)
    if age_s > QUARTERS_KEPT_DAYS * _DAY_S:
        step = max(step, 3_600)
    if step % 3_600 == 0:
        return Plan(source="1h", step_s=step)
    if step % 900 == 0:
        return Plan(source="15m", step_s=step)
    return Plan(source="5m" if step % 300 == 0 else "1m", step_s=step)
