"""Which of many episodes are junk or say what an earlier one says. Pure.

Invariant: the first of several that say the same is never called a duplicate, a critical episode
nothing at all.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from aegis.memory import junk
from aegis.memory.echoes import normalised, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Seen", "Verdict", "judge"]

#: Words of a phrase; phrases of a text that are compared; fewer than so many prove nothing.
_PHRASE, _MOST_PHRASES, _LEAST_PHRASES = 4, 200, 3
#: Share of a text's phrases that an earlier one has, for a text that is said to be recalled, and
#: for any other.
_ECHO_SHARE, _NEAR_SHARE = 0.7, 0.85
#: Heartbeats of one type, and repeats of one shape by the clock, from which they are some.
_LEAST_BEATS, _LEAST_REPEATS = 3, 20
#: Words of a text that a duplicate has at least.
_LEAST_WORDS = 3
_WRAPPER = re.compile(
    r"\s*(?:(?:i|we|you|user|assistant|agent|the agent|the assistant|system)\s+)?(?:"
    r"(?:also\s+)?(?:recall(?:ed|s)?|remember(?:ed|s)?|retrieved)\b[^:.,\n]{0,40}?(?:\bthat\b|:|,)"
    r"|(?:recalled|retrieved|relevant|related|stored|past|previous)\s+"
    r"(?:memor(?:y|ies)|context|facts?|notes?)\b[^:\n]{0,40}:"
    r"|(?:from|in|according to)\s+(?:my\s+|the\s+|our\s+)?(?:long-term\s+)?memor(?:y|ies)\b"
    r"[^:,\n]{0,30}[:,]"
    r"|(?:memory|memories|context|note to self|fact)\s*(?:#?\d+|\[[^\]]*\])?\s*:"
    r"|as\s+(?:i\s+)?(?:previously\s+|already\s+)?(?:noted|mentioned|stated|recalled|remembered|"
    r"recorded)\b[^:,\n]{0,30}[:,]"
    r")\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An episode as the audit reads it."""

    id: int
    namespace: str
    at_s: float
    event_type: str
    #: Its beginning, where it is long.
    summary: str
    #: Of the whole summary, so that a repair knows whether it changed.
    digest: str
    importance: str
    #: Marked as an echo that adds nothing.
    echo: bool
    #: Whether nothing else is recorded with the text.
    bare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why an episode is found."""

    id: int
    #: Id of the check.
    kind: str
    reason: str


def judge(rows: Iterable[Seen]) -> list[Verdict]:
    """Return what is found among these episodes, by id; the earlier id counts as the original."""
    ordered = sorted(rows, key=lambda row: row.id)
    beats = _beats(ordered)
    found: list[Verdict] = []
    known = _Known()
    for row in ordered:
        told = _Told(row.namespace, row.summary)
        verdict = None if row.importance == "critical" else _judge_one(row, told, beats, known)
        if verdict is not None:
            found.append(verdict)
        if verdict is None or verdict.kind == "duplicates_near":
            known.add(row, told)
    return found


class _Told:
    """What a text says, read once, and only when it is asked for."""

    def __init__(self, namespace: str, text: str) -> None:
        self._namespace = namespace
        self._text = text

    @cached_property
    def said(self) -> str:
        return normalised(self._text)

    @cached_property
    def phrases(self) -> set[int]:
        return _phrases(self._namespace, self.said)

    @cached_property
    def numbers(self) -> frozenset[str]:
        return frozenset(_NUMBER.findall(self.said))


class _Known:
    """What earlier episodes say, by namespace."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], int] = {}
        self.phrases: dict[int, int] = {}
        self.numbers: dict[int, frozenset[str]] = {}

    def add(self, row: Seen, told: _Told) -> None:
        self.texts.setdefault((row.namespace, told.said), row.id)
        self.numbers[row.id] = told.numbers
        for phrase in told.phrases:
            self.phrases.setdefault(phrase, row.id)


def _judge_one(row: Seen, told: _Told, beats: dict[int, str], known: _Known) -> Verdict | None:
    if row.echo:
        return Verdict(id=row.id, kind="junk_echoes", reason="It is marked as an echo.")
    noise = junk.noise(row.summary, bare=row.bare)
    if noise is not None:
        return Verdict(id=row.id, kind=f"junk_{noise}", reason=_NOISES[noise])
    if row.id in beats:
        return Verdict(id=row.id, kind="junk_heartbeats", reason=beats[row.id])
    return _repeat(row, told, known)


_NOISES = {
    "empty": "It says next to nothing.",
    "boilerplate": "Most of it is what assistants say to everybody.",
    "tool_output": "It is output of a tool, not a memory.",
}


def _beats(rows: Sequence[Seen]) -> dict[int, str]:
    """Return the heartbeats, and what a machine repeats by the clock, each with its reason."""
    named = [r for r in rows if junk.is_beat(r.event_type, r.summary)]
    counts = Counter((r.namespace, r.event_type) for r in named)
    found = {
        r.id: f"One of {counts[r.namespace, r.event_type]} reports that something runs."
        for r in named
        if counts[r.namespace, r.event_type] >= _LEAST_BEATS
    }
    shapes: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for row in rows:
        shapes[row.namespace, junk.shape(row.summary)].append(row)
    for same in shapes.values():
        if len(same) >= _LEAST_REPEATS and junk.regular([r.at_s for r in same]):
            for row in same[1:]:
                found.setdefault(row.id, f"One of {len(same)} alike, by the clock.")
    return found


def _repeat(row: Seen, told: _Told, known: _Known) -> Verdict | None:
    text, wrapped = _unwrapped(row.summary)
    if wrapped:
        told = _Told(row.namespace, text)
    first = known.texts.get((row.namespace, told.said))
    if first is not None and (wrapped or len(told.said.split()) >= _LEAST_WORDS):
        kind = "junk_echoes" if wrapped else "duplicates_exact"
        return Verdict(id=row.id, kind=kind, reason=f"It says what episode {first} says.")
    phrases = told.phrases
    if len(phrases) < _LEAST_PHRASES:
        return None
    held = [known.phrases[p] for p in phrases if p in known.phrases]
    if not held:
        return None
    share = len(held) / len(phrases)
    origin, most = min(Counter(held).items(), key=lambda item: (-item[1], item[0]))
    if (wrapped or quoted(row.summary)) and share >= _ECHO_SHARE:
        reason = f"{share:.0%} of it was recalled, most from episode {origin}."
        return Verdict(id=row.id, kind="junk_echoes", reason=reason)
    # Another number is another event; so is what was put together of several, unless all is there.
    numbers = frozenset[str]().union(*(known.numbers[i] for i in set(held)))
    if share >= _NEAR_SHARE and told.numbers <= numbers:
        reason = f"{share:.0%} of it was said before, {most / len(phrases):.0%} in {origin}."
        return Verdict(id=row.id, kind="duplicates_near", reason=reason)
    return None


def _unwrapped(text: str) -> tuple[str, bool]:
    """Return a text without "I recall that" and the like before it, and whether it had any."""
    place = 0
    while (match := _WRAPPER.match(text, place)) and match.end() > place:
        place = match.end()
    rest = text[place:]
    return (rest, True) if place and rest.strip() else (text, False)


def _phrases(namespace: str, said: str) -> set[int]:
    words = said.split()[: _MOST_PHRASES + _PHRASE - 1]
    # Equal within a process, which is as long as they are kept.
    return {hash((namespace, *words[i : i + _PHRASE])) for i in range(len(words) - _PHRASE + 1)}
