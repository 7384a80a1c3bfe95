"""Two spaces compared: questions made of texts, and whether one finds less. Pure."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

from aegis.memory.advice import wilson
from aegis.memory.change.figures import SpaceRecall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["clearly_worse", "make_question", "overlap", "space_recall"]

#: A loss that nobody would notice is no reason, however sure it is.
_TOLERATED = 0.02
_SURE = 0.05
_MOST_WORDS = 60


def make_question(text: str, rng: Random) -> str:
    """Return about half of the words of a text, in their order: what somebody half remembers."""
    words = text.split()[: 2 * _MOST_WORDS]
    if len(words) < 2:
        return text[:1_000]
    kept = sorted(rng.sample(range(len(words)), (len(words) + 1) // 2))
    return " ".join(words[place] for place in kept)[:2_000]


def space_recall(model: str, hits: Sequence[bool]) -> SpaceRecall:
    """Return what a space found."""
    found = sum(hits)
    return SpaceRecall(
        model=model,
        found=found,
        recall=found / len(hits) if hits else None,
        interval=wilson(found, len(hits)),
    )


def overlap(one: Sequence[int], two: Sequence[int]) -> float:
    """Return the share that two answers have in common; 1 for two empty ones."""
    most = max(len(one), len(two))
    return len(set(one) & set(two)) / most if most else 1.0


def clearly_worse(source: Sequence[bool], target: Sequence[bool]) -> bool:
    """Return whether the target finds clearly less than the source, question by question.

    The exact sign test on the questions that one of them alone answered, one-sided at 5 %
    (Q. McNemar, Psychometrika 12 (1947), 153-157), and a loss of more than 2 %.
    """
    lost = sum(s and not t for s, t in zip(source, target, strict=True))
    won = sum(t and not s for s, t in zip(source, target, strict=True))
    if not source or (lost - won) / len(source) <= _TOLERATED:
        return False
    differing = lost + won
    chance = sum(comb(differing, i) for i in range(lost, differing + 1)) / 2**differing
    return chance < _SURE
