"""How far stated confidence was borne out. Pure: it gets counts, one entry a stated value.

Confidence is how likely success seemed, so a decision counts 1 if it ended as `success` and 0 if
it ended as `partial` or `failure`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.memory.advice import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.advice import Interval

__all__ = ["Calibration", "CalibrationBin", "StatedConfidence", "calibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedConfidence:
    """The resolved decisions that stated one and the same confidence."""

    confidence: float
    decisions: int
    successes: int
    partials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """The decisions whose confidence is from `low` to below `high`; the last holds 1 as well."""

    low: float
    high: float
    decisions: int
    successes: int
    mean_confidence: float
    success_share: float
    #: Of `success_share`.
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Stated confidence against what came of it; figures are None where there is no sample."""

    #: In one line what there is, or that there is nothing yet.
    summary: str
    #: The sample: resolved decisions with a stated confidence.
    decisions: int
    successes: int
    #: Counted as no success.
    partials: int
    mean_confidence: float | None
    success_share: float | None
    interval: Interval | None
    #: 0 is perfect, 0.25 is what always saying 0.5 gets, 1 is the worst.
    brier_score: float | None
    #: Mean distance of confidence from success over the bins: 0 is perfect.
    expected_calibration_error: float | None
    #: Lowest first; empty ones are left out.
    bins: list[CalibrationBin]


def calibrate(stated: Sequence[StatedConfidence], *, bins: int) -> Calibration:
    """Return the calibration over `bins` bins of equal width.

    The score is G. W. Brier's, Verification of forecasts expressed in terms of probability,
    Monthly Weather Review 78 (1950), 1-3, in its form for two outcomes. The error is the one of
    M. P. Naeini, G. F. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using
    Bayesian binning, AAAI (2015).
    """
    total = sum(s.decisions for s in stated)
    successes = sum(s.successes for s in stated)
    edges = [i / bins for i in range(bins + 1)]
    filled: dict[int, list[StatedConfidence]] = {}
    for s in stated:
        if s.decisions:
            place = min(bisect_right(edges, s.confidence) - 1, bins - 1)
            filled.setdefault(place, []).append(s)
    made = [_bin(edges[i], edges[i + 1], filled[i]) for i in sorted(filled)]
    errors = [b.decisions * abs(b.mean_confidence - b.success_share) for b in made]
    return Calibration(
        summary=_summary(total),
        decisions=total,
        successes=successes,
        partials=sum(s.partials for s in stated),
        mean_confidence=_mean(stated, total),
        success_share=successes / total if total else None,
        interval=wilson(successes, total),
        brier_score=math.fsum(map(_squares, stated)) / total if total else None,
        expected_calibration_error=math.fsum(errors) / total if total else None,
        bins=made,
    )


def _bin(low: float, high: float, stated: Sequence[StatedConfidence]) -> CalibrationBin:
    total = sum(s.decisions for s in stated)
    successes = sum(s.successes for s in stated)
    mean, interval = _mean(stated, total), wilson(successes, total)
    assert mean is not None
    assert interval is not None
    return CalibrationBin(
        low=low,
        high=high,
        decisions=total,
        successes=successes,
        mean_confidence=mean,
        success_share=successes / total,
        interval=interval,
    )


def _mean(stated: Sequence[StatedConfidence], total: int) -> float | None:
    if not total:
        return None
    return math.fsum(s.confidence * s.decisions for s in stated) / total


def _squares(s: StatedConfidence) -> float:
    failures = s.decisions - s.successes
    return s.successes * (1 - s.confidence) ** 2 + failures * s.confidence**2


def _summary(total: int) -> str:
    if not total:
        return "No resolved decision states its confidence yet; there is nothing to compare."
    if total == 1:
        return "1 resolved decision states its confidence; one says nothing about calibration."
    return f"{total} resolved decisions state their confidence."
