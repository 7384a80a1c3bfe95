"""How recall scores what its arms found: pure arithmetic, no database, no clock.

The score of a memory is a weighted sum of a few features of it and of its neighbours in the same
session. There is one set of weights for memories of short texts and one for long ones; in between
they are mixed by the namespace's mean length. Both sets were learned from questions with labelled
evidence (docs/decisions/0005-recall-fusion.md) and are shipped in `weights.json`.

Invariant: the parts of a result sum to its score, and equal input gives equal output in any order.

BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aegis.memory.models import ScorePart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from numpy.typing import NDArray

    from aegis.memory.models import Importance

__all__ = [
    "FEATURES",
    "Candidate",
    "Question",
    "Ranked",
    "Weights",
    "idf_of_counts",
    "idf_of_shares",
    "load_weights",
    "rank",
    "score_features",
]

#: Inputs of the learned weights, in their order.
FEATURES = ("words", "coverage", "context", "farther", "vector", "before", "length")

#: Saturation of a word's count and strength of length normalisation, of the memory itself…
_OWN_SATURATION, _OWN_LENGTH = 0.8, 0.75
#: …and of the memory with the one before and the one after it, taken as one text.
_CONTEXT_SATURATION = 1.2

#: A fresh memory and an important one are ahead of their equals, never of better ones: the
#: learned part differs by 1 between neighbours in the ranking far more often than by 0.1.
_RECENCY_WEIGHT, _RECENCY_HALF_LIFE_DAYS = 0.3, 14.0
_IMPORTANCE: Mapping[Importance, float] = {
    "low": -0.15,
    "medium": 0.0,
    "high": 0.15,
    "critical": 0.3,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One memory that an arm found, or a neighbour of one."""

    id: int
    #: Of each word of the question, how often the memory holds it, damped: 1, 1.25, 1.36, …
    counts: Sequence[float]
    #: Distinct stems of the memory.
    terms: int
    #: Cosine of its vector with the question's; None where either is missing.
    similarity: float | None
    age_days: float
    importance: Importance
    #: Whether the filter lets it through; others serve as context only.
    eligible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, in the terms of the namespace."""

    words: Sequence[str]
    #: Of each word, how much it tells apart.
    idf: Sequence[float]
    #: Mean number of distinct stems of a memory in the namespace.
    mean_terms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Two sets of weights, one a feature, and the mean lengths that they hold for."""

    short: Sequence[float]
    long: Sequence[float]
    short_terms: float
    long_terms: float

    def at(self, mean_terms: float) -> list[float]:
        """Return the mixture for a namespace whose memories have `mean_terms` distinct stems."""
        span = math.log(self.long_terms / self.short_terms)
        share = math.log(max(mean_terms, 1.0) / self.short_terms) / span
        share = min(1.0, max(0.0, share))
        return [a * (1 - share) + b * share for a, b in zip(self.short, self.long, strict=True)]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A result: its memory, its score, and the parts that the score is the sum of."""

    id: int
    score: float
    parts: list[ScorePart]


@cache
def load_weights() -> Weights:
    """Return the weights that come with Aegis."""
    text = resources.files("aegis.memory").joinpath("weights.json").read_text(encoding="utf-8")
    raw = json.loads(text)
    return Weights(
        short=[raw["short"][name] for name in FEATURES],
        long=[raw["long"][name] for name in FEATURES],
        short_terms=raw["short_terms"],
        long_terms=raw["long_terms"],
    )


def idf_of_counts(counts: Sequence[int], episodes: int) -> list[float]:
    """Return what each word tells apart, given how many of `episodes` hold it."""
    total = max(episodes, 1)
    return [math.log(1 + (max(total - n, 0) + 0.5) / (n + 0.5)) for n in counts]


def idf_of_shares(shares: Sequence[float], episodes: int) -> list[float]:
    """Return what each word tells apart, given its share of `episodes`."""
    return idf_of_counts([round(share * episodes) for share in shares], episodes)


def rank(
    candidates: Sequence[Candidate],
    neighbours: Sequence[Sequence[int]],
    question: Question,
    weights: Weights,
    *,
    limit: int,
) -> list[Ranked]:
    """Return the best eligible candidates, at most `limit`, best first.

    `neighbours` are runs of ids that follow one another in a session. Equal scores are in the
    order of ids, the newest first.
    """
    chosen = [c for c in candidates if c.eligible]
    if not chosen:
        return []
    rows = score_features(candidates, neighbours, question)[[c.eligible for c in candidates]]
    mixed = weights.at(question.mean_terms)
    shares = rows * np.array(mixed)
    # Row by row, never by matrix product: that one's last digit depends on the other rows.
    scores = shares.sum(axis=1).tolist()
    order = sorted(
        (-(score + _recency(c) + _IMPORTANCE[c.importance]), -c.id, place)
        for place, (score, c) in enumerate(zip(scores, chosen, strict=True))
    )
    arms = _Arms(chosen, rows[:, 0].tolist())
    linked = {i for run in neighbours if len(run) > 1 for i in run}
    return [
        _explained(chosen[place], shares[place].tolist(), question, arms, linked)
        for _, _, place in order[:limit]
    ]


def score_features(
    candidates: Sequence[Candidate], neighbours: Sequence[Sequence[int]], question: Question
) -> NDArray[np.float64]:
    """Return the features of each candidate: shape (candidates, `FEATURES`), in their order."""
    idf = np.array(question.idf, dtype=float)
    total = float(idf.sum())
    unit = 1 / math.sqrt(total) if total > 0 else 0.0
    mean = max(question.mean_terms, 1.0)
    # One row more stands for "no neighbour": no words, the usual length, the usual similarity.
    here = np.arange(len(candidates))
    before, after = _links(candidates, neighbours)
    p, n = before[:-1], after[:-1]
    counts = np.zeros((len(candidates) + 1, len(idf)))
    counts[:-1] = [c.counts for c in candidates]
    terms = np.array([*(c.terms for c in candidates), mean], dtype=float)
    known = [c.similarity for c in candidates if c.similarity is not None]
    usual = math.fsum(known) / len(known) if known else 0.0
    similarity = np.array(
        [*(usual if c.similarity is None else c.similarity for c in candidates), usual]
    )
    damping = _OWN_SATURATION * (1 - _OWN_LENGTH + _OWN_LENGTH * terms / mean)
    own = 2 * unit * _saturated(counts, damping, idf)
    together = counts[p] + counts[here] + counts[n]
    spread = _CONTEXT_SATURATION / (3 * mean) * (terms[p] + terms[here] + terms[n])
    return np.column_stack(
        [
            own[here],
            unit * unit * ((counts[here] > 0) * idf).sum(axis=1),
            2.2 * unit * _saturated(together, spread, idf),
            own[before[p]] + own[after[n]],
            similarity[here],
            similarity[p],
            np.log((terms[here] + 5) / (mean + 5)),
        ]
    )


class _Arms:
    """Ranks of the candidates within each arm, from 1."""

    def __init__(self, candidates: Sequence[Candidate], words: Sequence[float]):
        worded = sorted((-w, -c.id) for c, w in zip(candidates, words, strict=True) if w > 0)
        near = sorted((-c.similarity, -c.id) for c in candidates if c.similarity is not None)
        self.words = {-key: i for i, (_, key) in enumerate(worded, 1)}
        self.vector = {-key: i for i, (_, key) in enumerate(near, 1)}


def _explained(
    c: Candidate, shares: Sequence[float], question: Question, arms: _Arms, linked: Set[int]
) -> Ranked:
    """Return the result with its parts; `shares` are the weighted features."""
    words, coverage, context, farther, vector, previous, length = shares
    words += coverage
    around = context + farther + previous
    if c.id not in linked:
        # Nothing is around it: the wider features say of the memory alone what the others do.
        words, vector, around = words + context, vector + previous, farther
    parts: list[ScorePart] = []
    matched = [w for w, x in zip(question.words, c.counts, strict=True) if x]
    if matched or words:
        detail = ", ".join(matched) or "none of the question's"
        parts.append(ScorePart(arm="words", score=words, rank=arms.words.get(c.id), detail=detail))
    if vector:
        detail = "no vector; taken as average"
        if c.similarity is not None:
            detail = f"similarity {c.similarity:.3f}"
        place = arms.vector.get(c.id)
        parts.append(ScorePart(arm="vector", score=vector, rank=place, detail=detail))
    if around:
        detail = "with its neighbours in the session"
        parts.append(ScorePart(arm="context", score=around, detail=detail))
    parts.append(ScorePart(arm="length", score=length, detail=f"{c.terms} distinct words"))
    recency = _recency(c)
    if recency:
        detail = f"{max(c.age_days, 0.0):.1f} days old"
        parts.append(ScorePart(arm="recency", score=recency, detail=detail))
    if _IMPORTANCE[c.importance]:
        gain = _IMPORTANCE[c.importance]
        parts.append(ScorePart(arm="importance", score=gain, detail=c.importance))
    return Ranked(c.id, math.fsum(part.score for part in parts), parts)


def _recency(c: Candidate) -> float:
    age = c.age_days
    if age > 10 * _RECENCY_HALF_LIFE_DAYS:
        return 0.0
    return _RECENCY_WEIGHT * 0.5 ** (max(age, 0.0) / _RECENCY_HALF_LIFE_DAYS)


def _links(
    candidates: Sequence[Candidate], neighbours: Sequence[Sequence[int]]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of what comes before and after each candidate; none is after the last."""
    none = len(candidates)
    place = {c.id: i for i, c in enumerate(candidates)}
    before, after = [none] * (none + 1), [none] * (none + 1)
    for run in neighbours:
        places = [place.get(i, none) for i in run]
        for first, second in pairwise(places):
            after[first] = second
            before[second] = first
    before[none] = after[none] = none
    return np.array(before), np.array(after)


def _saturated(
    counts: NDArray[np.float64], damping: NDArray[np.float64], idf: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return, per row, the words' weights, each by how often it occurs, with falling returns."""
    share = counts / np.maximum(counts + damping[:, None], 1e-9)
    return (share * idf).sum(axis=1)
