"""NAB's score, standard profile, and its data.

As numenta/NAB's `nab/sweeper.py` and `nab/scorer.py` compute it: of a window only the best placed
detection counts, a false positive costs the more the farther behind the last window it is, the
probationary first points do not count, one threshold holds for all files, and the sum is scaled so
that a detector that says nothing has 0 and a perfect one 100.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import InvalidInput
from aegis.metrics.series import parse_time, read_csv

__all__ = ["Series", "best_score", "load", "score_at"]

#: Weights of the standard profile; a true positive and a missed window weigh 1.
_FALSE_POSITIVE = 0.11
_PROBATION_SHARE = 0.15
_PROBATION_OF_MOST = 5_000
#: Windows behind the last one from which a false positive costs in full.
_FAR = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One file with its windows, first and last index, in order."""

    name: str
    times: Sequence[float]
    values: Sequence[float]
    windows: Sequence[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Return how many points are not scored."""
        return int(min(_PROBATION_SHARE * len(self.values), _PROBATION_SHARE * _PROBATION_OF_MOST))


def load(folder: Path) -> list[Series]:
    """Return every CSV below `folder` that `combined_windows.json` in it names."""
    labels = folder / "combined_windows.json"
    if not labels.exists():
        raise InvalidInput(f"{labels} is missing; --data is a folder with it and NAB's CSV files.")
    named: dict[str, Any] = json.loads(labels.read_text())
    found: list[Series] = []
    for name, windows in sorted(named.items()):
        path = next((p for p in (folder / name, folder / "data" / name) if p.exists()), None)
        if path is None:
            continue
        points = list(read_csv(path))
        times = [at for at, _ in points]
        inside = [_window(times, *(parse_time(edge) for edge in window)) for window in windows]
        found.append(
            Series(
                name=name,
                times=times,
                values=[value for _, value in points],
                windows=[window for window in inside if window is not None],
            )
        )
    if not found:
        raise InvalidInput(f"{folder} has none of the CSV files that {labels.name} names.")
    return found


def _window(times: Sequence[float], begin: float, end: float) -> tuple[int, int] | None:
    inside = [at for at, time in enumerate(times) if begin <= time <= end]
    return (inside[0], inside[-1]) if inside else None


def scaled_sigmoid(position: float) -> float:
    """Return what a detection at `position` is worth: 0 at a window's end, -1 at its beginning."""
    return -1.0 if position > _FAR else 2 / (1 + math.exp(5 * position)) - 1


def worths(series: Series) -> tuple[list[float], list[int | None]]:
    """Return of every point what a detection there is worth, and the window it lies in."""
    worth: list[float] = []
    inside: list[int | None] = []
    best = scaled_sigmoid(-1.0)
    for at in range(len(series.values)):
        number = next((n for n, (a, b) in enumerate(series.windows) if a <= at <= b), None)
        inside.append(number)
        if number is not None:
            first, last = series.windows[number]
            worth.append(scaled_sigmoid(-(last - at + 1) / (last - first + 1)) / best)
            continue
        past = [window for window in series.windows if window[1] < at]
        if not past or past[-1][1] == past[-1][0]:
            worth.append(-_FALSE_POSITIVE)
            continue
        first, last = past[-1]
        worth.append(_FALSE_POSITIVE * scaled_sigmoid((at - last) / (last - first)))
    return worth, inside


def score_at(data: Sequence[Series], detections: Mapping[str, Sequence[int]]) -> float:
    """Return the score of detections, indices by the name of the series."""
    total = windows = 0.0
    for series in data:
        worth, inside = worths(series)
        windows += len(series.windows)
        best = dict.fromkeys(range(len(series.windows)), -1.0)
        for at in detections[series.name]:
            if at < series.probation:
                continue
            number = inside[at]
            if number is None:
                total += worth[at]
            else:
                best[number] = max(best[number], worth[at])
        total += sum(best.values())
    if not windows:
        raise InvalidInput("The files have no windows at all, so that there is nothing to score.")
    return 100 * (total + windows) / (2 * windows)


def best_score(
    data: Sequence[Series], scores: Mapping[str, Sequence[float]]
) -> tuple[float, float]:
    """Return the best score that one threshold over `scores` reaches, and that threshold."""
    windows = float(sum(len(series.windows) for series in data))
    points: list[tuple[float, str, int | None, float]] = []
    for series in data:
        worth, inside = worths(series)
        points += [
            (scores[series.name][at], series.name, inside[at], worth[at])
            for at in range(series.probation, len(series.values))
            if scores[series.name][at] > 0
        ]
    points.sort(key=lambda point: -point[0])
    total, best = -windows, (-windows, math.inf)
    found: dict[tuple[str, int], float] = {}
    for at, (score, name, number, worth) in enumerate(points):
        if number is None:
            total += worth
        else:
            before = found.get((name, number), -1.0)
            total += max(worth - before, 0.0)
            found[name, number] = max(worth, before)
        # Points of one score come with one threshold.
        last = at + 1 == len(points) or points[at + 1][0] != score
        if last and total > best[0]:
            best = (total, score)
    return 100 * (best[0] + windows) / (2 * windows), best[1]
