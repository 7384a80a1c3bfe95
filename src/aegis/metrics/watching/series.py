"""Everything that is known of one container: a detector a metric, its counters, its rhythm. Pure.

It turns into bytes and back, so that a restart goes on where it was.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import InvalidInput
from aegis.metrics.drift import Drift, Trend
from aegis.metrics.watch import Watch
from aegis.metrics.watching.finding import Finding, of_drift, of_incident

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JUDGED", "Container"]

#: What is judged, and the deviation in its unit that never matters.
JUDGED: Final = {
    "cpu_percent": 5.0,
    "mem_usage_mb": 20.0,
    "mem_percent": 2.0,
    "net_io_mb": 1.0,
    "block_io_mb": 5.0,
    "disk_percent": 5.0,
}
#: Counters; what passes in a minute is judged.
_COUNTERS: Final = ("net_io_mb", "block_io_mb")
#: What must not reach 100 percent, and what it is called when it is about to.
_TRENDS: Final = {"mem_percent": "leak", "disk_percent": "filling"}
#: So many starts within this time are a loop, which ends after this time without one.
_LOOP_STARTS: Final = 3
_LOOP_S: Final = 900.0
#: Silent for so many usual intervals, and so many seconds, after so long a life.
_SILENT_INTERVALS: Final = 5.0
_SILENT_S: Final = 180.0
_LIVED_S: Final = 600.0
#: Silent for so long, a container is taken to be gone: what was unusual about it is over.
_GONE_S: Final = 3_600.0
#: A counter that falls so soon after a start that was told is that start.
_SAME_START_S: Final = 60.0
_MOST_STARTS: Final = 100
_VERSION: Final = 2


class Container:
    """One container. `values` are the newest of each metric, counters as MB in a minute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.last_at = math.nan
        self.first_at = math.nan
        self.interval = 0.0
        self.values: dict[str, float] = {}
        self.before: dict[str, float] = {}
        self.step_s = 0.0
        #: Samples up to this id were measured before the clock was put back.
        self.after_id = 0
        self._watches: dict[str, Watch] = {}
        self._trends: dict[str, Trend] = {}
        self._drifts: dict[str, Drift] = {}
        self._counters: dict[str, tuple[float, float]] = {}
        self._starts: list[float] = []
        #: Those of them that a daemon told, not a counter.
        self._told_starts: list[float] = []
        self._starts_changed = False
        self._loop_at: float | None = None
        self._silent_at: float | None = None

    def update(self, at: float, figures: dict[str, float | None]) -> list[Finding]:
        """Take a sample; return what is found, changed or over with it. Late ones are left out."""
        if not math.isnan(self.last_at):
            step = at - self.last_at
            if step <= 0:
                return []
            self.step_s = step
            weight = 0.1 if self.interval else 1.0
            if not self.interval or step < 20 * self.interval:
                self.interval += weight * (step - self.interval)
        else:
            self.first_at = at
        self.last_at = at
        found = list(self._speaks_again(at))
        values: dict[str, float] = {}
        restarted = False
        for metric in JUDGED:
            value = figures.get(metric)
            if value is None or not math.isfinite(value):
                self._counters.pop(metric, None)
                continue
            if metric in _COUNTERS:
                rate, fell = self._rate(metric, at, value)
                restarted = restarted or fell
                if rate is None:
                    continue
                value = rate
            values[metric] = value
            found += self._judge(metric, at, value)
        self.before, self.values = self.values, values
        if restarted and not self._told_of(at):
            self._starts.append(at)
            self._starts_changed = True
        found += self._loop(at)
        return found

    def started(self, at: float, number: int) -> list[Finding]:
        """Take `number` starts up to `at`, of which the last was then; once, however often told."""
        if any(abs(known - at) < 0.001 for known in self._told_starts):
            return []
        # That its counters fell was noticed first: it is the same start.
        soon = max(_SAME_START_S, 4 * self.step_s)
        told = self._told_starts
        fell = next((s for s in self._starts if at < s <= at + soon and s not in told), None)
        if fell is not None:
            self._starts.remove(fell)
        self._told_starts = [*self._told_starts, at][-_MOST_STARTS:]
        self._starts = sorted([*self._starts, *[at] * number])[-_MOST_STARTS:]
        self._starts_changed = True
        return list(self._loop(at))

    def _told_of(self, at: float) -> bool:
        soon = max(_SAME_START_S, 4 * self.step_s)
        return any(at - soon <= told <= at for told in self._told_starts)

    def silence(self, now: float) -> list[Finding]:
        """Return that it is not measured any more, once."""
        if self._silent_at is not None or not self.is_silent(now):
            return []
        if self.last_at - self.first_at < _LIVED_S:
            return []
        self._silent_at = self.last_at
        return [self._silence(None, now - self.last_at)]

    def is_silent(self, now: float) -> bool:
        """Return whether a sample is overdue for long."""
        return now - self.last_at >= max(_SILENT_S, _SILENT_INTERVALS * self.interval)

    def is_gone(self, now: float) -> bool:
        """Return whether it is silent for so long that nobody expects it back."""
        return now - self.last_at >= max(_GONE_S, _SILENT_INTERVALS * self.interval)

    def knows(self, metric: str) -> bool:
        """Return whether this was ever measured of it."""
        return metric in self._watches

    def end(self, *, loops: bool) -> list[Finding]:
        """Return what lasts as over since the last sample; of restarts in a loop with `loops`.

        A container that stopped starting is what its loop warned of.
        """
        at = self.last_at
        found: list[Finding] = []
        for metric, watch in self._watches.items():
            incident = watch.end(at)
            if incident is not None:
                found.append(of_incident(self.name, metric, incident))
        for metric, drift in self._drifts.items():
            found.append(of_drift(self.name, metric, drift, kind=_TRENDS[metric], ended_at=at))
        self._drifts = {}
        if loops and self._loop_at is not None:
            found.append(self._looping(at))
            self._loop_at, self._starts = None, []
        ended = [
            replace(one, explanation=f"{one.explanation} It is not measured any more.")
            for one in found
        ]
        if loops and self._silent_at is not None:
            ended.append(self._silence(at, 0.0))
            self._silent_at = None
        return ended

    def put_back(self, now: float, *, after_id: int) -> None:
        """Go on at `now`, which lies before the last sample: the clock was wrong.

        Samples up to `after_id` are left out, for their times come once more: with new ones in
        between, counters would fall and rise with each.
        """
        if not self.last_at > now:
            return
        self.after_id = after_id
        self.last_at, self.first_at = now, min(self.first_at, now)
        self._counters = {}
        self._starts = [start for start in self._starts if start <= now]
        self._told_starts = [start for start in self._told_starts if start <= now]
        for watch in self._watches.values():
            watch.put_back(now)
        for trend in self._trends.values():
            trend.put_back(now)

    @property
    def points(self) -> int:
        """Return how many values the newest sample had."""
        return len(self.values)

    def open_findings(self) -> list[Finding]:
        """Return what lasts."""
        found = [
            of_incident(self.name, metric, watch.incident)
            for metric, watch in self._watches.items()
            if watch.incident is not None and watch.incident.ended_at is None
        ]
        found += [
            of_drift(self.name, metric, drift, kind=_TRENDS[metric], ended_at=None)
            for metric, drift in self._drifts.items()
        ]
        if self._loop_at is not None:
            found.append(self._looping(None))
        if self._silent_at is not None:
            found.append(self._silence(None, 0.0))
        return found

    def _judge(self, metric: str, at: float, value: float) -> Iterator[Finding]:
        watch = self._watches.get(metric)
        if watch is None:
            watch = self._watches[metric] = Watch(least=JUDGED[metric])
        incident = watch.update(at, value)
        if incident is not None:
            yield of_incident(self.name, metric, incident)
        if metric in _TRENDS:
            yield from self._rises(metric, at, value)

    def _rises(self, metric: str, at: float, value: float) -> Iterator[Finding]:
        trend = self._trends.get(metric)
        if trend is None:
            trend = self._trends[metric] = Trend(limit=100.0)
        kind, known = _TRENDS[metric], self._drifts.get(metric)
        drift = trend.update(at, value)
        if drift is not None:
            # The beginning stays that of the first look: one leak is one finding.
            if known is not None:
                drift = replace(drift, started_at=known.started_at)
            self._drifts[metric] = drift
            yield of_drift(self.name, metric, drift, kind=kind, ended_at=None)
        elif known is not None and not trend.drifting:
            del self._drifts[metric]
            yield of_drift(self.name, metric, known, kind=kind, ended_at=at)

    def _rate(self, metric: str, at: float, value: float) -> tuple[float | None, bool]:
        """Return what passed in a minute, and whether the counter began anew."""
        before = self._counters.get(metric)
        self._counters[metric] = (at, value)
        if before is None or at <= before[0]:
            return None, False
        if value < before[1]:
            return None, True
        return 60 * (value - before[1]) / (at - before[0]), False

    def _loop(self, at: float) -> Iterator[Finding]:
        changed, self._starts_changed = self._starts_changed, False
        self._starts = [start for start in self._starts if at - start <= _LOOP_S]
        if self._loop_at is None:
            if len(self._starts) < _LOOP_STARTS:
                return
            self._loop_at = self._starts[0]
            yield self._looping(None)
        elif not self._starts:
            yield self._looping(at)
            self._loop_at = None
        elif changed:
            yield self._looping(None)

    def _looping(self, ended_at: float | None) -> Finding:
        began = self._loop_at or 0.0
        return Finding(
            incident=f"{self.name}/restarts/{int(began)}",
            container_name=self.name,
            metric="restarts",
            kind="restart_loop",
            severity="critical",
            started_at=began,
            ended_at=ended_at,
            explanation=f"It was started {max(len(self._starts), _LOOP_STARTS)} times lately.",
            observed=float(max(len(self._starts), _LOOP_STARTS)),
            expected=0.0,
        )

    def _silence(self, ended_at: float | None, quiet: float) -> Finding:
        began = self._silent_at or 0.0
        return Finding(
            incident=f"{self.name}/samples/{int(began)}",
            container_name=self.name,
            metric="samples",
            kind="silence",
            # Containers come and go; who has to stay gets an absence rule.
            severity="info",
            started_at=began,
            ended_at=ended_at,
            explanation=f"It was measured every {self.interval:.0f} s, and not since then.",
            observed=quiet,
            expected=self.interval,
        )

    def _speaks_again(self, at: float) -> Iterator[Finding]:
        if self._silent_at is not None:
            yield self._silence(at, at - self._silent_at)
            self._silent_at = None

    def to_bytes(self) -> bytes:
        """Return the state: lengths, a JSON part, and the detectors' numbers."""
        parts: list[bytes] = []
        watches: dict[str, Any] = {}
        for metric, watch in self._watches.items():
            watches[metric], numbers = watch.state()
            parts.append(numbers)
        head = json.dumps(
            {
                "version": _VERSION,
                "last_at": self.last_at,
                "first_at": self.first_at,
                "after_id": self.after_id,
                "interval": self.interval,
                "values": self.values,
                "step_s": self.step_s,
                "watches": watches,
                "sizes": [len(part) for part in parts],
                "trends": {metric: trend.state() for metric, trend in self._trends.items()},
                "drifts": {metric: asdict(drift) for metric, drift in self._drifts.items()},
                "counters": self._counters,
                "starts": self._starts,
                "told_starts": self._told_starts,
                "loop_at": self._loop_at,
                "silent_at": self._silent_at,
            }
        ).encode()
        return struct.pack("<I", len(head)) + head + b"".join(parts)

    @classmethod
    def from_bytes(cls, name: str, state: bytes) -> Container:
        """Return the container that `to_bytes` was called on (`InvalidInput` if it is no state)."""
        found = cls(name)
        try:
            (size,) = struct.unpack_from("<I", state)
            head: dict[str, Any] = json.loads(state[4 : 4 + size])
            if head["version"] not in (1, _VERSION):
                raise ValueError(f"version {head['version']}")
            if head["version"] == 1:
                # It knew one trend, and no starts but those that counters showed.
                drift = head["drift"]
                head |= {"trends": {"mem_percent": head["trend"]}, "told_starts": []}
                head["drifts"] = {} if drift is None else {"mem_percent": drift}
            at = 4 + size
            for (metric, watch), length in zip(head["watches"].items(), head["sizes"], strict=True):
                found._watches[metric] = Watch.restored(watch, state[at : at + length])
                at += length
            found.last_at, found.first_at = head["last_at"], head["first_at"]
            found.after_id = head.get("after_id", 0)
            found.interval, found.step_s = head["interval"], head["step_s"]
            found.values = head["values"]
            found._trends = {m: Trend.restored(trend) for m, trend in head["trends"].items()}
            found._drifts = {m: Drift(**drift) for m, drift in head["drifts"].items()}
            found._counters = {key: (one, two) for key, (one, two) in head["counters"].items()}
            found._starts, found._told_starts = head["starts"], head["told_starts"]
            found._loop_at, found._silent_at = head["loop_at"], head["silent_at"]
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"The state of {name!r} cannot be read ({type(error).__name__}); "
                "it is learned anew."
            ) from None
        return found
