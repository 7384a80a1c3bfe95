"""Whether two episodes say the same thing. Pure.

Surprise: likeness of vectors alone says little. "Prefers dark mode" and "prefers light mode" are
closer than most paraphrases, so that a word, a name or a negation that was exchanged tells apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Words", "like", "words_of"]

#: Words alone: share of common stems (Dice) from which two texts say the same.
_BY_WORDS: Final = 0.8
#: With vectors this close, fewer common words will do.
_CLOSE_COSINE, _CLOSE_WORDS = 0.8, 0.6
#: With these, even other words.
_SAME_COSINE, _SAME_WORDS = 0.92, 0.4
_READ: Final = 4_000
_TOKEN = re.compile(r"[^\W_]+(?:[._/@:'’-]+[^\W_]+)*", re.UNICODE)
_NUMBER = re.compile(r"[\d.,:/-]+")
#: After these a capital letter says nothing.
_ENDS = frozenset(["", ".", "!", "?", ":", "\n"])
_DIGIT = re.compile(r"\d")
_NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "none",
        "neither",
        "nor",
        "without",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "aren't",
        "wasn't",
        "weren't",
        "won't",
        "hasn't",
        "haven't",
        "hadn't",
        "couldn't",
        "shouldn't",
        "wouldn't",
        "stop",
        "stopped",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What of a text is compared."""

    #: Stems of words, numbers left out.
    stems: frozenset[str]
    #: Names of people, hosts, files and the like, in lower case.
    names: frozenset[str]
    negated: bool


def words_of(text: str, lexemes: Iterable[str]) -> Words:
    """Return what is compared of a text whose stems the database knows."""
    names: set[str] = set()
    negations = 0
    begins = True
    for match in _TOKEN.finditer(text[:_READ]):
        token = match.group()
        lower = token.lower()
        # Most are plain small words, and nothing else is to be asked of them.
        plain = token == lower and token.isascii() and token.isalpha()
        if not plain:
            lower = lower.replace("’", "'")
            named = token[0].isupper() and not begins
            if (named or _DIGIT.search(token)) and not _NUMBER.fullmatch(token):
                names.add(lower)
        if lower in _NEGATIONS:
            negations += 1
        after = text[match.end() : match.end() + 1]
        begins = after in _ENDS
    stems = {w for w in lexemes if (w.isalpha() or not _NUMBER.fullmatch(w)) and w[:1] != "\x01"}
    return Words(stems=frozenset(stems), names=frozenset(names), negated=negations % 2 == 1)


def like(one: Words, other: Words, cosine: float | None) -> float:
    """Return how much two texts say the same, 0 for not at all, up to 1; symmetric.

    `cosine` is that of their vectors, None where there is none to compare.
    """
    if one.negated != other.negated or _exchanged(one.names, other.names):
        return 0.0
    common = len(one.stems & other.stems)
    if not common or (common < 2 and one.stems != other.stems):
        return 0.0
    shared = 2 * common / (len(one.stems) + len(other.stems))
    mine, theirs = one.stems - other.stems, other.stems - one.stems
    if len(mine) == len(theirs) == 1 and shared >= 0.5:
        # All the same but one word: another value.
        return 0.0
    close = 0.0 if cosine is None else max(0.0, min(1.0, cosine))
    score = shared if cosine is None else (shared + close) / 2
    if close >= _SAME_COSINE and shared >= _SAME_WORDS:
        return score
    if mine and theirs:
        return 0.0
    enough = shared >= _BY_WORDS or (close >= _CLOSE_COSINE and shared >= _CLOSE_WORDS)
    return score if enough else 0.0


def _exchanged(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one - other and other - one)
