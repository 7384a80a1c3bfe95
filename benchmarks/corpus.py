"""Made-up episodes that behave like real ones: Zipf-distributed words, clustered vectors, sessions.

Deterministic for a seed. Uniform random vectors would be the wrong test: they have no neighbours,
so an approximate index looks far worse, and a cache far better, than with vectors of texts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Corpus", "vector_literal"]

_ONSETS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "st",
    "tr",
    "pl",
    "gr",
)
_VOWELS = ("a", "e", "i", "o", "u", "ea", "ou")
_CODAS = ("n", "r", "l", "t", "m", "d", "ck", "nt", "rd", "x")
_VOCABULARY = 30_000
_WORDS_PER_TEXT = 48
_PER_SESSION = 20
_PER_TOPIC = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """`rows` episodes of about 300 characters with vectors of `dimensions`."""

    rows: int
    dimensions: int
    seed: int = 7

    def episodes(self) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """Yield session, text and unit vector of each episode."""
        rng = np.random.default_rng(self.seed)
        centres = self._centres()
        words = vocabulary()
        for i in range(self.rows):
            text = " ".join(words[rank] for rank in _zipf(rng, _WORDS_PER_TEXT))
            yield f"s{i // _PER_SESSION}", text, _near(rng, centres[rng.integers(len(centres))])

    def questions(self, count: int) -> list[tuple[str, NDArray[np.float32]]]:
        """Return questions of eight words, four of them function words, each with its vector."""
        rng = np.random.default_rng(self.seed + 1)
        centres = self._centres()
        words = vocabulary()
        return [
            (
                "what did the " + " ".join(words[rank] for rank in _zipf(rng, 5)) + " about?",
                _near(rng, centres[rng.integers(len(centres))]),
            )
            for _ in range(count)
        ]

    def _centres(self) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.seed + 2)
        topics = max(8, self.rows // _PER_TOPIC)
        # Topics themselves lie in a few broad areas, as those of real texts do.
        areas = rng.standard_normal((16, self.dimensions))
        drawn = areas[rng.integers(16, size=topics)] + rng.standard_normal(
            (topics, self.dimensions)
        )
        return _unit(drawn.astype(np.float32))


@cache
def vocabulary() -> list[str]:
    """Return pronounceable words, most frequent and shortest first."""
    rng = random.Random(11)
    words: dict[str, None] = {}
    while len(words) < _VOCABULARY:
        syllables = 1 + (len(words) > 400) + (len(words) > 8_000)
        words["".join(_syllable(rng) for _ in range(syllables))] = None
    return list(words)


def vector_literal(vector: NDArray[np.float32]) -> str:
    """Return a vector in pgvector's text form."""
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def _syllable(rng: random.Random) -> str:
    coda = rng.choice(_CODAS) if rng.random() < 0.5 else ""
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + coda


def _zipf(rng: np.random.Generator, count: int) -> list[int]:
    # Inverse transform of a density of 1/rank, shifted: function words are not in the vocabulary.
    ranks = np.exp(rng.random(count) * np.log((_VOCABULARY + 20) / 20)) * 20 - 20
    return [int(rank) for rank in ranks]


def _near(rng: np.random.Generator, centre: NDArray[np.float32]) -> NDArray[np.float32]:
    noise = rng.standard_normal(len(centre)).astype(np.float32) / np.sqrt(len(centre))
    return _unit((centre + 0.9 * noise)[None])[0]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
