"""The second stage of recall: a reranker within a budget, whose scores are fused, not obeyed.

Invariant: every memory that the first stage found is in the answer, whatever the reranker does; and
when it says nothing usable in time, the answer is in the first stage's order.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from aegis.errors import AegisError
from aegis.memory.breaker import Breaker
from aegis.memory.models import Hits, ScorePart
from aegis.memory.reasons import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.memory.models import Hit, Mode
    from aegis.memory.reranking import Reranker

__all__ = ["Reranking", "fuse"]

#: What a reranker reads of a memory; most models read 512 tokens.
_READ_CHARACTERS = 4_000

#: What a standard deviation of our scores counts at least: among equals the reranker decides.
_LEAST_SPREAD = 0.25

_log = logging.getLogger("aegis.memory")


class Reranking:
    """The reranker of one client, with the settings `reranker_*`; None reranks nothing."""

    def __init__(self, reranker: Reranker | None, settings: Settings) -> None:
        self._reranker = reranker
        self._budget_ms = settings.reranker_budget_ms
        self._top = settings.reranker_top
        self._weight = settings.reranker_weight
        self._breaker = Breaker()

    def depth(self, k: int, mode: Mode, query: str | None) -> int:
        """Return how many results the first stage is asked for, so that `k` can be the best."""
        if not self._serves(mode, query) or self._breaker.rests(anyio.current_time()):
            return k
        return max(k, self._top)

    async def apply(self, hits: Hits, *, query: str | None, k: int, mode: Mode) -> Hits:
        """Return the best `k` of `hits`, reranked where that goes well."""
        found = [hit for hit in hits if not _filled(hit)]
        best = found[: self._top]
        if self._reranker is None or not self._serves(mode, query) or len(best) < 2:
            return Hits(hits[:k], warnings=hits.warnings)
        scores, warning = await self._scores(self._reranker, query or "", best)
        if scores is None:
            return Hits(hits[:k], warnings=[*hits.warnings, warning])
        ranked = sorted(
            fuse(best, scores, weight=self._weight) + found[self._top :], key=lambda h: -h.score
        )
        filled = [_last(hit, ranked[-1].score) for hit in hits if _filled(hit)]
        return Hits([*ranked, *filled][:k], warnings=hits.warnings)

    def _serves(self, mode: Mode, query: str | None) -> bool:
        # Mode `vector` promises the order of a distance, mode `time` that of time.
        return self._reranker is not None and mode in ("hybrid", "text") and bool(query)

    async def _scores(
        self, reranker: Reranker, question: str, hits: Sequence[Hit]
    ) -> tuple[list[float] | None, str]:
        """Return the scores, or None and the sentence that says why there are none."""
        if not self._breaker.admits(anyio.current_time()):
            rest = f"{self._breaker.rest_s:g} s"
            return None, f"The reranker failed again and again and is left alone for {rest}."
        texts = [hit.episode.summary[:_READ_CHARACTERS] for hit in hits]
        scores: list[float] | None = None
        trouble = f"did not answer within {self._budget_ms} ms (AEGIS_RERANKER_BUDGET_MS)"
        code = "reranker_timeout"
        try:
            with anyio.move_on_after(self._budget_ms / 1000):
                scores = await reranker.score(question, texts)
        except AegisError as error:
            trouble, code = f"failed: {error.message}", error.code
        if scores is not None and len(scores) == len(hits) and all(map(math.isfinite, scores)):
            self._breaker.succeeded()
            return scores, ""
        if scores is not None:
            trouble, code = "gave no usable scores", "reranker_unavailable"
        self._breaker.failed(anyio.current_time())
        _log.warning("memory.rerank_failed", extra={"code": code, "why": trouble})
        return None, f"This is the order without the reranker, which {trouble.rstrip('.')}."


def fuse(hits: Sequence[Hit], scores: Sequence[float], *, weight: float) -> list[Hit]:
    """Return the hits with a part more: how far the reranker puts each above the mean.

    Both scales are counted in their own standard deviations, so that it does not matter whether a
    reranker says logits or shares; `weight` 1 lets both say equally much. Order is kept.
    """
    ours, theirs = [hit.score for hit in hits], _standard(scores)
    spread = max(_spread(ours), _LEAST_SPREAD)
    order = sorted(range(len(hits)), key=lambda i: -scores[i])
    ranks = {place: rank for rank, place in enumerate(order, 1)}
    fused: list[Hit] = []
    for place, hit in enumerate(hits):
        gain = weight * spread * theirs[place]
        detail = f"{scores[place]:.3g}"
        part = ScorePart(arm="rerank", score=gain, rank=ranks[place], detail=detail)
        parts = [*hit.parts, part]
        episode = hit.episode
        why = explain(parts, timestamp=episode.timestamp, importance=episode.importance)
        fused.append(replace(hit, score=hit.score + gain, parts=parts, why=why))
    return fused


def _filled(hit: Hit) -> bool:
    return any(part.arm == "fill" for part in hit.parts)


def _last(hit: Hit, score: float) -> Hit:
    """Return what only fills up, no higher than what was found."""
    return replace(hit, score=score, parts=[replace(part, score=score) for part in hit.parts])


def _spread(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def _standard(values: Sequence[float]) -> list[float]:
    """Return the values as standard deviations from their mean; all 0 where they are equal."""
    # Scaled first: the difference of two finite numbers may be infinite.
    scale = max(map(abs, values)) or 1.0
    small = [v / scale for v in values]
    mean, spread = math.fsum(small) / len(small), _spread(small)
    return [(v - mean) / spread if spread > 1e-12 else 0.0 for v in small]
