"""Anomaly detection on NAB's labelled series, and how many points a second one core judges.

The detector runs as it is shipped: incidents of `metrics.watch` at one ratio for all files, each
point judged before the next is read. In the same run, on the same files: NAB's windowed Gaussian,
and half-space trees of the `river` package, for which the benchmark makes a virtual environment of
its own; where it cannot be had, that is said in their place. NAB chooses for each detector the
threshold that is best over all files; ours is shown with its default, and so chosen.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.errors import OpsError
from aegis.metrics.detector import RATIO
from aegis.metrics.watch import Watch
from benchmarks.nab_scoring import Series, best_score, load, score_at
from benchmarks.peers.environment import TREES, default_cache, install
from benchmarks.report import Outcome

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ["add_arguments", "run"]

_RATIOS = (1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0, 2.5)
#: NAB's `windowedGaussian_detector.py`.
_WINDOW = 6_400
_STEP = 150
#: Seconds that the trees may take.
_PATIENCE_S = 1_800


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--data", type=Path, required=True, help="folder in NAB's layout")
    parser.add_argument("--files", action="store_true", help="also the score of each file")
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keeps the environment of river (default: the platform's cache folder)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Return the figures."""
    data = load(args.data)
    points = sum(len(series.values) for series in data)
    # Of the processor: what else runs does not matter.
    started = time.process_time()
    ours = {series.name: _incidents(series, RATIO) for series in data}
    taken = time.process_time() - started
    figures: dict[str, float] = {
        "files": len(data),
        "points": points,
        "windows": sum(len(series.windows) for series in data),
        "aegis.score": score_at(data, ours),
        "aegis.incidents": sum(len(found) for found in ours.values()),
        "aegis.points_per_s": points / taken,
    }
    tried = [
        (score_at(data, {s.name: _incidents(s, ratio) for s in data}), ratio) for ratio in _RATIOS
    ]
    figures["aegis.best_score"], figures["aegis.best_ratio"] = max(tried)
    gaussian = {series.name: _windowed_gaussian(series.values) for series in data}
    figures["windowed_gaussian.score"] = best_score(data, gaussian)[0]
    if args.files:
        figures |= _by_file(data, ours)
    failures: dict[str, str] = {}
    try:
        trees = _half_space_trees(data, (args.cache or default_cache()).resolve())
        figures["half_space_trees.score"] = best_score(data, trees)[0]
    except OpsError as error:
        failures["half_space_trees"] = error.message
    return Outcome(figures=figures, notes=(TREES.note,), failures=failures)


def _incidents(series: Series, ratio: float) -> list[int]:
    """Return the indices at which an incident opens."""
    watch, opened, number = Watch(ratio=ratio), list[int](), 0
    for at, (when, value) in enumerate(zip(series.times, series.values, strict=True)):
        incident = watch.update(when, value)
        if incident is not None and incident.number > number:
            number = incident.number
            opened.append(at)
    return opened


def _by_file(data: Sequence[Series], ours: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {
        f"{Path(series.name).stem}.score": score_at([series], ours)
        for series in data
        if series.windows
    }


def _windowed_gaussian(values: Sequence[float]) -> list[float]:
    """Return NAB's scores: one minus the tail probability under the Gaussian of a window."""
    window: deque[float] = deque(maxlen=_WINDOW)
    step: list[float] = []
    mean, deviation = 0.0, 1.0
    scores: list[float] = []
    for value in values:
        scores.append(1 - _tail(value, mean, deviation) if window else 0.0)
        if len(window) < _WINDOW:
            window.append(value)
            mean, deviation = _moments(window)
            continue
        step.append(value)
        if len(step) == _STEP:
            window.extend(step)
            step = []
            mean, deviation = _moments(window)
    return scores


def _tail(value: float, mean: float, deviation: float) -> float:
    return 0.5 * math.erfc(abs(value - mean) / deviation / math.sqrt(2))


def _moments(window: deque[float]) -> tuple[float, float]:
    import numpy as np

    values = np.asarray(window)
    return float(values.mean()), float(values.std()) or 0.000_001


def _half_space_trees(data: Sequence[Series], cache: Path) -> dict[str, list[float]]:
    """Return the scores of river's trees, from an environment of their own (`OpsError`)."""
    python = install(TREES, cache)
    asked = "".join(json.dumps({"values": list(series.values)}) + "\n" for series in data)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [str(python), str(TREES.adapter)],
            input=asked, capture_output=True, text=True, env=env, check=False, timeout=_PATIENCE_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OpsError(f"river's trees do not run: {error}.") from None
    answers = [json.loads(line)["scores"] for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(data):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OpsError(f"river's trees ended with status {done.returncode}: {last}")
    return {series.name: scores for series, scores in zip(data, answers, strict=True)}
