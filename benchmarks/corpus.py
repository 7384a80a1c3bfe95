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
        """Yield session, text and unit vector of each episode; a session has one topic."""
        rng = np.random.default_rng(self.seed)
        centres = self._centres()
        for i in range(self.rows):
            topic = self._topic(i)
            yield f"s{i // _PER_SESSION}", self._text(rng, topic), _near(rng, centres[topic], 0.9)

    def questions(self, count: int) -> list[tuple[str, NDArray[np.float32]]]:
        """Return questions of five words beside the function words, each with its vector.

        Each asks for one episode: three words and the vector, with noise, are that one's.
        """
        rng = np.random.default_rng(self.seed + 1)
        wanted = set(rng.choice(self.rows, size=min(count, self.rows), replace=False).tolist())
        asked: list[tuple[str, NDArray[np.float32]]] = []
        for i, (_, text, vector) in enumerate(self.episodes()):
            if i in wanted:
                words = [*rng.choice(text.split(), 3), *_words(rng, 2)]
                asked.append((f"what did the {' '.join(words)} about?", _near(rng, vector, 0.9)))
        return asked

    def _topic(self, episode: int) -> int:
        # A hash of the session: neighbouring sessions are about different things.
        return (episode // _PER_SESSION * 2_654_435_761 >> 7) % self._topics

    def _text(self, rng: np.random.Generator, topic: int) -> str:
        # A third of a text is its topic's own vocabulary.
        own = (topic * 131 + 400 + rng.integers(60, size=_WORDS_PER_TEXT // 3)) % _VOCABULARY
        known = vocabulary()
        words = [*_words(rng, _WORDS_PER_TEXT - len(own)), *(known[i] for i in own)]
        return " ".join(words)

    @property
    def _topics(self) -> int:
        return max(8, self.rows // _PER_TOPIC)

    def _centres(self) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.seed + 2)
        topics = self._topics
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


def _words(rng: np.random.Generator, count: int) -> list[str]:
    # Inverse transform of a density of 1/rank, shifted: function words are not in the vocabulary.
    ranks = np.exp(rng.random(count) * np.log((_VOCABULARY + 20) / 20)) * 20 - 20
    known = vocabulary()
    return [known[int(rank)] for rank in ranks]


def _near(
    rng: np.random.Generator, centre: NDArray[np.float32], distance: float
) -> NDArray[np.float32]:
    noise = rng.standard_normal(len(centre)).astype(np.float32) / np.sqrt(len(centre))
    return _unit((centre + distance * noise)[None])[0]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
