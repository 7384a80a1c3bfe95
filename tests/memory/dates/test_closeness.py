"""How close memories are to the times of a question."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.dates import understand
from aegis.memory.dates.closeness import Closeness, measure

ASKED = datetime(2024, 6, 19, 15, 30, tzinfo=UTC)
MAY_7 = datetime(2023, 5, 7, 12, tzinfo=UTC)


def close(question: str, time: datetime | None, text: str = "") -> Closeness:
    spans = understand(question, ASKED)
    return measure(spans, [time.timestamp() if time else None], [text], UTC)[0]


def test_a_memory_within_the_time_is_closest_and_one_after_it_closer_than_one_before() -> None:
    inside = close("on 7 May 2023", MAY_7)
    after = close("on 7 May 2023", MAY_7 + timedelta(days=2))
    before = close("on 7 May 2023", MAY_7 - timedelta(days=2))
    assert inside.when == 1
    assert inside.when > after.when > before.when > 0
    assert inside.detail == "2023-05-07 (7 May 2023)"


def test_a_memory_far_from_the_time_is_not_touched() -> None:
    assert close("on 7 May 2023", MAY_7 + timedelta(days=60)) == Closeness()
    assert close("on 7 May 2023", None) == Closeness()


def test_what_a_memory_tells_of_counts_from_when_it_was_told() -> None:
    told = close("on 7 May 2023", MAY_7 + timedelta(days=30), "We moved in on 7 May.")
    relative = close("on 7 May 2023", MAY_7 + timedelta(days=1), "We moved in yesterday.")
    other = close("on 7 May 2023", MAY_7 + timedelta(days=30), "We moved in yesterday.")
    assert told.told > 0.5
    assert relative.told > 0.5
    assert other.told == 0


def test_a_whole_year_says_little_about_a_day() -> None:
    day = close("on 7 May 2023", MAY_7 + timedelta(days=200), "It was on 7 May 2023.")
    year = close("on 7 May 2023", MAY_7 + timedelta(days=200), "It was in 2023.")
    assert day.told > 5 * year.told


@given(
    st.sampled_from(["in June", "yesterday", "before Christmas", "on 5/6/2023", "in 1999"]),
    st.none() | st.floats(-1e15, 1e15),
    st.text(max_size=80) | st.just("yesterday and last May"),
    st.datetimes(timezones=st.just(UTC)),
)
def test_closeness_is_a_share_for_any_memory(
    question: str, time: float | None, text: str, asked: datetime
) -> None:
    (found,) = measure(understand(question, asked), [time], [text], UTC)
    assert 0 <= found.when <= 1
    assert 0 <= found.told <= 1
    assert bool(found.detail) >= bool(found.when or found.told)
