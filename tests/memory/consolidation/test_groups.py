"""Grouping: the same groups whatever the order, nothing twice, everything near its centre."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.consolidation.groups import Pair, group

ids = st.integers(1, 12)
pairs = st.lists(
    st.builds(Pair, one=ids, other=ids, likeness=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0])),
    max_size=40,
)


def never(one: int, other: int) -> bool:
    return False


def close(one: int, other: int) -> bool:
    return abs(one - other) <= 2


@given(pairs, st.randoms(use_true_random=False), st.sampled_from([never, close]))
def test_groups_do_not_depend_on_the_order_or_direction_of_pairs(
    given_pairs: list[Pair], chance: random.Random, alike: Any
) -> None:
    shuffled = [
        p if chance.random() < 0.5 else Pair(one=p.other, other=p.one, likeness=p.likeness)
        for p in chance.sample(given_pairs, len(given_pairs))
    ]
    assert group(given_pairs, alike=alike) == group(shuffled, alike=alike)
    assert group(given_pairs + shuffled, alike=alike) == group(given_pairs, alike=alike)


@given(pairs, st.sampled_from([never, close]))
def test_nothing_is_in_two_groups_and_every_group_has_its_centre(
    given_pairs: list[Pair], alike: Any
) -> None:
    found = group(given_pairs, alike=alike)
    members = [member for g in found for member in g.members]
    assert len(members) == len(set(members))
    for g in found:
        assert len(g.members) > 1
        assert g.centre in g.members
        assert list(g.members) == sorted(g.members)
        assert 0 <= g.cohesion <= 1


@given(pairs)
def test_without_joining_every_member_is_paired_with_one_other_at_least(
    given_pairs: list[Pair],
) -> None:
    linked = {(a, b) for p in given_pairs for a, b in ((p.one, p.other), (p.other, p.one))}
    for g in group(given_pairs, alike=never):
        stars = [c for c in g.members if all((c, m) in linked for m in g.members if m != c)]
        assert stars, g


def test_a_chain_of_small_steps_is_no_group() -> None:
    chain = [Pair(one=n, other=n + 1, likeness=0.8) for n in range(1, 9)]
    assert max(len(g.members) for g in group(chain, alike=never)) == 3


def test_stars_whose_centres_are_alike_are_one_group() -> None:
    stars = [Pair(one=c, other=c + n, likeness=0.9) for c in (10, 20) for n in range(1, 6)]
    bridge = Pair(one=11, other=21, likeness=0.5)
    assert [len(g.members) for g in group([*stars, bridge], alike=never)] == [6, 6]
    (joined,) = group([*stars, bridge], alike=lambda one, other: True)
    assert len(joined.members) == 12
