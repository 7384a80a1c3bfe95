"""The arithmetic of advice, for any decisions."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.advice import Advice, Candidate, OptionRecord, option_key, weigh, wilson
from aegis.memory.models import OUTCOMES, Decision, DecisionEpisode

_THEN = datetime(2026, 5, 1, tzinfo=UTC)


def decision(number: int, chosen: str, outcome: Any = "pending", **fields: Any) -> Decision:
    values: dict[str, Any] = {
        "id": number,
        "namespace": "default",
        "episode_id": number + 100,
        "task_context": "t",
        "alternatives": [chosen],
        "chosen_option": chosen,
        "reasoning": "r",
        "outcome_status": outcome,
        "outcome_details": None,
        "lessons_learned": None,
        "user_feedback": None,
        "confidence": None,
        "review_at": None,
        "episodes": [],
        "created_at": _THEN,
        "resolved_at": None,
    }
    return Decision(**(values | fields))


def advise(*found: tuple[Decision, float], options: Any = None, least: float = 0.3) -> Advice:
    candidates = [Candidate(decision=d, similarity=s) for d, s in found]
    return weigh("q", candidates, options=options, min_similarity=least)


@st.composite
def worlds(draw: st.DrawFn) -> list[tuple[Decision, float]]:
    ids = draw(st.lists(st.integers(1, 1000), max_size=12, unique=True))
    return [
        (
            decision(
                i, draw(st.sampled_from(["a", "B ", "b", "c"])), draw(st.sampled_from(OUTCOMES))
            ),
            draw(st.floats(-1, 1)),
        )
        for i in ids
    ]


@given(worlds(), st.none() | st.lists(st.sampled_from(["A", "b", "z"]), min_size=1))
def test_every_similar_decision_is_counted_once_and_no_other(
    world: list[tuple[Decision, float]], options: list[str] | None
) -> None:
    advice = advise(*world, options=options)
    alike = {d.id for d, s in world if s >= 0.3}
    counted = [i for r in advice.options + advice.others for i in r.decision_ids]
    assert sorted(counted) == sorted(alike) == sorted(p.decision_id for p in advice.precedents)
    assert advice.considered == len(world)
    assert [p.similarity for p in advice.precedents] == sorted(
        (s for _, s in world if s >= 0.3), reverse=True
    )


@given(worlds())
def test_counts_and_rates_agree(world: list[tuple[Decision, float]]) -> None:
    for record in advise(*world).options:
        assert record.chosen == len(record.decision_ids) > 0
        assert record.resolved == record.success + record.partial + record.failure
        assert record.chosen == record.resolved + record.pending <= record.offered
        if not record.resolved:
            assert (record.success_rate, record.interval, record.weighted) == (None, None, None)
            continue
        assert record.interval is not None
        assert record.weighted is not None
        assert record.success_rate is not None
        assert record.success_rate == record.success / record.resolved
        assert record.interval.low <= record.success_rate <= record.interval.high
        assert 0 <= record.weighted.success_rate <= 1
        assert 1 - 1e-9 <= record.weighted.sample <= record.resolved + 1e-9


@given(worlds())
def test_order_of_the_candidates_does_not_matter(world: list[tuple[Decision, float]]) -> None:
    assert advise(*world) == advise(*reversed(world))


@given(st.integers(1, 100_000), st.data())
def test_wilson_holds_the_share_and_stays_within_0_and_1(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    found = wilson(successes, trials)
    other = wilson(trials - successes, trials)
    assert found is not None
    assert other is not None
    assert 0 <= found.low <= successes / trials <= found.high <= 1
    assert found.low < found.high
    assert found.low == pytest.approx(1 - other.high, abs=1e-12)
    wider = wilson(successes * 4, trials * 4)
    assert wider is not None
    assert wider.high - wider.low < found.high - found.low


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # 0 of n: 0 to z²/(n + z²); the others by hand from the formula.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0)],
)
def test_wilson_gives_the_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    found = wilson(successes, trials)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_wilson_of_no_trial_is_none() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PostgreSQL", "postgresql"),
        ("blue-green", "Blue Green"),
        ("Node.js", "nodejs"),
        ("  use `redis`! ", "Use Redis"),
        ("Straße", "STRASSE"),
        ("ﬁle", "file"),
        ("v1.6", "V 1.6"),
    ],
)
def test_options_worded_a_bit_differently_are_one(one: str, other: str) -> None:
    assert option_key(one) == option_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C", "C#"),
        ("C", "C++"),
        ("1.5", "15"),
        ("1 5", "15"),
        ("-1", "1"),
        ("scale by -1", "scale by 1"),
        ("redis", "radish"),
        ("redis", "redis cluster"),
        ("?", "!"),
        ("é", "e"),
    ],
)
def test_options_that_differ_stay_apart(one: str, other: str) -> None:
    assert option_key(one) != option_key(other)


@given(st.text(min_size=1))
def test_every_option_has_a_key_that_blanks_around_it_do_not_change(text: str) -> None:
    assert option_key(f"\t {text} \n") == option_key(text)
    assert option_key(text) or not text.strip()


@given(st.lists(st.text("abcXYZ", min_size=1), min_size=1))
def test_case_spaces_and_dashes_between_words_do_not_count(words: list[str]) -> None:
    assert option_key(" ".join(words)) == option_key("-".join(w.upper() for w in words) + ".")


def test_options_asked_about_come_in_their_order_and_once() -> None:
    advice = advise(
        (decision(1, "Redis", "success"), 0.9),
        (decision(2, "kafka", "failure"), 0.8),
        options=["postgres", "REDIS", "redis."],
    )
    assert [(r.option, r.chosen) for r in advice.options] == [("postgres", 0), ("REDIS", 1)]
    assert [(r.option, r.failure) for r in advice.others] == [("kafka", 1)]
    assert advice.summary == "2 similar decisions; the outcome of 2 is known."


def test_weighting_by_similarity_is_stated_beside_the_plain_rate() -> None:
    (record,) = advise(
        (decision(1, "a", "success"), 0.9),
        (decision(2, "a", "failure"), 0.3),
        (decision(3, "a", "pending"), 1.0),
    ).options
    assert (record.success_rate, record.resolved) == (0.5, 2)
    assert record.weighted is not None
    assert record.weighted.success_rate == pytest.approx(0.75)
    assert record.weighted.sample == pytest.approx(1.44 / 0.9)


def test_lessons_and_links_are_those_of_the_option() -> None:
    links = [DecisionEpisode(episode_id=7, role="trigger")]
    first = decision(1, "a", "failure", lessons_learned="Test it.", episodes=links)
    liked = decision(2, "a", "success", user_feedback="positive")
    silent = decision(3, "a", "success", episode_id=None)
    (record,) = advise((first, 0.5), (liked, 0.9), (silent, 0.7)).options
    assert [(n.decision_id, n.lessons_learned, n.user_feedback) for n in record.lessons] == [
        (2, None, "positive"),
        (1, "Test it.", None),
    ]
    assert record.decision_ids == [2, 3, 1]
    assert record.episode_ids == [7, 101, 102]


@pytest.mark.parametrize(
    ("found", "options", "says"),
    [
        ([], None, "No decision is recorded that could be compared"),
        ([(decision(1, "a"), 0.1)], None, "the only one is not at least 0.3 alike"),
        ([(decision(1, "a"), 0.1), (decision(2, "a"), -1)], None, "of the 2 looked at none is"),
        ([(decision(1, "a"), 0.9)], ["b"], "no option asked about was chosen"),
        ([(decision(1, "a"), 0.9)], None, "1 similar decision, and no outcome is known yet"),
    ],
)
def test_summary_says_when_there_is_little_to_go_by(found: Any, options: Any, says: str) -> None:
    advice = advise(*found, options=options)
    assert says in advice.summary
    assert all(r.success_rate is None for r in advice.options)


@pytest.mark.parametrize("alternatives", [None, 3, "a", {"name": "a"}, [None, 3, {"x": 1}, []]])
def test_alternatives_of_any_shape_do_no_harm(alternatives: Any) -> None:
    (record,) = advise((decision(1, "a", alternatives=alternatives), 0.9)).options
    assert isinstance(record, OptionRecord)
    assert record.offered == 1


def test_offered_counts_options_that_were_passed_over() -> None:
    made = decision(1, "a", "success", alternatives=["a", {"option": "B"}])
    (record,) = advise((made, 0.9), options=["b"]).options
    assert (record.offered, record.chosen, record.success_rate) == (1, 0, None)


def test_decisions_without_any_likeness_have_no_weighted_rate() -> None:
    (record,) = advise((decision(1, "a", "success"), 0.0), least=0.0).options
    assert (record.success_rate, record.weighted) == (1.0, None)
    assert math.isclose(record.interval.low if record.interval else 0, 0.2065, abs_tol=1e-4)
