"""What new evidence makes of a proposal, and how sure it is. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.consolidation import likeness
from aegis.memory.consolidation.likeness import like, words_of
from aegis.memory.consolidation.proposal import (
    Draft,
    Proposal,
    digest_of,
    score_of,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

AT = datetime(2026, 1, 1, tzinfo=UTC)
evidence = st.sets(st.integers(1, 30), min_size=2, max_size=12)


def draft(sources: Iterable[int]) -> Draft:
    return Draft(
        kind="fact",
        concept="c",
        content="t",
        sources=tuple(sorted(sources)),
        first_at=AT,
        last_at=AT,
        score=0.5,
    )


def proposal(sources: Iterable[int], state: Any = "proposed", **changes: Any) -> Proposal:
    ids = sorted(sources)
    values: dict[str, Any] = {
        "id": 1,
        "namespace": "n",
        "kind": "fact",
        "concept": "c",
        "content": "t",
        "sources": ids,
        "seen": len(ids),
        "first_at": AT,
        "last_at": AT,
        "score": 0.5,
        "method": "extractive",
        "state": state,
        "fact_id": None,
        "created_at": AT,
        "decided_at": None,
        "decided_by": None,
    }
    return Proposal(**(values | changes))


@given(evidence, st.sampled_from(["proposed", "accepted", "rejected", "undone"]))
def test_the_same_evidence_never_proposes_twice(sources: set[int], state: str) -> None:
    assert verdict(draft(sources), [proposal(sources, state)]).action == "skip"
    for part in (sorted(sources)[:2], sorted(sources)[-2:]):
        assert verdict(draft(part), [proposal(sources, state)]).action == "skip"


@given(evidence, evidence)
def test_what_waits_grows_by_what_is_new_and_loses_nothing(old: set[int], new: set[int]) -> None:
    decided = verdict(draft(new), [proposal(old)])
    if 2 * len(old & new) >= min(len(old), len(new)):
        assert decided.action == ("grow" if new - old else "skip")
        assert set(decided.sources) == old | new
    else:
        assert (decided.action, set(decided.sources)) == ("propose", new)


@given(evidence, st.integers(1, 40), st.sampled_from(["rejected", "undone"]))
def test_what_was_refused_comes_back_with_twice_the_evidence_and_not_before(
    sources: set[int], more: int, state: str
) -> None:
    grown = sources | set(range(100, 100 + more))
    action = verdict(draft(grown), [proposal(sources, state)]).action
    assert action == ("propose" if len(grown) >= 2 * len(sources) else "note")


def test_of_several_refused_the_largest_counts_and_another_kind_does_not() -> None:
    known = [proposal(range(4), "rejected"), proposal(range(10), "rejected", id=2)]
    assert verdict(draft(range(12)), known).action == "note"
    assert verdict(draft(range(20)), known).action == "propose"
    other = [proposal(range(10), "rejected", kind="pattern")]
    assert verdict(draft(range(10)), other).action == "propose"


def test_what_was_accepted_is_renewed_at_half_as_much_again() -> None:
    known = [proposal(range(6), "accepted")]
    assert [verdict(draft(range(n)), known).action for n in (6, 7, 8, 9)] == [
        "skip",
        "note",
        "note",
        "propose",
    ]


@given(st.lists(st.integers(1, 99), min_size=1), st.randoms(use_true_random=False))
def test_a_digest_is_of_the_evidence_and_not_of_its_order(
    sources: list[int], chance: random.Random
) -> None:
    shuffled = chance.sample(sources, len(sources))
    assert digest_of("fact", sources) == digest_of("fact", [*shuffled, sources[0]])
    assert digest_of("fact", sources) != digest_of("pattern", sources)
    assert digest_of("fact", sources) != digest_of("fact", [*sources, 100])


@given(st.integers(2, 500), st.floats(0, 1), st.integers(1, 100))
def test_a_score_rises_with_evidence_and_is_never_certain(
    seen: int, cohesion: float, days: int
) -> None:
    assert 0 <= score_of(seen, cohesion, days) <= 0.95
    for one, other in pairwise([(seen, days), (seen + 1, days), (seen + 1, days + 1)]):
        assert score_of(one[0], cohesion, one[1]) <= score_of(other[0], cohesion, other[1])


texts = st.lists(
    st.sampled_from(
        ["disk", "full", "db1", "Ann", "not", "prefers", "tea", "coffee", "at", "night"]
    )
)


@given(texts, texts, st.none() | st.floats(-1, 1))
def test_likeness_is_symmetric_and_a_share(one: list[str], other: list[str], cosine: Any) -> None:
    a, b = words_of(" ".join(one), one), words_of(" ".join(other), other)
    assert like(a, b, cosine) == like(b, a, cosine)
    assert 0 <= like(a, b, cosine) <= 1


def test_what_differs_by_one_value_is_not_alike_however_close_its_vector() -> None:
    def words(text: str) -> Any:
        return words_of(text, text.lower().strip(".").split())

    base = words("the disk of db1 filled up.")
    assert like(base, words("the disk of db1 filled up."), None) == 1
    assert like(base, words("the disk of db2 filled up."), 0.99) == 0
    assert like(base, words("the disk of db1 not filled up."), 0.99) == 0
    assert like(words("Ann prefers tea"), words("Ann prefers coffee"), 0.99) == 0
    assert like(words("yes Ann likes it here"), words("yes Bob likes it here"), 0.99) == 0


@given(
    st.lists(
        st.sampled_from(
            ["Ann", "ann", "db1", "DB1.example", "never", "Don’t", "don't", "3.5", "12", "a-1", "É",
             "naïve", "isn't", ".", "!", "\n", "STOP", "x_y", "Ω2", ":"]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_words_are_told_as_they_would_be_one_by_one(tokens: list[str]) -> None:
    text = " ".join(tokens)
    names: set[str] = set()
    negations, begins = 0, True
    for match in likeness._TOKEN.finditer(text):  # pyright: ignore[reportPrivateUsage]
        token = match.group()
        lower = token.lower().replace("’", "'")
        negations += lower in likeness._NEGATIONS  # pyright: ignore[reportPrivateUsage]
        number = likeness._NUMBER.fullmatch(token)  # pyright: ignore[reportPrivateUsage]
        named = token[0].isupper() and not begins
        if (named or any(c.isdigit() for c in token)) and not number:
            names.add(lower)
        begins = text[match.end() : match.end() + 1] in likeness._ENDS  # pyright: ignore
    found = words_of(text, ["word", "12", "3.5", "٣", "\x01default", "4th", ":a", "", "é"])
    assert found.names == names
    assert found.negated == (negations % 2 == 1)
    assert found.stems == {"word", "4th", ":a", "", "é"}
