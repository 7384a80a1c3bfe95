"""The one sentence that says why a memory was recalled. Pure; it says what the parts say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.memory.models import Importance, ScorePart

__all__ = ["explain", "similarity_of"]

#: More words than this are counted, not named.
_MOST_WORDS = 8
_SIMILARITY = re.compile(r"(?:similarity|cosine) (-?\d+(?:\.\d+)?)\Z")


def explain(parts: Sequence[ScorePart], *, timestamp: datetime, importance: Importance) -> str:
    """Return which arms found a memory, at which rank and by which words, its date, importance.

    `Found by its words (rank 1: invoice, sent) and by meaning (rank 2, similarity 0.512); from
    2026-05-01, importance high.` With a time in the question also `by its time (2026-05-01 to
    2026-05-31: last May)`, and with a reranker `, rank 3 for the reranker (0.97)`.
    """
    arms = {part.arm: part for part in parts}
    found: list[str] = []
    if "words" in arms and arms["words"].rank is not None:
        part = arms["words"]
        found.append(f"by its words (rank {part.rank}: {_few(part.detail)})")
    if "vector" in arms and arms["vector"].rank is not None:
        part = arms["vector"]
        found.append(f"by meaning (rank {part.rank}, {part.detail})")
    if "time" in arms and arms["time"].rank is not None:
        found.append(f"by its time ({_asked(arms['time'].detail)})")
    if not found and "context" in arms:
        found.append("beside its neighbours in the session")
    told = "Found " + " and ".join(found) if found else "Nothing in it answers the question"
    if "fill" in arms:
        told = "Taken as one of the newest"
    if "rerank" in arms and arms["rerank"].rank is not None:
        told += f", rank {arms['rerank'].rank} for the reranker ({arms['rerank'].detail})"
    return f"{told}; from {timestamp:%Y-%m-%d}, importance {importance}."


def similarity_of(parts: Sequence[ScorePart]) -> float | None:
    """Return the cosine that the vector arm told, None where it told none."""
    for part in parts:
        match = _SIMILARITY.search(part.detail or "") if part.arm == "vector" else None
        if match is not None:
            return float(match[1])
    return None


def _asked(detail: str | None) -> str:
    """Return a span as it stands in another bracket: `2026-05-01: last May`."""
    return (detail or "").rstrip(")").replace(" (", ": ", 1)


def _few(detail: str | None) -> str:
    words = (detail or "").split(", ")
    more = len(words) - _MOST_WORDS
    return ", ".join(words[:_MOST_WORDS]) + (f" and {more} more" if more > 0 else "")
