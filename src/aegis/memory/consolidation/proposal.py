"""What is proposed, and whether new evidence makes a proposal of its own. Pure.

Invariant: the same evidence proposes once. More of it makes a proposal that waits grow; what was
decided comes back only when the evidence has grown considerably since.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "KINDS",
    "METHODS",
    "STATES",
    "Draft",
    "Kind",
    "Method",
    "Proposal",
    "State",
    "Verdict",
    "digest_of",
    "score_of",
    "verdict",
]

#: A statement, something that somebody prefers, something that keeps happening, or a failure and
#: what followed it more than once.
Kind = Literal["fact", "preference", "pattern", "remedy"]
Method = Literal["extractive", "model"]
State = Literal["proposed", "accepted", "rejected", "undone"]
KINDS: tuple[Kind, ...] = ("fact", "preference", "pattern", "remedy")
METHODS: tuple[Method, ...] = ("extractive", "model")
STATES: tuple[State, ...] = ("proposed", "accepted", "rejected", "undone")

#: Evidence is of one matter where half of the smaller one is in the other.
_SAME_MATTER: Final = 0.5
#: What was refused comes back at twice the evidence; what was accepted, to be renewed, earlier.
_REFUSED_GROWTH: Final = 2.0
_ACCEPTED_GROWTH, _ACCEPTED_LEAST = 1.5, 3
_MOST_SCORE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a group of episodes suggests."""

    kind: Kind
    concept: str
    content: str
    #: Ids of the episodes, ascending.
    sources: tuple[int, ...]
    first_at: datetime
    last_at: datetime
    #: 0 to 1.
    score: float
    method: Method = "extractive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposed fact or pattern (`memory_proposals`)."""

    id: int
    namespace: str
    kind: Kind
    concept: str
    content: str
    #: Ids of the episodes that say so, ascending; some may be gone since.
    sources: list[int]
    #: How many said so when it was last worded.
    seen: int
    first_at: datetime
    last_at: datetime
    #: How sure it is, 0 to 1.
    score: float
    #: Worded by a sentence of a source, or by a model.
    method: Method
    state: State
    #: The fact that accepting it made or made surer.
    fact_id: int | None
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do with a draft."""

    action: Literal["propose", "grow", "note", "skip"]
    #: The one that grows, or whose evidence is noted.
    proposal_id: int | None
    #: All evidence, ascending.
    sources: tuple[int, ...]


def digest_of(kind: Kind, sources: Iterable[int]) -> str:
    """Return the digest of evidence, whatever its order."""
    ids = ",".join(map(str, sorted(set(sources))))
    return hashlib.sha256(f"{kind}:{ids}".encode()).hexdigest()


def score_of(seen: int, cohesion: float, days: int) -> float:
    """Return how sure something is that was seen so often, so alike, on so many days."""
    often = 1 - 0.5 ** (seen / 3)
    spread = 1 - 0.4 * 0.5 ** (max(days, 1) - 1)
    return round(min(_MOST_SCORE, max(0.0, often * spread * min(1.0, 0.5 + cohesion / 2))), 4)


def verdict(draft: Draft, known: Sequence[Proposal]) -> Verdict:
    """Return what becomes of a draft; `known` are proposals whose evidence it shares."""
    new = set(draft.sources)
    related = sorted(
        (p for p in known if p.kind == draft.kind and _one_matter(new, set(p.sources))),
        key=lambda p: p.id,
    )
    waiting = [p for p in related if p.state == "proposed"]
    if waiting:
        together = tuple(sorted(new | set(waiting[0].sources)))
        more = len(together) > len(waiting[0].sources)
        return Verdict(
            action="grow" if more else "skip", proposal_id=waiting[0].id, sources=together
        )
    if not related:
        return Verdict(action="propose", proposal_id=None, sources=tuple(sorted(new)))
    last = related[-1]
    together = tuple(sorted(new.union(*(p.sources for p in related))))
    if all(_grown(len(together), p) for p in related):
        return Verdict(action="propose", proposal_id=last.id, sources=together)
    more = len(together) > len(last.sources)
    return Verdict(action="note" if more else "skip", proposal_id=last.id, sources=together)


def _one_matter(one: set[int], other: set[int]) -> bool:
    return len(one & other) >= _SAME_MATTER * max(1, min(len(one), len(other)))


def _grown(evidence: int, decided: Proposal) -> bool:
    if decided.state == "accepted":
        enough = decided.seen * _ACCEPTED_GROWTH
        return evidence >= enough and evidence >= decided.seen + _ACCEPTED_LEAST
    return evidence >= decided.seen * _REFUSED_GROWTH
