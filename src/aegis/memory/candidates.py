"""What recall's arms found, as the ranking reads it: columns, because it is scored in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Candidates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Memories that an arm found, and their neighbours: parallel columns, one item a memory."""

    ids: Sequence[int]
    #: Of each word of the question, how often the memory holds it, damped: 1, 1.25, 1.36, …
    counts: Sequence[Sequence[float]]
    #: Distinct stems.
    terms: Sequence[int]
    #: Cosine of the memory's vector with the question's; None where either is missing.
    similarities: Sequence[float | None]
    #: Seconds since 1970; None for an undated memory.
    times: Sequence[float | None]
    #: Values of `memory_importance`.
    importances: Sequence[str]
    #: Whether the filter lets it through; others serve as context only.
    eligible: Sequence[bool]
    #: Ids that follow one another in a session.
    runs: Sequence[Sequence[int]]
    #: How each text begins; nothing where the question names no time.
    texts: Sequence[str] = ()
