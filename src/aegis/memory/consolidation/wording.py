"""What a group of episodes says, in its own words: the most central sentence, how often, and when.

Pure. Nothing is made up: every sentence stands in an episode; only the count, the time and the few
words between are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aegis.memory.consolidation.likeness import Words

__all__ = [
    "Remark",
    "central_sentence",
    "concept_of",
    "days",
    "is_failure",
    "is_fix",
    "is_preference",
    "objects_of",
    "span",
    "with_count",
]

_MOST_SENTENCE, _MOST_READ, _MOST_CONCEPT = 400, 4_000, 200
_SENTENCE = re.compile(r"(?<=[.!?。!?])\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:[._/'’-][^\W_]+)*", re.UNICODE)
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "from",
        "as",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "he",
        "she",
        "they",
        "we",
        "you",
        "i",
        "my",
        "your",
        "our",
        "his",
        "her",
        "their",
        "not",
        "no",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "will",
        "would",
        "can",
        "could",
        "should",
        "so",
        "if",
        "then",
        "than",
        "when",
        "while",
        "after",
        "before",
        "again",
        "about",
        "into",
        "up",
        "out",
        "over",
        "just",
        "very",
        "there",
        "here",
        "what",
        "which",
        "who",
        "how",
        "all",
        "any",
        "some",
    ]
)
_PREFERENCE = re.compile(
    r"\b(?:prefers?|preferred|would rather|likes?|dislikes?|loves?|hates?|wants?|always|never"
    r"|please (?:use|do|don't|keep|avoid)|favou?rs?|favou?rite|insists?|instead of)\b",
    re.IGNORECASE,
)
_FAILURE_TYPE = re.compile(r"error|fail|incident|bug|crash|exception|alert|outage", re.IGNORECASE)
_FAILURE = re.compile(
    r"\b(?:fail(?:s|ed|ure|ing)?|errors?|crash(?:es|ed)?|broken?|timed? ?out|exception|refused"
    r"|unreachable|outage|down|out of memory|disk (?:is )?full)\b",
    re.IGNORECASE,
)
_FIX_TYPE = re.compile(r"fix|resol|recover|solution|remedy|task_complete|learning", re.IGNORECASE)
_FIX = re.compile(
    r"\b(?:fix(?:ed|es)?|resolved?|solved?|recovered|restored|worked|repaired|mitigated|restarted"
    r"|rolled back|reverted|cleared)\b",
    re.IGNORECASE,
)
#: Identifiers: with a digit, a dot, a slash or an underscore; what stands in quotes.
_OBJECT = re.compile(
    r"[`\"“]([^`\"”\n]{3,60})[`\"”]|(?<![\w/.])((?=[^\s]*[a-zA-Z])[\w./-]*\w[_./\d-]+\w[\w./-]*)"
)
_MARK = re.compile(r"[\d._/]")
#: Of these every second one has the same speaker or file; a count of them says nothing.
_TALK = frozenset(
    [
        "message",
        "user_message",
        "assistant_message",
        "conversation",
        "turn",
        "note",
        "chat",
        "user",
        "assistant",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """An episode, as consolidation reads it."""

    id: int
    at: datetime
    event_type: str
    session_id: str | None
    #: Its beginning, where it is long.
    summary: str
    words: Words


def is_preference(remark: Remark) -> bool:
    """Return whether it says what somebody prefers."""
    return "preference" in remark.event_type.casefold() or bool(_PREFERENCE.search(remark.summary))


def is_failure(remark: Remark) -> bool:
    """Return whether it says that something went wrong, and not that it was put right."""
    if _FAILURE_TYPE.search(remark.event_type):
        return True
    return bool(_FAILURE.search(remark.summary)) and not is_fix(remark)


def is_fix(remark: Remark) -> bool:
    """Return whether it says that something was put right."""
    if _FAILURE_TYPE.search(remark.event_type) and not _FIX_TYPE.search(remark.event_type):
        return False
    return bool(_FIX_TYPE.search(remark.event_type)) or bool(_FIX.search(remark.summary))


def objects_of(remark: Remark) -> frozenset[str]:
    """Return what it is about by name: hosts, files, tickets, what stands in quotes."""
    if remark.event_type.casefold() in _TALK:
        return frozenset()
    found: set[str] = set()
    for match in _OBJECT.finditer(remark.summary[:_MOST_READ]):
        name = (match[1] or match[2]).strip(" .,:;/-").casefold()
        # A number, a date or a version of its own is no object.
        if len(name) > 2 and re.search(r"[a-z]{2}", name) and (match[1] or _MARK.search(name)):
            found.add(name)
    return frozenset(found)


def central_sentence(centre: Remark, remarks: Iterable[Remark]) -> str:
    """Return the sentence of `centre` that has most of what the others say as well."""
    common: Counter[str] = Counter()
    for remark in remarks:
        common.update(_telling(remark.summary))
    sentences = [" ".join(s.split()) for s in _SENTENCE.split(centre.summary[:_MOST_READ])]
    sentences = [s for s in sentences if s] or [" ".join(centre.summary.split())]

    def weight(place: int) -> tuple[float, int]:
        words = _telling(sentences[place])
        return sum(common[w] for w in words) / (len(words) + 3) if words else 0.0, -place

    best = sentences[max(range(len(sentences)), key=weight)]
    return best if len(best) <= _MOST_SENTENCE else best[: _MOST_SENTENCE - 1].rstrip() + "…"


def concept_of(sentence: str, remarks: Sequence[Remark], *, fallback: str) -> str:
    """Return what a group is about: up to four words of the sentence that most of it has."""
    common: Counter[str] = Counter()
    for remark in remarks:
        common.update(_telling(remark.summary))
    least = 0.6 * len(remarks)
    words = [w for w in dict.fromkeys(_ordered(sentence)) if common[w] >= least]
    return (" ".join(words[:4]) or fallback)[:_MOST_CONCEPT].strip() or fallback


def days(times: Iterable[datetime]) -> int:
    """Return on how many days, in UTC."""
    return len({at.astimezone(UTC).date() for at in times})


def span(first: datetime, last: datetime) -> str:
    """Return a time span in words: `from 2026-01-02 to 2026-03-04`, or `on 2026-01-02`."""
    begin, end = (at.astimezone(UTC).date().isoformat() for at in (first, last))
    return f"on {begin}" if begin == end else f"from {begin} to {end}"


def with_count(
    sentence: str, seen: int, first: datetime, last: datetime, *, least: bool = False
) -> str:
    """Return a sentence with how often and when it was seen; `least`: so often at least."""
    return f"{sentence} (seen {'at least ' if least else ''}{seen} times {span(first, last)})"


def _ordered(text: str) -> list[str]:
    words = [m.group().casefold() for m in _WORD.finditer(text)]
    return [w for w in words if w not in _STOP and not w[0].isdigit() and len(w) > 1]


def _telling(text: str) -> set[str]:
    return set(_ordered(text[:_MOST_READ]))
