"""Which table a chart is read from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.metrics.steps import choose

HOUR, DAY = 3_600.0, 86_400.0


@pytest.mark.parametrize(
    ("span", "points", "source", "step_s"),
    [
        (HOUR, 500, "samples", 0),
        (DAY, 500, "5m", 300),
        (DAY, 800, "1m", 120),
        (2 * DAY, 300, "5m", 600),
        (DAY, 100, "15m", 900),
        (29 * DAY, 500, "1h", 7_200),
        (7 * DAY, 500, "15m", 1_800),
    ],
)
def test_the_coarsest_table_that_is_fine_enough_is_read(
    span: float, points: int, source: str, step_s: int
) -> None:
    plan = choose(span, points=points, age_s=span, keep_days=30)
    assert (plan.source, plan.step_s) == (source, step_s)


def test_what_is_no_longer_kept_is_read_from_what_is() -> None:
    assert choose(HOUR, points=500, age_s=40 * DAY, keep_days=30).source == "15m"
    assert choose(HOUR, points=500, age_s=300 * DAY, keep_days=30).source == "1h"


@given(st.floats(1, 3_660 * DAY), st.integers(10, 5_000))
def test_a_chart_never_has_many_more_points_than_asked_for(span: float, points: int) -> None:
    plan = choose(span, points=points, age_s=span, keep_days=400)
    step = plan.step_s or 15
    assert span / step <= max(points, span / 2_592_000) + 1
