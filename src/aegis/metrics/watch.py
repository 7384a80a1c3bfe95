"""From scores to incidents: one incident is one alert, however many of its values are strange.

An incident opens at the first anomaly, grows while values stay outside of what was normal when it
opened, and ends after a few calm ones. What lasts becomes a level shift, and after a while the new
normal. A new anomaly shortly after the end belongs to the same incident. Pure: no clock.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from aegis.metrics.detector import RATIO, Detector

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Incident", "Kind", "Severity", "Watch"]

Kind = Literal["spike", "drop", "level_shift", "unseasonal", "flatline"]
Severity = Literal["info", "warning", "critical"]

#: Calm values that end an incident.
_CALM: Final = 12
#: Values after which an incident that is outside still is a level shift, and the new normal.
_SHIFT: Final = 36
_NEW_NORMAL: Final = 288
#: Values after the end within which a new anomaly belongs to the same incident.
_QUIET: Final = 96
#: Scores from which an incident is a warning, and critical.
_WARNING: Final = 2.0
_CRITICAL: Final = 5.0
#: Equal values in a row that may be a flat line, and how many times the longest run so far.
_FLAT: Final = 72
_FLATTER: Final = 3
#: Values that must have been seen, and the share of them that must have been changes.
_FLAT_AFTER: Final = 288
_LIVELY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What was unusual, from its first value on."""

    #: Number within its series, from 1.
    number: int
    kind: Kind
    severity: Severity
    #: Unix seconds; `ended_at` is None while it lasts.
    started_at: float
    ended_at: float | None
    #: The strangest value, and what would have been normal when it began.
    observed: float
    expected: float
    low: float
    high: float
    #: How many times farther than ever before; 0 for a flat line.
    score: float
    #: What was compared (`detector.Feature`), and its record before.
    feature: str
    record: float
    rising: bool
    #: Values that belong to it.
    values: int

    @property
    def explanation(self) -> str:
        """Return the finding in a sentence."""
        if self.kind == "flatline":
            return f"The value stands still at {_short(self.observed)}, which it never did so long."
        what = {
            "spike": "rose to",
            "drop": "fell to",
            "level_shift": "moved to",
            "unseasonal": "is unusual for this time at",
        }[self.kind]
        # A burst of values may be unusual where none of them is by itself.
        outside = not self.low <= self.observed <= self.high
        usual = f" ({_short(self.low)} to {_short(self.high)})" if outside else ""
        whom = "" if outside else ", it and those before it,"
        return (
            f"The value {what} {_short(self.observed)}, expected about {_short(self.expected)}"
            f"{usual}:{whom} {self.score:.1f} times as far from "
            f"{_AGAINST.get(self.feature, 'the usual')} as ever before."
        )


_AGAINST: Final = {
    "step": "the last hour",
    "burst": "the last hours",
    "hour": "the last half day",
    "far": "the last half day",
    "level": "the last days",
    "season": "what is usual at this time",
    "season_hour": "what is usual at this time",
}


#: What a watch is made of beside its detector and its incident.
_RESTORED: Final = (
    *("_calm", "_calm_at", "_changes", "_flat_at", "_last", "_longest", "_quiet", "_ratio"),
    "_run",
)


class Watch:
    """A detector and the incident of its series, if there is one."""

    __slots__ = (
        "_calm",
        "_calm_at",
        "_changes",
        "_flat_at",
        "_incident",
        "_last",
        "_longest",
        "_quiet",
        "_ratio",
        "_run",
        "detector",
    )

    def __init__(self, *, ratio: float = RATIO, least: float = 0.0) -> None:
        self.detector = Detector(least=least)
        self._ratio = ratio
        self._incident: Incident | None = None
        self._calm = 0
        self._calm_at = math.nan
        #: Values left in which a new anomaly belongs to the last incident.
        self._quiet = 0
        self._last: float = math.nan
        self._run = self._longest = 0
        self._flat_at = math.nan
        self._changes: float = 0.0

    @property
    def incident(self) -> Incident | None:
        """Return the incident that lasts, or the last one; None before the first."""
        return self._incident

    def update(self, at: float, value: float) -> Incident | None:
        """Take a value; return the incident if it opened, changed or ended with it."""
        before = self.detector.seen
        score = self.detector.update(at, value)
        if self.detector.seen == before:
            return None
        flat = self._runs_flat(at, value)
        now = self._incident
        if now is not None and now.ended_at is None:
            return self._go_on(now, at, value, score)
        self._quiet = max(0, self._quiet - 1)
        if score >= self._ratio:
            if now is not None and self._quiet and now.kind != "flatline":
                return self._reopen(now, value, score)
            return self._open(at, value, score)
        if flat:
            return self._open_flat(value)
        return None

    def end(self, at: float) -> Incident | None:
        """End the incident that lasts, if one does: its series is measured no more."""
        now = self._incident
        if now is None or now.ended_at is not None:
            return None
        return self._end(now, at)

    def put_back(self, at: float) -> None:
        """Go on at `at` (Unix seconds), which lies before the newest value: the clock was wrong."""
        self.detector.put_back(at)
        self._calm_at, self._flat_at = min(self._calm_at, at), min(self._flat_at, at)

    def state(self) -> tuple[dict[str, object], bytes]:
        """Return everything, for `restored`: what JSON takes, and the detector's numbers."""
        rest = {name: getattr(self, name) for name in _RESTORED}
        incident = None if self._incident is None else asdict(self._incident)
        return {**rest, "_incident": incident}, self.detector.to_bytes()

    @classmethod
    def restored(cls, state: Mapping[str, Any], detector: bytes) -> Watch:
        """Return the watch that `state` was called on (`InvalidInput`, `KeyError`, `TypeError`)."""
        found = cls()
        found.detector = Detector.from_bytes(detector)
        for name in _RESTORED:
            setattr(found, name, state[name])
        incident = state["_incident"]
        found._incident = None if incident is None else Incident(**incident)
        return found

    def _open(self, at: float, value: float, score: float) -> Incident:
        found = self.detector
        low, high = found.range(self._ratio)
        kind: Kind = "spike" if found.rising else "drop"
        if found.feature == "level":
            kind = "level_shift"
        elif found.feature in ("season", "season_hour") and low <= value <= high:
            kind = "unseasonal"
        return self._start(
            Incident(
                number=self._number(),
                kind=kind,
                severity=_severity(score),
                started_at=at,
                ended_at=None,
                observed=value,
                expected=found.expected,
                low=low,
                high=high,
                score=score,
                feature=found.feature,
                record=found.record,
                rising=found.rising,
                values=1,
            )
        )

    def _open_flat(self, value: float) -> Incident:
        self._longest = self._run
        return self._start(
            Incident(
                number=self._number(),
                kind="flatline",
                severity="warning",
                started_at=self._flat_at,
                ended_at=None,
                observed=value,
                expected=self.detector.expected,
                low=value,
                high=value,
                score=0.0,
                feature="flat",
                record=0.0,
                rising=False,
                values=self._run,
            )
        )

    def _start(self, incident: Incident) -> Incident:
        self._incident = incident
        self._calm = 0
        return incident

    def _number(self) -> int:
        return 1 if self._incident is None else self._incident.number + 1

    def _reopen(self, last: Incident, value: float, score: float) -> Incident:
        self._calm = 0
        self._incident = _grown(replace(last, ended_at=None, values=last.values + 1), value, score)
        return self._incident

    def _go_on(self, now: Incident, at: float, value: float, score: float) -> Incident | None:
        if now.kind == "flatline":
            if value == now.observed:
                self._incident = replace(now, values=now.values + 1)
                return None
            return self._end(now, at)
        grown = _grown(replace(now, values=now.values + 1), value, score)
        if now.low <= value <= now.high:
            if self._calm == 0:
                self._calm_at = at
            self._calm += 1
        else:
            self._calm = 0
        if self._calm >= _CALM:
            return self._end(grown, self._calm_at)
        if grown.values >= _NEW_NORMAL:
            return self._end(replace(grown, kind="level_shift"), at)
        if grown.values == _SHIFT and self._calm == 0 and grown.kind in ("spike", "drop"):
            grown = replace(grown, kind="level_shift")
        self._incident = grown
        told = (now.kind, now.severity, now.observed)
        return grown if (grown.kind, grown.severity, grown.observed) != told else None

    def _end(self, now: Incident, at: float) -> Incident:
        self._incident = replace(now, ended_at=max(at, now.started_at))
        self._quiet = _QUIET
        return self._incident

    def _runs_flat(self, at: float, value: float) -> bool:
        """Return whether the value has stood still for longer than it ever did."""
        changed = value != self._last
        self._changes += max(1 / _FLAT_AFTER, 1 / self.detector.seen) * (changed - self._changes)
        if changed:
            self._longest = max(self._longest, self._run)
            self._last, self._run, self._flat_at = value, 1, at
            return False
        self._run += 1
        long_enough = max(_FLAT, _FLATTER * self._longest)
        return (
            self._run == long_enough
            and self.detector.seen >= _FLAT_AFTER
            # Before the run began: it has pulled the share down by itself.
            and self._changes / (1 - 1 / _FLAT_AFTER) ** self._run >= _LIVELY
        )


def _grown(incident: Incident, value: float, score: float) -> Incident:
    farther = abs(value - incident.expected) > abs(incident.observed - incident.expected)
    observed = value if farther else incident.observed
    top = max(score, incident.score)
    return replace(incident, observed=observed, score=top, severity=_severity(top))


def _severity(score: float) -> Severity:
    return "critical" if score >= _CRITICAL else "warning" if score >= _WARNING else "info"


def _short(value: float) -> str:
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"
