"""What one fact means for another: a repeat, a contradiction, or nothing; and when each holds.

Pure: no database, no clock. Invariant: each of several facts that contradict one another ends where
the next one begins, whichever order they arrive in.

Surprise: likeness of vectors alone decides nothing here. Measured with all-MiniLM-L6-v2, "is
allergic to nuts" and "is not allergic to nuts" are as alike (0.98) as two wordings of one fact, and
"likes tea" and "likes coffee" (0.82) more alike than "lives in Paris" and "lives in Berlin" (0.78).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "MAX_STATEMENT",
    "REPEATS_FROM",
    "SAME_ATTRIBUTE_COSINE",
    "SAME_ATTRIBUTE_WORDS",
    "Belief",
    "Placement",
    "Relation",
    "Said",
    "Shift",
    "combine",
    "confidence_after",
    "holds_at",
    "normalised",
    "place",
    "relation",
    "source_key",
]

#: From this cosine on two contents say the same, if numbers, negation and names agree too.
REPEATS_FROM: Final = 0.97
#: From this share of common words on two contents are about the same attribute.
SAME_ATTRIBUTE_WORDS: Final = 0.6
#: From this cosine on they are, whatever their words.
SAME_ATTRIBUTE_COSINE: Final = 0.9
#: Longer contents, in characters, are documents: only the very same text repeats one.
MAX_STATEMENT: Final = 2_000
#: Sources that are not certain never add up to certainty.
MOST_COMBINED: Final = 0.99

Relation = Literal["repeats", "contradicts", "unrelated"]

_WORD = re.compile(r"(?:(?<!\w)[-+])?\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*", re.UNICODE)
_FILLERS = frozenset(
    ["a", "an", "the", "do", "does", "did", "will", "would", "be", "been", "being", "of"]
)
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
    ]
)
_NUMBERS = frozenset(
    [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "twenty",
        "hundred",
        "thousand",
        "million",
        "once",
        "twice",
    ]
)
#: Somebody can like or own many things: a second one does not contradict the first.
_MANY_VALUED = frozenset(
    [
        "also",
        "another",
        "too",
        "like",
        "love",
        "enjoy",
        "hate",
        "own",
        "have",
        "has",
        "know",
        "speak",
        "use",
        "visit",
        "include",
        "support",
        "friend",
        "member",
        "read",
        "wrote",
        "met",
        "bought",
        "eat",
        "drink",
    ]
)
#: Endings of sentences say nothing; a sign such as that of a number does.
_ENDS = " \t\r\n.!;,。"


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is stored of a fact that says something about the same concept."""

    id: int
    content: str
    #: None: since always.
    valid_from: datetime | None
    #: Exclusive; None: no end is known.
    valid_to: datetime | None
    recorded_at: datetime
    #: Cosine similarity to the new fact; None where the vectors cannot be compared.
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """New times of a fact that is there already."""

    id: int
    valid_from: datetime | None
    valid_to: datetime | None
    #: Whether the new fact follows it; otherwise only its beginning became known.
    superseded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a new fact stands among those that it contradicts."""

    valid_from: datetime | None
    valid_to: datetime | None
    superseded_by: int | None
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """That a source said a fact, and how sure it is."""

    source: str | None
    content: str
    confidence: float


def normalised(text: str) -> str:
    """Return `text` without what case, blanks and a full stop add to it."""
    joined = " ".join(text.casefold().split())
    return joined.rstrip(_ENDS) or joined


def relation(
    concept: str, content: str, other: str, *, similarity: float | None = None
) -> Relation:
    """Return what `content` is to `other`, which is about the same concept; symmetric.

    `similarity` is the cosine of their vectors, None where there is none to compare.
    """
    if normalised(content) == normalised(other):
        return "repeats"
    if max(len(content), len(other)) > MAX_STATEMENT:
        return "unrelated"
    ours, theirs = _words(content), _words(other)
    alike = similarity if similarity is not None and math.isfinite(similarity) else 0.0
    numbers, other_numbers = _numbers(ours), _numbers(theirs)
    opposed = _negated(ours) != _negated(theirs)
    agree = numbers == other_numbers and not opposed and not _names_differ(content, other)
    if alike >= REPEATS_FROM and agree:
        return "repeats"
    subject = {_stem(word) for word in _words(concept)}
    frame, other_frame = _frame(ours, subject), _frame(theirs, subject)
    same = _shared(frame, other_frame) >= SAME_ATTRIBUTE_WORDS or alike >= SAME_ATTRIBUTE_COSINE
    if not same:
        return "unrelated"
    counted = bool(numbers - other_numbers and other_numbers - numbers)
    if _MANY_VALUED & (frame.keys() | other_frame.keys()):
        # Two cats and three dogs are both owned; two cats and three cats are not.
        return "contradicts" if frame == other_frame and (opposed or counted) else "unrelated"
    # One that only says more contradicts nothing.
    swapped = bool(frame - other_frame and other_frame - frame)
    return "contradicts" if opposed or swapped or counted else "unrelated"


def place(
    valid_from: datetime | None, recorded_at: datetime, rivals: Sequence[Belief]
) -> Placement:
    """Return the times of a new fact and the changed ones of those that it contradicts.

    A fact without `valid_from` counts from when it was recorded as soon as another one comes
    before it. Of two that begin at one moment, the one recorded later holds.
    """
    start = recorded_at if valid_from is None else valid_from
    earlier = [r for r in rivals if _start(r) <= start]
    later = [r for r in rivals if _start(r) > start]
    following = min(later, key=lambda r: (_start(r), -r.id), default=None)
    shifts = [
        Shift(id=r.id, valid_from=r.valid_from, valid_to=start, superseded=True)
        for r in earlier
        if r.valid_to is None or r.valid_to > start
    ]
    shifts += [
        Shift(id=r.id, valid_from=_start(r), valid_to=r.valid_to, superseded=False)
        for r in later
        if r.valid_from is None
    ]
    return Placement(
        valid_from=start if earlier else valid_from,
        valid_to=None if following is None else _start(following),
        superseded_by=None if following is None else following.id,
        shifts=tuple(sorted(shifts, key=lambda shift: shift.id)),
    )


def holds_at(belief: Belief, moment: datetime) -> bool:
    """Return whether the fact holds at a moment; its end is exclusive."""
    begun = belief.valid_from is None or belief.valid_from <= moment
    return begun and (belief.valid_to is None or belief.valid_to > moment)


def source_key(source: str | None) -> str | None:
    """Return what makes two names one source; None is one unnamed source."""
    return None if source is None else normalised(source)


def combine(said: Iterable[Said]) -> float:
    """Return how sure independent sources make a fact, together (noisy-or).

    A source counts once, with the most that it said; only a certain source makes certain.
    """
    most: dict[str | None, float] = {}
    for one in said:
        key = source_key(one.source)
        most[key] = max(most.get(key, 0.0), one.confidence)
    if not most or max(most.values()) in (0.0, 1.0):
        return max(most.values(), default=0.0)
    # Rounding must not make several sources less than one of them.
    together = min(MOST_COMBINED, 1 - math.prod(1 - c for c in sorted(most.values())))
    return max(together, *most.values())


def confidence_after(current: float, said: Sequence[Said], new: Said) -> float:
    """Return the confidence of a fact that says `said` and now has `new` besides.

    One that somebody has corrected since (`current` is not what `said` makes) stays the base.
    """
    if math.isclose(current, combine(said), abs_tol=1e-9):
        return combine([*said, new])
    if source_key(new.source) in {source_key(one.source) for one in said}:
        return current
    base = Said(source="", content="", confidence=current)
    return combine([base, Said(source="new", content="", confidence=new.confidence)])


def _start(belief: Belief) -> datetime:
    if belief.valid_from is not None:
        return belief.valid_from
    ended = belief.valid_to is not None and belief.valid_to < belief.recorded_at
    return belief.valid_to if ended and belief.valid_to is not None else belief.recorded_at


def _words(text: str) -> list[str]:
    return [m.group().replace("’", "'") for m in _WORD.finditer(text.casefold())]


def _numbers(words: Iterable[str]) -> Counter[str]:
    return Counter(w for w in words if w[-1].isdigit() or w in _NUMBERS)


def _negated(words: Iterable[str]) -> bool:
    return sum(1 for w in words if w in _NEGATIONS) % 2 == 1


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _frame(words: Iterable[str], subject: set[str]) -> Counter[str]:
    """Return the words that say which attribute it is, and its value; any number is `#`."""
    frame: Counter[str] = Counter()
    for word in words:
        if word in _FILLERS or word in _NEGATIONS or _stem(word) in subject:
            continue
        frame["#" if word[-1].isdigit() or word in _NUMBERS else _stem(word)] += 1
    return frame


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """Return the share of common words (Dice), 0 where nothing but a number is common."""
    common = one & other
    if not common.keys() - {"#"}:
        return 0.0
    return 2 * common.total() / (one.total() + other.total())


def _names_differ(one: str, other: str) -> bool:
    mine, theirs = set(_words(one)), set(_words(other))
    names = {
        m.group().casefold() for m in _WORD.finditer(f"{one} {other}") if m.group()[0].isupper()
    }
    return bool((names - _FILLERS) & (mine ^ theirs))
