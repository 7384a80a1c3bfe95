"""What is seen of all containers together, and what of it is told. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.alerts.models import Condition
from aegis.metrics.watching.finding import SOURCE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.alerts.models import Alert
    from aegis.metrics.models import MetricRule
    from aegis.metrics.store.anomalies import FalseAlarm
    from aegis.metrics.watching.finding import Finding
    from aegis.metrics.watching.series import Container

__all__ = [
    "NOTHING_MEASURED",
    "is_alive",
    "is_measured",
    "newest_at",
    "nothing_measured",
    "over",
    "stale",
    "was_false",
]

NOTHING_MEASURED: Final = "nothing-measured"
#: Nothing at all is measured for so long: that is one alert, not one a container.
_ALL_SILENT: Final = timedelta(minutes=5)
#: What was marked as false is told again when it goes so many times as far.
_FALSE_RATIO: Final = 1.5


def newest_at(containers: Collection[Container]) -> float:
    """Return when any container was measured last; the machine itself where there is none.

    Where Docker is gone its machine is still measured, and no container.
    """
    each = [one.last_at for one in containers if not one.name.startswith("host/")]
    return max(each or [one.last_at for one in containers], default=0.0)


def is_measured(containers: Collection[Container], now: float) -> bool:
    """Return whether anything is: else whoever measures is gone, not all containers at once."""
    return now - newest_at(containers) <= _ALL_SILENT.total_seconds()


def is_alive(containers: Collection[Container], now: float) -> bool:
    """Return whether anything is, the machine itself included: else it slept, or we did."""
    newest = max((one.last_at for one in containers), default=0.0)
    return now - newest <= _ALL_SILENT.total_seconds()


def nothing_measured(containers: Collection[Container], now: float) -> Condition:
    """Return that as a condition."""
    newest = newest_at(containers)
    quiet = now - newest
    return Condition(
        id=NOTHING_MEASURED,
        source=SOURCE,
        state="ok" if is_measured(containers, now) else "warning",
        title="No container is measured any more",
        observed=f"{quiet:.0f} s without a sample",
        threshold=f"{_ALL_SILENT.total_seconds():.0f} s",
        advice="See whether what measures runs: aegis metrics collect --once",
        since=datetime.fromtimestamp(newest, UTC),
        group=SOURCE,
    )


def was_false(finding: Finding, false: Sequence[FalseAlarm]) -> bool:
    """Return whether the same was marked as false lately, and this is not much worse."""
    return any(
        known.container_name == finding.container_name
        and known.metric == finding.metric
        and known.kind == finding.kind
        and (finding.score or 0.0) <= _FALSE_RATIO * known.score
        for known in false
    )


def over(alert: Alert) -> Condition:
    """Return the condition of an open alert as one that is good again."""
    return Condition(
        id=alert.condition_id,
        source=SOURCE,
        state="ok",
        title=alert.title,
        labels=alert.labels,
    )


def stale(
    alerts: Sequence[Alert], known: Collection[str], rules: Sequence[MetricRule]
) -> list[Condition]:
    """Return alerts that nothing speaks of any more as good.

    `known` are the ids of all that lasts. Who has to be there, by an absence rule, is missed still.
    """
    missed = {rule.name for rule in rules if rule.enabled and rule.kind == "absence"}
    return [
        over(alert)
        for alert in alerts
        if alert.condition_id not in known
        and alert.condition_id != NOTHING_MEASURED
        and alert.labels.get("rule") not in missed
    ]
