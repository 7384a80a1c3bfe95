"""What a memory is worth: from importance, age, use and links."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import load_settings
from aegis.errors import ConfigError
from aegis.memory.retention import score
from aegis.memory.retention.score import Decay, Traits

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DECAY = Decay(half_lives={"low": 30, "medium": 90, "high": 365}, below=0.05)
AGES = st.timedeltas(timedelta(days=-400), timedelta(days=20_000))
TRAITS = st.builds(
    Traits,
    id=st.integers(1, 100),
    importance=st.sampled_from(["low", "medium", "high", "critical"]),
    recorded_at=AGES.map(lambda age: NOW - age),
    last_recalled_at=st.none() | AGES.map(lambda age: NOW - age),
    recalls=st.integers(0, 10**9),
    links=st.integers(0, 10**6),
)


def traits(importance: str, days: float, **changes: int) -> Traits:
    memory = Traits(
        id=1,
        importance=importance,
        recorded_at=NOW - timedelta(days=days),
        last_recalled_at=None,
        recalls=0,
        links=0,
    )
    return replace(memory, **changes)


@pytest.mark.parametrize(("importance", "days"), [("low", 30), ("medium", 90), ("high", 365)])
def test_one_half_life_without_use_leaves_half(importance: str, days: int) -> None:
    assert score.retention(traits(importance, days), DECAY, NOW) == pytest.approx(0.5)
    assert score.retention(traits(importance, 2 * days), DECAY, NOW) == pytest.approx(0.25)


def test_use_and_links_lengthen_the_half_life() -> None:
    assert score.half_life_days(traits("low", 0, recalls=1), DECAY) == pytest.approx(60)
    assert score.half_life_days(traits("low", 0, recalls=3), DECAY) == pytest.approx(90)
    assert score.half_life_days(traits("low", 0, links=1), DECAY) == pytest.approx(45)


def test_a_recall_begins_the_time_anew() -> None:
    memory = replace(traits("low", 900), last_recalled_at=NOW - timedelta(days=1), recalls=1)
    assert score.is_forgettable(traits("low", 900), DECAY, NOW)
    assert not score.is_forgettable(memory, DECAY, NOW)


@given(TRAITS)
def test_score_is_a_share_and_critical_ones_are_never_forgotten(memory: Traits) -> None:
    worth = score.retention(memory, DECAY, NOW)
    assert 0 <= worth <= 1
    if memory.importance == "critical":
        assert worth == 1
        assert not score.is_forgettable(memory, DECAY, NOW)


@given(TRAITS, st.integers(0, 1000), st.integers(0, 1000), st.timedeltas(timedelta(0)))
def test_more_use_and_links_never_lower_it_and_time_never_raises_it(
    memory: Traits, recalls: int, links: int, later: timedelta
) -> None:
    worth = score.retention(memory, DECAY, NOW)
    used = replace(memory, recalls=memory.recalls + recalls, links=memory.links + links)
    assert score.retention(used, DECAY, NOW) >= worth
    assert score.retention(memory, DECAY, NOW + min(later, timedelta(days=9_000))) <= worth


@given(TRAITS)
def test_what_is_younger_than_the_least_time_is_never_forgettable(memory: Traits) -> None:
    least = score.least_idle_days(DECAY).get(memory.importance, float("inf"))
    if score.idle_days(memory, NOW) < least - 1e-6:
        assert not score.is_forgettable(memory, DECAY, NOW)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AEGIS_FORGET_HALF_LIFE_LOW_DAYS", "0"),
        ("AEGIS_FORGET_HALF_LIFE_HIGH_DAYS", "nan"),
        ("AEGIS_FORGET_BELOW", "1"),
        ("AEGIS_FORGET_BELOW", "0"),
    ],
)
def test_settings_out_of_range_are_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        score.decay_of(load_settings({variable: value}))


def test_why_says_what_it_rests_on() -> None:
    assert score.why(traits("low", 200), DECAY, NOW) == (
        "low, unused for 200 days, never recalled; half-life 30 days"
    )
    assert "recalled once, 3 links" in score.why(traits("low", 9, recalls=1, links=3), DECAY, NOW)
