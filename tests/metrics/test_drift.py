"""Slow rises: found while they last, with when the limit is reached."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.metrics.drift import BUCKET_S, Drift, Trend, agreement, slope_of

START = 1_700_000_000.0 // BUCKET_S * BUCKET_S


def run(trend: Trend, values: list[float], every: float = 300.0) -> list[Drift]:
    found = [trend.update(START + every * n, value) for n, value in enumerate(values)]
    return [drift for drift in found if drift is not None]


def test_a_leak_is_found_with_the_time_of_the_limit() -> None:
    rng = random.Random(1)
    # Half a percent an hour from 40: the limit is 120 hours away at the start.
    values = [40 + n / 24 + rng.gauss(0, 0.2) for n in range(24 * 24)]
    found = run(Trend(limit=100.0), values)
    assert found
    assert found[-1].per_hour == pytest.approx(0.5, rel=0.05)
    assert found[-1].full_at == pytest.approx(START + 120 * 3_600, abs=4 * 3_600)


def test_noise_a_day_s_rhythm_and_a_fall_are_no_drift() -> None:
    rng = random.Random(2)
    assert run(Trend(limit=100.0), [50 + rng.gauss(0, 2) for _ in range(3_000)]) == []
    falling = [90 - n / 100 for n in range(3_000)]
    assert run(Trend(limit=100.0), falling) == []


def test_a_drift_is_over_when_values_no_longer_rise() -> None:
    trend = Trend(limit=100.0)
    run(trend, [40 + n / 20 for n in range(400)])
    assert trend.drifting
    for n in range(400, 600):
        trend.update(START + 300.0 * n, 60.0 - n / 100)
    assert not trend.drifting


def test_a_limit_far_away_and_a_pause_are_no_drift() -> None:
    assert run(Trend(limit=1e6), [40 + n / 20 for n in range(400)]) == []
    trend = Trend(limit=100.0)
    run(trend, [40 + n / 20 for n in range(100)])
    assert trend.update(START + 40 * 86_400, 95.0) is None
    assert trend.update(math.nan, 1.0) is None
    assert trend.update(START, 99.0) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_agreement_is_between_one_and_minus_one_and_turns_with_the_values(
    values: list[float],
) -> None:
    rising = [(float(n), value) for n, value in enumerate(values)]
    assert -1 <= agreement(rising) <= 1
    assert agreement([(n, -value) for n, value in rising]) == -agreement(rising)
    assert slope_of([(n, -value) for n, value in rising]) == -slope_of(rising)
