"""The pace of an address: against a model, within bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.api.pace import Pace, bucket_of, is_loopback


class Model:
    """A bucket that leaks: as plain as it can be written, one list of calls an address."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.level: dict[str, float] = {}
        self.at: dict[str, float] = {}

    def take(self, bucket: str, now: float) -> float:
        level = max(self.level.get(bucket, 0.0) - (now - self.at.get(bucket, now)) * self.rate, 0.0)
        self.at[bucket] = now
        if level + 1 > self.burst + 1e-6:
            self.level[bucket] = level
            return (level + 1 - self.burst) / self.rate
        self.level[bucket] = level + 1
        return 0.0


@given(
    rate=st.sampled_from([0.25, 1.0, 4.0, 50.0]),
    burst=st.integers(1, 12),
    calls=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.0, 0.03125, 0.25, 1.0, 9.0])),
        max_size=120,
    ),
)
def test_pace_admits_what_the_model_admits(
    rate: float, burst: int, calls: list[tuple[str, float]]
) -> None:
    pace, model = Pace(rate, burst), Model(rate, burst)
    now = 1_000.0
    for bucket, pause in calls:
        now += pause
        assert pace.take(bucket, now) == pytest.approx(model.take(bucket, now), abs=1e-5)


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 2), max_size=200),
)
def test_no_span_of_time_admits_more_than_burst_and_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    pace, now, admitted = Pace(rate, burst), 0.0, list[float]()
    for pause in pauses:
        now += pause
        if not pace.take("a", now):
            admitted.append(now)
    for first, begin in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + (admitted[last] - begin) * rate + 1e-6


def test_wait_is_as_long_as_it_says() -> None:
    pace = Pace(2.0, 3)
    assert [pace.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    wait = pace.take("a", 0.0)
    assert wait == pytest.approx(0.5)
    assert pace.take("a", wait - 0.01) > 0
    assert pace.take("a", wait) == 0.0
    assert pace.take("b", 0.0) == 0.0


def test_no_rate_is_no_limit_and_keeps_nothing() -> None:
    pace = Pace(0, 1)
    assert {pace.take("a", 0.0) for _ in range(100)} == {0.0}
    assert len(pace) == 0


def test_what_was_refused_is_counted_once_at_most() -> None:
    pace = Pace(1 / 60, 5)
    for _ in range(1_000):
        pace.count("a", 0.0)
    # A minute later one is admitted again, however many there were.
    assert pace.wait("a", 59.0) > 0
    assert pace.wait("a", 60.1) == 0.0


def test_flood_of_addresses_takes_no_more_memory_than_the_last_ones() -> None:
    pace = Pace(1.0, 1, most=1_000)
    for number in range(2_000):
        pace.take(str(number), 0.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(200_000):
        pace.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1.0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(pace) == 1_000
    # A thousand entries; all of them would be 34 MB.
    assert grown < 400_000
    # The one that was seen last is still known.
    assert pace.take("10.3.13.63", 1.0) > 0


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "?"),
        ("testclient", "?"),
    ],
)
def test_addresses_of_one_network_are_counted_together(address: str, bucket: str) -> None:
    assert bucket_of(address) == bucket


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_known(address: str) -> None:
    assert is_loopback(address)
    assert not is_loopback("10.0.0.1") and not is_loopback("")
