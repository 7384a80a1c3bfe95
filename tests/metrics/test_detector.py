"""What the detector promises, on series made for it."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.metrics.detector import RATIO, Detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

START = 1_700_000_100.0
DAY = 288


def times(count: int, every: float = 300.0) -> list[float]:
    return [START + every * number for number in range(count)]


def scores(values: Iterable[float], detector: Detector | None = None) -> list[float]:
    found = detector or Detector()
    return [found.update(START + 300.0 * number, value) for number, value in enumerate(values)]


def noise(count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [50 + rng.gauss(0, 2) for _ in range(count)]


def test_a_spike_is_seen_at_its_first_value_and_noise_is_not() -> None:
    values = noise(2_000)
    values[1_500] = 90.0
    found = scores(values)
    # The means remember it for a while.
    strange = [number for number, score in enumerate(found) if score >= RATIO]
    assert strange[0] == 1_500
    assert strange[-1] < 1_550


def test_spikes_that_come_every_day_are_learned() -> None:
    values = noise(20 * DAY)
    for day in range(20):
        values[day * DAY + 100] = 95.0
    found = scores(values)
    assert max(found[5 * DAY :]) < RATIO


def test_spikes_of_every_day_are_remembered_at_fifteen_seconds_too() -> None:
    every, day = 15.0, 5_760
    values = noise(5 * day)
    for number in range(5):
        values[number * day + 2_000] = 95.0
    detector = Detector()
    found = [detector.update(START + every * n, value) for n, value in enumerate(values)]
    assert max(found[3 * day :]) < RATIO


def test_what_is_missing_from_a_daily_rhythm_is_seen() -> None:
    def busy(number: int) -> bool:
        return 108 < number % DAY < 216 and number // DAY != 10

    rng = random.Random(3)
    values = [(80.0 if busy(n) else 20.0) + rng.uniform(-4, 4) for n in range(14 * DAY)]
    found = scores(values)
    # The value itself is as low as in any night: only the time of the day makes it strange.
    quiet_day = found[10 * DAY + 109 : 10 * DAY + 216]
    assert max(quiet_day) >= RATIO
    assert max(found[6 * DAY : 10 * DAY]) < RATIO


def test_a_step_from_a_constant_is_seen_but_not_one_that_never_matters() -> None:
    values = [5.0] * 400 + [9.0] * 10
    assert scores(values)[400] >= RATIO
    assert max(scores(values, Detector(least=5.0))) == 0.0


def test_a_shift_becomes_the_new_normal() -> None:
    values = noise(1_500) + [value + 40 for value in noise(1_500, seed=2)]
    found = scores(values)
    assert found[1_500] >= RATIO
    assert max(found[1_800:]) < RATIO


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_changes_nothing(value: float) -> None:
    left, right = Detector(), Detector()
    for number, figure in enumerate(noise(300)):
        left.update(START + 300.0 * number, figure)
        right.update(START + 300.0 * number, figure)
        assert right.update(START + 300.0 * number + 1, value) == 0.0
    assert right.ignored == 300
    assert left.update(START + 300.0 * 300, 77.0) == right.update(START + 300.0 * 300, 77.0)


def test_late_and_repeated_values_are_left_out() -> None:
    detector = Detector()
    for number, value in enumerate(noise(300)):
        detector.update(START + 300.0 * number, value)
    assert detector.update(START + 300.0 * 299, 1e9) == 0.0
    assert detector.update(START + 300.0 * 200, 1e9) == 0.0
    assert (detector.seen, detector.ignored) == (300, 2)


def test_a_clock_that_was_put_back_is_believed_after_a_while() -> None:
    detector = Detector()
    for number, value in enumerate(noise(300)):
        detector.update(START + 300.0 * number, value)
    back = START - 86_400 * 30
    for number in range(100):
        detector.update(back + 300.0 * number, 50.0)
    assert detector.last_at == back + 300.0 * 99
    assert detector.seen > 370


def test_a_gap_of_days_is_no_anomaly_by_itself() -> None:
    detector = Detector()
    for number, value in enumerate(noise(600)):
        detector.update(START + 300.0 * number, value)
    after = START + 300.0 * 600 + 5 * 86_400
    assert detector.update(after, 51.0) < RATIO


def test_huge_values_leave_the_state_finite() -> None:
    detector = Detector()
    for number in range(500):
        detector.update(START + number, 1.7e308 if number % 2 else -1.7e308)
    assert all(math.isfinite(edge) for edge in detector.range())
    assert Detector.from_bytes(detector.to_bytes()).seen == 500


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, max_size=400), st.integers(0, 400))
def test_a_restart_in_the_middle_changes_nothing(values: list[float], cut: int) -> None:
    whole = scores(values)
    detector = Detector()
    found: list[float] = []
    for number, value in enumerate(values):
        if number == cut:
            detector = Detector.from_bytes(detector.to_bytes())
        found.append(detector.update(START + 300.0 * number, value))
    assert found == whole
    assert all(score >= 0 and math.isfinite(score) for score in found)


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, max_size=300), st.lists(numbers, max_size=50))
def test_what_comes_later_does_not_change_what_was_judged(
    values: list[float], more: list[float]
) -> None:
    assert scores([*values, *more])[: len(values)] == scores(values)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e6), st.integers(0, 5))
def test_the_unit_of_the_values_does_not_matter(factor: float, seed: int) -> None:
    values = noise(600, seed=seed)
    values[500] = 120.0
    plain, scaled = scores(values), scores([value * factor for value in values])
    assert scaled == pytest.approx(plain, rel=1e-6)


def test_the_state_is_of_one_size() -> None:
    detector = Detector()
    empty = len(detector.to_bytes())
    for number, value in enumerate(noise(5_000)):
        detector.update(START + 300.0 * number, value)
    assert len(detector.to_bytes()) == empty < 8_000


def broken(state: bytes) -> list[tuple[Callable[[], bytes], str]]:
    return [(lambda: state[:-8], "bytes"), (lambda: b"", "bytes")]


def test_a_state_that_is_none_is_refused() -> None:
    state = Detector().to_bytes()
    for make, word in broken(state):
        with pytest.raises(InvalidInput, match=word):
            Detector.from_bytes(make())
    with pytest.raises(InvalidInput, match="version 2"):
        import struct

        Detector.from_bytes(struct.pack("<d", 2.0) + state[8:])
