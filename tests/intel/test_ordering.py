"""Lines in another order: learned to be noise, or told as news of low importance."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.intel import judging, times
from aegis.intel.differing import changes_between
from aegis.intel.judging import ORDER_AGREEING
from aegis.intel.models import Reading
from aegis.intel.noise import Rules, alike, learn_moves, masked, read_rules, rested, tagged
from aegis.intel.ordering import ANYWHERE, arranged, moved
from tests.intel.words import WORDS

PARTS = tuple(f"Part {letter} says what it says." for letter in "ABCDEF")


def reading(*lines: str) -> Reading:
    return Reading(
        extractor="1", method="blocks", title="Acme", text=lines, prices=(), outline=("main",)
    )


def test_the_fewest_lines_are_those_that_moved() -> None:
    assert moved("abcdef", "bcdefa") == {"a"}
    assert moved("abcdef", "abcdef") == set()
    assert moved("abab", "abab") == set()
    # One that came, went, or is there more often has not moved.
    assert moved("abcd", "abxcd") == set()
    assert moved("aab", "ba") == set()


@given(st.lists(st.text("abcd", max_size=2), max_size=12), st.randoms())
def test_without_what_moved_the_order_is_the_same(lines: list[str], rng: random.Random) -> None:
    other = list(lines)
    rng.shuffle(other)
    moves = moved(lines, other)
    assert [line for line in lines if line not in moves] == [
        line for line in other if line not in moves
    ]
    assert arranged(lines, moves) == arranged(other, moves)
    assert arranged(lines, {ANYWHERE}) == sorted(lines)


def test_parts_in_another_order_each_time_are_noise_and_what_is_new_among_them_is_not() -> None:
    rng = random.Random(7)
    baseline, rules = reading(*PARTS), Rules(learning=3)

    def served(*more: str) -> Reading:
        lines = [*PARTS, *more]
        rng.shuffle(lines)
        return reading("Acme makes tools.", *lines, "Try them today.")

    baseline = served()
    for _ in range(3):
        rules = judging.learn(baseline, served(), rules)
    rules = read_rules(rules.to_json())
    pending: list[Reading] = []
    for _ in range(60):
        newest = served()
        verdict = judging.judge(baseline, pending, newest, rules)
        rules = verdict.rules
        pending = [*pending, newest] if verdict.kind == "pending" else []
        assert verdict.kind in ("unchanged", "noise", "pending")
    verdicts: list[str] = []
    newest = baseline
    while "changed" not in verdicts:
        newest = served("Part G is new.")
        verdict = judging.judge(baseline, pending, newest, rules)
        pending, rules = [*pending, newest], verdict.rules
        verdicts.append(verdict.kind)
    assert len(verdicts) <= 4
    (change,) = changes_between(baseline, newest, rules, page_type="features")
    assert (change.change_type, change.summary) == (
        "content",
        "1 line added: “Part G is new.”.",
    )
    assert [line for line in change.diff.splitlines() if line[0] in "+-"] == [
        "--- before",
        "+++ after",
        "+Part G is new.",
    ]


def test_a_ranking_that_stays_in_another_order_is_told_once_with_low_importance() -> None:
    baseline, newest = reading(*PARTS), reading(*PARTS[3:], *PARTS[:3])
    pending: list[Reading] = []
    kinds: list[str] = []
    rules = Rules()
    for _ in range(ORDER_AGREEING):
        verdict = judging.judge(baseline, pending, newest, rules)
        kinds.append(verdict.kind)
        pending.append(newest)
        rules = verdict.rules
    assert kinds == ["pending"] * (ORDER_AGREEING - 1) + ["changed"]
    (change,) = changes_between(baseline, newest, rules, page_type="pricing")
    assert (change.change_type, change.importance) == ("structure", "low")
    assert change.details == {"moved": 3}
    assert change.diff


def test_two_orders_by_turns_are_noise_and_compared_again_when_one_stays() -> None:
    first, second = reading(*PARTS), reading(*reversed(PARTS))
    waiting = judging.judge(first, [], second, Rules())
    assert waiting.kind == "pending"
    back = judging.judge(first, [second], first, waiting.rules)
    assert back.kind == "noise"
    assert alike(first, second, back.rules)
    rules = back.rules
    for _ in range(20):
        rules = rested(rules, second)
    assert rules.moves == frozenset()
    assert judging.judge(first, [], second, rules).kind == "pending"


def test_a_page_of_more_than_anybody_keeps_moves_as_a_whole() -> None:
    lines = [f"Line {name} of it" for name in map("".join, itertools.product("abcdef", repeat=4))]
    rules = learn_moves(reading(*lines), reading(*reversed(lines)), Rules())
    assert rules.moves == {ANYWHERE}
    other = list(lines)
    random.Random(1).shuffle(other)
    assert alike(reading(*lines), reading(*other), rules)
    assert not alike(reading(*lines), reading(*other[1:]), rules)


@pytest.mark.parametrize("language", sorted(WORDS))
def test_what_is_looked_for_first_is_in_all_that_is_masked(language: str) -> None:
    words = WORDS[language]
    lines = [
        *(words.updated.format(d=day) for day in ("2026-05-01", "3. Mai 2026", "01/02/26")),
        *(words.ago.format(n=n) for n in ("1", "12")),
        "3 dni temu",
        "today 9:05 pm",
        "© 2026 Acme",
        "id 123e4567-e89b-12d3-a456-426614174000",
    ]
    found = 0
    for line in lines:
        every = line
        for pattern, mark, _ in times._GENERIC:  # pyright: ignore[reportPrivateUsage]
            every = pattern.sub(mark, every)
        assert times.without_times(line) == every
        found += every != line
    assert found >= 4


@given(st.lists(st.sampled_from([*PARTS, "12:30", "an hour ago", "x"]), max_size=8), st.data())
def test_alike_is_equality_of_all_that_is_left(lines: list[str], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.sampled_from([*lines, "9:15", "y"]), max_size=8))
    rules = Rules(
        flaps=frozenset(
            f"x\t{line}" for line in data.draw(st.sets(st.sampled_from([*PARTS, "x"])))
        ),
        moves=frozenset(f"x\t{line}" for line in data.draw(st.sets(st.sampled_from(PARTS)))),
    )
    first, second = reading(*lines), reading(*other)
    left = [
        arranged([bare for bare, _ in masked(tagged(side), rules)], rules.moves)
        for side in (first, second)
    ]
    assert alike(first, second, rules) == (left[0] == left[1])
