"""The circuit breaker, at any time it is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.breaker import Breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(failures=3, rest_s=10)
    breaker.failed(0)
    breaker.failed(1)
    breaker.succeeded()
    breaker.failed(2)
    breaker.failed(3)
    assert breaker.admits(3)
    breaker.failed(4)
    assert breaker.rests(13.9)
    assert not breaker.admits(13.9)


def test_half_open_lets_one_try_and_the_others_wait() -> None:
    breaker = Breaker(failures=1, rest_s=10)
    breaker.failed(0)
    assert not breaker.rests(10)
    assert [breaker.admits(10), breaker.admits(10), breaker.admits(19)] == [True, False, False]
    # The trial never said how it went.
    assert breaker.admits(20)
    breaker.succeeded()
    assert breaker.admits(20)


def test_a_failed_trial_opens_it_again_at_once() -> None:
    breaker = Breaker(failures=3, rest_s=10)
    for _ in range(3):
        breaker.failed(0)
    assert breaker.admits(11)
    breaker.failed(12)
    assert [breaker.admits(21), breaker.admits(22)] == [False, True]


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "ask"]), st.floats(0, 100)), max_size=40))
def test_it_never_stays_open_for_ever(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(failures=2, rest_s=5), 0.0
    for step, later in steps:
        now += later
        if step == "ask":
            rested = breaker.rests(now)
            assert breaker.admits(now) is not rested
        elif step == "ok":
            breaker.succeeded()
        else:
            breaker.failed(now)
    assert breaker.admits(now + 5)
