"""The arithmetic of calibration, for any stated confidence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.calibration import StatedConfidence, calibrate


@st.composite
def statements(draw: st.DrawFn) -> list[StatedConfidence]:
    values = draw(st.lists(st.floats(0, 1), max_size=8, unique=True))
    made: list[StatedConfidence] = []
    for confidence in values:
        decisions = draw(st.integers(1, 50))
        successes = draw(st.integers(0, decisions))
        partials = draw(st.integers(0, decisions - successes))
        made.append(stated(confidence, decisions, successes, partials))
    return made


def stated(
    confidence: float, decisions: int, successes: int, partials: int = 0
) -> StatedConfidence:
    return StatedConfidence(
        confidence=confidence, decisions=decisions, successes=successes, partials=partials
    )


@given(statements(), st.integers(1, 50))
def test_bins_hold_every_decision_once_and_within_their_edges(
    given_: list[StatedConfidence], bins: int
) -> None:
    found = calibrate(given_, bins=bins)
    assert sum(b.decisions for b in found.bins) == found.decisions
    assert sum(b.successes for b in found.bins) == found.successes
    assert [b.low for b in found.bins] == sorted({b.low for b in found.bins})
    for b in found.bins:
        inside = [
            s
            for s in given_
            if b.low <= s.confidence < b.high or (b.high == 1 and s.confidence == 1)
        ]
        assert b.decisions == sum(s.decisions for s in inside)
        assert b.low - 1e-12 <= b.mean_confidence <= b.high + 1e-12
        assert b.interval.low <= b.success_share <= b.interval.high


@given(statements(), st.integers(1, 50))
def test_scores_are_what_every_decision_by_itself_gives(
    given_: list[StatedConfidence], bins: int
) -> None:
    found = calibrate(given_, bins=bins)
    single = [
        (s.confidence, 1.0 if n < s.successes else 0.0) for s in given_ for n in range(s.decisions)
    ]
    if not single:
        assert (found.brier_score, found.expected_calibration_error, found.bins) == (None, None, [])
        return
    assert found.brier_score == pytest.approx(
        math.fsum((c - o) ** 2 for c, o in single) / len(single)
    )
    assert found.expected_calibration_error is not None
    assert 0 <= found.expected_calibration_error <= 1
    # Within a bin errors may cancel; the mean error of all is never larger than the bins' sum.
    overall = abs(math.fsum(c - o for c, o in single)) / len(single)
    assert overall <= found.expected_calibration_error + 1e-9


def test_perfect_and_worst_confidence() -> None:
    perfect = calibrate([stated(1.0, 3, 3), stated(0.0, 2, 0)], bins=10)
    assert (perfect.brier_score, perfect.expected_calibration_error) == (0, 0)
    worst = calibrate([stated(1.0, 3, 0), stated(0.0, 2, 2)], bins=10)
    assert (worst.brier_score, worst.expected_calibration_error) == (1, 1)


def test_an_edge_belongs_to_the_bin_above_and_one_to_the_last() -> None:
    found = calibrate([stated(0.3, 1, 0), stated(0.7, 1, 1), stated(1.0, 1, 1)], bins=10)
    assert [(b.low, b.high) for b in found.bins] == [(0.3, 0.4), (0.7, 0.8), (0.9, 1.0)]


def test_partial_is_no_success_and_is_counted() -> None:
    found = calibrate([stated(0.8, 4, 2, 1)], bins=10)
    assert (found.success_share, found.partials) == (0.5, 1)
    assert found.brier_score == pytest.approx((2 * 0.04 + 2 * 0.64) / 4)


def test_nothing_to_compare_is_said() -> None:
    found = calibrate([], bins=10)
    assert "nothing to compare" in found.summary
    assert (found.decisions, found.mean_confidence, found.interval) == (0, None, None)
