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
from functools import cache, partial
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aegis.memory.models import ScorePart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from numpy.typing import NDArray

    from aegis.memory.candidates import Candidates
    from aegis.memory.dates.closeness import Closeness

__all__ = [
    "FEATURES",
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

#: Below this, all words of a question together weigh nothing.
_LEAST_IDF = 1e-9
#: Saturation of a word's count and strength of length normalisation, of the memory itself…
_OWN_SATURATION, _OWN_LENGTH = 0.8, 0.75
#: …and of the memory with the one before and the one after it, taken as one text.
_CONTEXT_SATURATION = 1.2

#: A fresh memory and an important one are ahead of their equals, never of better ones: the
#: learned part differs by 1 between neighbours in the ranking far more often than by 0.1.
_RECENCY_WEIGHT, _RECENCY_HALF_LIFE_DAYS = 0.3, 14.0
_DAY_S = 86_400.0
#: A memory that is so close to a time of the question is found by it, not only helped by it.
_FITS = 0.3
_IMPORTANCE: Mapping[str, float] = {
    "low": -0.15,
    "medium": 0.0,
    "high": 0.15,
    "critical": 0.3,
}


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
    #: Of the closeness of a memory's time, and of the times its text names, to the question's.
    when: float = 0.0
    told: float = 0.0

    def at(self, mean_terms: float) -> list[float]:
        """Return the mixture for a namespace whose memories have `mean_terms` distinct stems."""
        span = math.log(self.long_terms / self.short_terms)
        share = math.log(max(mean_terms, 1.0) / self.short_terms) / span
        share = min(1.0, max(0.0, share))
        return [a * (1 - share) + b * share for a, b in zip(self.short, self.long, strict=True)]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A result: its memory, its score, and what tells the parts that the score is the sum of."""

    id: int
    score: float
    explain: Callable[[], list[ScorePart]]


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
        when=raw["when"],
        told=raw["told"],
    )


def idf_of_counts(counts: Sequence[int], episodes: int) -> list[float]:
    """Return what each word tells apart, given how many of `episodes` hold it."""
    total = max(episodes, 1)
    return [math.log(1 + (max(total - n, 0) + 0.5) / (n + 0.5)) for n in counts]


def idf_of_shares(shares: Sequence[float], episodes: int) -> list[float]:
    """Return what each word tells apart, given its share of `episodes`."""
    return idf_of_counts([round(share * episodes) for share in shares], episodes)


def rank(
    candidates: Candidates,
    question: Question,
    weights: Weights,
    *,
    now_s: float,
    limit: int,
    timely: Sequence[Closeness] = (),
) -> list[Ranked]:
    """Return the best eligible candidates, at most `limit`, best first.

    `now_s` is the time of asking in seconds since 1970. Of equal scores the newest comes first, by
    time and then by id. `timely` has an item a candidate where the question names a time.
    """
    chosen = np.flatnonzero(np.array(candidates.eligible, dtype=bool))
    if not len(chosen):
        return []
    rows = score_features(candidates, question)[chosen]
    shares = rows * np.array(weights.at(question.mean_terms))
    recency = _recency(candidates.times, now_s)[chosen]
    importance = np.array([_IMPORTANCE[name] for name in candidates.importances])[chosen]
    time = _timeliness(timely, weights, len(candidates.ids))[chosen]
    # Row by row, never by matrix product: that one's last digit depends on the other rows.
    scores = shares.sum(axis=1) + recency + importance + time
    ids = np.array(candidates.ids)[chosen]
    order = np.lexsort((*_newest(candidates, chosen), -scores))[:limit]
    table = _Table(
        candidates, question, chosen, rows, shares, recency, importance, now_s, time, timely
    )
    return [
        Ranked(row_id, score, partial(_explain, table, place))
        for row_id, score, place in zip(
            ids[order].tolist(), scores[order].tolist(), order.tolist(), strict=True
        )
    ]


def score_features(candidates: Candidates, question: Question) -> NDArray[np.float64]:
    """Return the features of each candidate: shape (candidates, `FEATURES`), in their order."""
    count = len(candidates.ids)
    idf = np.array(question.idf, dtype=float)
    total = float(idf.sum())
    # Words that say next to nothing say nothing: their weight would have no inverse.
    unit = 1 / math.sqrt(total) if total > _LEAST_IDF else 0.0
    mean = max(question.mean_terms, 1.0)
    # One row more stands for "no neighbour": no words, the usual length, the usual similarity.
    here = np.arange(count)
    before, after = _links(candidates)
    p, n = before[:-1], after[:-1]
    counts = np.zeros((count + 1, len(idf)))
    if count and len(idf):
        counts[:-1] = candidates.counts
    terms = np.array([*candidates.terms, mean], dtype=float)
    # None becomes NaN.
    similarity = np.array([*candidates.similarities, None], dtype=float)
    unknown = np.isnan(similarity)
    known = similarity[~unknown].tolist()
    similarity[unknown] = math.fsum(known) / len(known) if known else 0.0
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


class _Table:
    """All that an explanation of one result is read from."""

    def __init__(
        self,
        candidates: Candidates,
        question: Question,
        chosen: NDArray[np.intp],
        rows: NDArray[np.float64],
        shares: NDArray[np.float64],
        recency: NDArray[np.float64],
        importance: NDArray[np.float64],
        now_s: float,
        time: NDArray[np.float64],
        timely: Sequence[Closeness],
    ) -> None:
        self.candidates = candidates
        self.question = question
        self.places: list[int] = chosen.tolist()
        self.shares = shares
        self.recency = recency
        self.importance = importance
        self.now_s = now_s
        self.time = time
        self.timely = timely
        newest = _newest(candidates, chosen)
        similarity = np.array(candidates.similarities, dtype=float)[chosen]
        #: Ranks of the candidates within each arm, from 1.
        self.words = _ranks(rows[:, 0], newest, rows[:, 0] > 0)
        self.vector = _ranks(similarity, newest, ~np.isnan(similarity))
        fits = [
            max(timely[i].when, timely[i].told) >= _FITS if timely else False for i in self.places
        ]
        self.time_ranks = _ranks(time, newest, np.array(fits, dtype=bool))
        self.linked: Set[int] = {i for run in candidates.runs if len(run) > 1 for i in run}


def _newest(
    candidates: Candidates, chosen: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the keys that put the newest of equals first, the last one counting most.

    Ids alone tell in which order memories were recorded, which an import may have changed.
    """
    times = np.array(candidates.times, dtype=float)[chosen]
    return -np.array(candidates.ids)[chosen], -np.nan_to_num(times, nan=-np.inf)


def _ranks(
    values: NDArray[np.float64],
    newest: tuple[NDArray[np.int64], NDArray[np.float64]],
    counted: NDArray[np.bool_],
) -> list[int | None]:
    """Return each one's rank from 1, the greatest first; None for what does not count."""
    ranks: list[int | None] = [None] * len(values)
    rows = np.flatnonzero(counted)
    order = rows[np.lexsort((*(key[rows] for key in newest), -values[rows]))]
    for rank_, place in enumerate(order.tolist(), 1):
        ranks[place] = rank_
    return ranks


def _explain(table: _Table, place: int) -> list[ScorePart]:
    """Return the parts of the result at `place` among the eligible candidates."""
    found, i = table.candidates, table.places[place]
    words, coverage, context, farther, vector, previous, length = table.shares[place].tolist()
    words += coverage
    around = context + farther + previous
    if found.ids[i] not in table.linked:
        # Nothing is around it: the wider features say of the memory alone what the others do.
        words, vector, around = words + context, vector + previous, farther
    parts: list[ScorePart] = []
    matched = [w for w, x in zip(table.question.words, found.counts[i], strict=True) if x]
    if matched or words:
        detail = ", ".join(matched) or "none of the question's"
        rank_ = table.words[place]
        parts.append(ScorePart(arm="words", score=words, rank=rank_, detail=detail))
    if vector:
        detail = "no vector; taken as average"
        similarity = found.similarities[i]
        if similarity is not None:
            detail = f"similarity {similarity:.3f}"
        rank_ = table.vector[place]
        parts.append(ScorePart(arm="vector", score=vector, rank=rank_, detail=detail))
    if around:
        detail = "with its neighbours in the session"
        parts.append(ScorePart(arm="context", score=around, detail=detail))
    parts.append(ScorePart(arm="length", score=length, detail=f"{found.terms[i]} distinct words"))
    timely = float(table.time[place])
    if timely:
        detail, rank_ = table.timely[i].detail, table.time_ranks[place]
        parts.append(ScorePart(arm="time", score=timely, rank=rank_, detail=detail))
    recency, time = float(table.recency[place]), found.times[i]
    if recency and time is not None:
        detail = f"{max(table.now_s - time, 0.0) / _DAY_S:.1f} days old"
        parts.append(ScorePart(arm="recency", score=recency, detail=detail))
    gain = float(table.importance[place])
    if gain:
        parts.append(ScorePart(arm="importance", score=gain, detail=found.importances[i]))
    return parts


def _timeliness(timely: Sequence[Closeness], weights: Weights, count: int) -> NDArray[np.float64]:
    if not timely:
        return np.zeros(count)
    when = np.array([c.when for c in timely])
    told = np.array([c.told for c in timely])
    return weights.when * when + weights.told * told


def _recency(times: Sequence[float | None], now_s: float) -> NDArray[np.float64]:
    half_lives = (now_s - np.array(times, dtype=float)) / (_RECENCY_HALF_LIFE_DAYS * _DAY_S)
    # An undated memory is NaN, and compares as false; the power of an age in eons is 0.
    fresh = half_lives <= 10
    ages = np.where(fresh, np.maximum(half_lives, 0.0), 0.0)
    return np.where(fresh, _RECENCY_WEIGHT * 0.5**ages, 0.0)


def _links(candidates: Candidates) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of what comes before and after each candidate; none is after the last."""
    none = len(candidates.ids)
    place = {row_id: i for i, row_id in enumerate(candidates.ids)}
    before, after = [none] * (none + 1), [none] * (none + 1)
    for run in candidates.runs:
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
