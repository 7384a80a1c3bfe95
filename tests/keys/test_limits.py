"""The arithmetic of limits, in Python and in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.keys.limits import drained, fits, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.servers("18", "16")

LIMIT = st.integers(1, 1_000_000)
WINDOW_S = st.integers(1, 31 * 86_400)
STEPS = st.lists(st.tuples(st.integers(-(10**7), 10**8), st.integers(0, 5)), max_size=60)


@given(st.integers(1, 20), st.integers(1, 100), STEPS)
def test_never_a_unit_more_than_the_limit_and_what_time_gave_back(
    limit: int, window_s: int, steps: list[tuple[int, int]]
) -> None:
    window_us = window_s * 1_000_000
    backlog = taken = now = furthest = 0
    for elapsed, cost in steps:
        backlog = drained(backlog, elapsed_us=elapsed, limit=limit, window_us=window_us)
        now += elapsed
        furthest = max(furthest, now)
        if fits(backlog, cost=cost, limit=limit, window_us=window_us):
            backlog += cost * window_us
            taken += cost
        # However often the clock was set back: only the time that really went on counts.
        assert taken * window_us <= limit * window_us + sum(max(e, 0) for e, _ in steps) * limit
        assert 0 <= backlog <= limit * window_us
        if all(e >= 0 for e, _ in steps):
            assert taken * window_us <= limit * window_us + furthest * limit


@given(LIMIT, WINDOW_S, st.integers(0, 10**6), st.integers(0, 10**6))
def test_state_says_when_the_call_fits_and_not_a_microsecond_before(
    limit: int, window_s: int, calls: int, cost: int
) -> None:
    window_us = window_s * 1_000_000
    backlog = min(calls, limit) * window_us
    state = state_of(
        "x", backlog=backlog, cost=cost, limit=limit, window_us=window_us, refused=True
    )
    assert state.remaining == limit - min(calls, limit)
    assert state.exceeded == (not fits(backlog, cost=cost, limit=limit, window_us=window_us))
    if state.retry_after_s is not None:
        wait = round(state.retry_after_s * 1e6)
        later = drained(backlog, elapsed_us=wait, limit=limit, window_us=window_us)
        before = drained(backlog, elapsed_us=wait - 1, limit=limit, window_us=window_us)
        assert fits(later, cost=cost, limit=limit, window_us=window_us)
        assert not fits(before, cost=cost, limit=limit, window_us=window_us)
    elif state.exceeded:
        assert cost > limit


def test_clock_set_back_a_day_makes_nobody_wait_longer_than_a_window() -> None:
    window_us = 60_000_000
    backlog = drained(0, elapsed_us=-86_400_000_000, limit=60, window_us=window_us)
    assert backlog == 60 * window_us
    assert drained(backlog, elapsed_us=1_000_000, limit=60, window_us=window_us) == 59 * window_us


@pytest.fixture(scope="module")
def plain(shared_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shared_dsn, autocommit=True) as conn:
        yield conn


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LIMIT, WINDOW_S, st.integers(0, 1_000_000), st.integers(-(2**50), 2**50))
def test_database_counts_as_python_does(
    plain: psycopg.Connection[Any], limit: int, window_s: int, calls: int, elapsed: int
) -> None:
    window_us = window_s * 1_000_000
    backlog = min(calls, limit) * window_us
    at = 2**51
    row = plain.execute(
        "SELECT aegis_drained(%s::bigint, %s::bigint, %s::bigint, %s::bigint, %s::bigint, "
        "%s::bigint)",
        (backlog, at, window_us, at + elapsed, limit, window_us),
    ).fetchone()
    assert row == (drained(backlog, elapsed_us=elapsed, limit=limit, window_us=window_us),)


def test_window_that_was_changed_keeps_the_calls(plain: psycopg.Connection[Any]) -> None:
    row = plain.execute(
        "SELECT aegis_drained(5000000::bigint, 0::bigint, 1000000::bigint, 0::bigint, "
        "10::bigint, 60000000::bigint)"
    ).fetchone()
    assert row == (5 * 60_000_000,)
