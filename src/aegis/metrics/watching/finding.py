"""One finding about a container, as the table and as alerts have it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aegis.alerts.models import Condition

if TYPE_CHECKING:
    from aegis.metrics.drift import Drift
    from aegis.metrics.watch import Incident

__all__ = ["SOURCE", "UNITS", "Finding", "of_drift", "of_incident", "short", "shown"]

#: What alerts of metrics have as their source.
SOURCE: Final = "metrics"
#: Words and units of what is measured; counters are judged by what passes in a minute.
UNITS: Final = {
    "cpu_percent": ("CPU", "%"),
    "mem_usage_mb": ("memory", " MB"),
    "mem_percent": ("memory", "% of the limit"),
    "net_io_mb": ("network", " MB/min"),
    "block_io_mb": ("disk traffic", " MB/min"),
    "disk_percent": ("disk", "%"),
    "restarts": ("restarts", " in 15 min"),
    "samples": ("measurements", " s"),
}
_KINDS: Final = {
    "spike": "is unusually high",
    "drop": "is unusually low",
    "level_shift": "moved to another level",
    "unseasonal": "is unusual for this time",
    "flatline": "stands still",
    "leak": "rises steadily",
    "filling": "fills up",
    "restart_loop": "starts again and again",
    "silence": "is not measured any more",
}
_ADVICE: Final = {
    "leak": "Restart {name} before the limit is reached, and look for what it keeps.",
    "filling": "See what grows: du -xh --max-depth 2 / | sort -h, or give it more room.",
    "restart_loop": "See its last lines: docker logs --tail 100 {name}",
    "silence": "See whether it runs: docker ps -a --filter name={name}",
    "flatline": "See whether {name} still does its work.",
}
_LOOK: Final = "See its curve: aegis metrics chart {name} --metric {metric}"
#: Hours until the limit under which a leak is critical.
_SOON_H: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is unusual, from when to when."""

    #: Written once: the series, and when it began.
    incident: str
    container_name: str
    metric: str
    kind: str
    #: `info` is kept, and nobody is told.
    severity: str
    started_at: float
    ended_at: float | None
    explanation: str
    observed: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    score: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def condition_id(self) -> str:
        """Return what alerts know it by: one a series and sort of finding."""
        sort = (
            self.kind if self.kind in ("leak", "filling", "restart_loop", "silence") else "anomaly"
        )
        return f"{sort}:{shown(self.container_name)}:{self.metric}"

    def condition(self) -> Condition:
        """Return it as a condition; one that ended, or is nothing to tell, is good."""
        word, unit = UNITS.get(self.metric, (self.metric, ""))
        over = self.ended_at is not None or self.severity == "info"
        usual = None
        if self.low is not None and self.high is not None and self.low < self.high:
            usual = f"usual {short(max(self.low, 0.0))} to {short(self.high)}{unit}"
        name = shown(self.container_name)
        advice = _ADVICE.get(self.kind, _LOOK).format(name=name, metric=self.metric)
        return Condition(
            id=self.condition_id,
            source=SOURCE,
            state="ok" if over else "critical" if self.severity == "critical" else "warning",
            title=f"{name}: {word} {_KINDS.get(self.kind, self.kind)}",
            observed=None if self.observed is None else f"{short(self.observed)}{unit}",
            threshold=usual,
            advice=f"{self.explanation} {advice}",
            labels={
                "container": name,
                "metric": self.metric,
                "kind": self.kind,
                "incident": shown(self.incident),
            },
            since=datetime.fromtimestamp(self.started_at, UTC),
            group=SOURCE,
        )


def of_incident(container: str, metric: str, incident: Incident) -> Finding:
    """Return the finding that an incident of the detector is."""
    flat = incident.kind == "flatline"
    return Finding(
        # Not its number: that begins anew where a state was lost or forgotten.
        incident=f"{container}/{metric}/{int(incident.started_at)}",
        container_name=container,
        metric=metric,
        kind=incident.kind,
        severity=incident.severity,
        started_at=incident.started_at,
        ended_at=incident.ended_at,
        explanation=incident.explanation,
        observed=incident.observed,
        expected=incident.expected,
        low=incident.low,
        high=incident.high,
        score=None if flat else incident.score,
        evidence={
            "detector": "records",
            "feature": incident.feature,
            "record": incident.record,
            "values": incident.values,
            "rising": incident.rising,
        },
    )


def of_drift(
    container: str, metric: str, drift: Drift, *, kind: str, ended_at: float | None
) -> Finding:
    """Return the finding that a slow rise towards a limit is."""
    full = datetime.fromtimestamp(drift.full_at, UTC)
    left_h = (drift.full_at - drift.started_at) / 3_600
    now_h = (drift.limit - drift.value) / max(drift.per_hour, 1e-9)
    word, unit = UNITS.get(metric, (metric, ""))
    return Finding(
        incident=f"{container}/{metric}/{kind}/{int(drift.started_at)}",
        container_name=container,
        metric=metric,
        kind=kind,
        severity="critical" if now_h < _SOON_H else "warning",
        started_at=drift.started_at,
        ended_at=ended_at,
        explanation=(
            f"{word[:1].upper()}{word[1:]} rises by {short(drift.per_hour)} an hour and reaches "
            f"{short(drift.limit)}{unit} on {full:%Y-%m-%d at %H:%M} UTC if it goes on so."
        ),
        observed=drift.value,
        expected=None,
        high=drift.limit,
        evidence={
            "detector": "trend",
            "per_hour": drift.per_hour,
            "full_at": full.isoformat(),
            "hours": left_h,
        },
    )


def shown(name: str) -> str:
    """Return a name as messages may have it; plain SQL may have written any."""
    return "".join(sign if sign.isprintable() else "?" for sign in name).strip() or "?"


def short(value: float) -> str:
    """Return a figure as people read it."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
