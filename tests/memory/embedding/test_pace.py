"""What is booked stays within the limits of any sixty seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.embedding.pace import Pace

ASKED = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 400)), max_size=40)


@given(ASKED, st.integers(0, 5), st.integers(0, 500))
def test_no_window_holds_more_than_the_limits(
    asked: list[tuple[float, int]], requests: int, tokens: int
) -> None:
    pace = Pace(requests_per_minute=requests, tokens_per_minute=tokens)
    now, booked = 0.0, list[tuple[float, int]]()
    for pause, size in asked:
        now += pause
        booking = pace.book(size, now=now)
        assert booking.at >= now
        booked.append((booking.at, size))
    for start, _ in booked:
        inside = [size for at, size in booked if start <= at < start + 60]
        assert not requests or len(inside) <= requests
        # One that is larger than the limit goes by itself.
        assert not tokens or len(inside) == 1 or sum(inside) <= tokens


@given(ASKED)
def test_without_limits_nothing_waits(asked: list[tuple[float, int]]) -> None:
    pace = Pace()
    assert all(pace.book(size, now=now).at == now for now, size in asked)


def test_a_request_starts_as_early_as_it_may() -> None:
    pace = Pace(requests_per_minute=2)
    assert [pace.book(1, now=float(n)).at for n in range(5)] == [0, 1, 60, 61, 120]


def test_a_cancelled_booking_leaves_its_room() -> None:
    pace = Pace(requests_per_minute=1)
    pace.book(1, now=0.0)
    pace.cancel(pace.book(1, now=1.0))
    assert pace.book(1, now=2.0).at == 60.0


def test_a_pause_that_was_asked_for_holds_everything() -> None:
    pace = Pace()
    pace.hold(10.0)
    pace.hold(5.0)
    assert pace.book(1, now=1.0).at == 10.0
    assert pace.book(1, now=11.0).at == 11.0
