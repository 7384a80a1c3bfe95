"""Recalled memories as text for a prompt: a line each, dated, with its id, within a budget. Pure.

    [e123 2026-05-03 error] The nightly backup failed because the disk was full.

Invariants: the text never costs more than the budget; every line is one memory and begins with its
header; nothing that a memory says reads as a header, so the headers in the text are those of the
memories in it; no memory in it says what another in it says.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.memory.echoes import header, normalised
from aegis.memory.models import ContextBlock
from aegis.memory.reasons import similarity_of
from aegis.memory.tokens import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.models import Episode, Hit

__all__ = ["clip_text", "make_block", "one_line", "relevant"]

CUT = " …"
#: A memory has at most this share of the budget while others wait, but never less than so much…
_SHARE, _LEAST_SHARE = 3, 48
#: …and is left out where not even so much of a longer one would be seen.
_LEAST_TEXT = 12
#: No more of a memory is looked at.
_MOST_CHARACTERS = 20_000
#: Above this cosine a memory without a word of the question is still about the same thing.
_RELEVANT_SIMILARITY = 0.3

#: What reads as one of our headers, a model's turn, or the end of what a prompt wraps a block in.
_FORGED = re.compile(
    r"[\[［](?=\s*[eEｅＥеЕ]\s*\d)"
    r"|\[(?=/?INST\])"
    r"|[<＜](?=\s*[/|!?／])"
    r"|(?<!\w)[<＜](?=[A-Za-z])"
    r"|[<＜]{2}(?=/?SYS)"
    r"|(?P<fence>`{3,}|~{3,})"
)
#: Invisible: formats, tags, variation supplements; the joiners that scripts and emoji need are not.
_JOINERS = "\u200c\u200d"
_SENTENCE_END = re.compile(r"""[.!?…][)"'”’\]]*(?=\s)|[。！？]""")
_WORD_END = re.compile(r"(?<=\S)(?=\s)|(?<=[、，；：])")
_EXTENDS = re.compile("[\u1160-\u11ff\ufe00-\ufe0f\u200c\u200d\U0001f3fb-\U0001f3ff]")


@dataclass(slots=True)
class _Entry:
    episode_id: int
    head: str
    text: str
    #: What is shown of `text`, and that in the form that is compared.
    shown: str
    said: str

    @property
    def line(self) -> str:
        return f"{self.head} {self.shown}"


def one_line(text: str) -> str:
    """Return `text` on one line, nothing invisible in it, nothing that reads as a header."""
    flat = " ".join(text.split())
    if not flat.isprintable():
        seen = (c if _visible(c) else _instead(c) for c in flat)
        flat = " ".join("".join(seen).split())
    return _FORGED.sub(_harmless, flat)


def relevant(hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits up to the last one that answers by itself: by a word, its time, its meaning.

    What the ranking put before that one, for its neighbours' sake, stays.
    """
    last = 0
    for place, hit in enumerate(hits, 1):
        found = any(p.arm in ("words", "time") and p.rank is not None for p in hit.parts)
        if found or (similarity_of(hit.parts) or 0.0) >= _RELEVANT_SIMILARITY:
            last = place
    return list(hits[:last])


def make_block(hits: Sequence[Hit], *, budget_tokens: int) -> ContextBlock:
    """Return the hits as text, the best first; see the module for its form."""
    most = max(_LEAST_SHARE, budget_tokens // _SHARE)
    entries = [_entry(hit.episode, min(most, budget_tokens)) for hit in hits]
    placed: list[_Entry] = []
    left_out: list[int] = []
    room = budget_tokens
    for entry in entries:
        if any(_repeats(entry.said, other.said) for other in placed):
            continue
        chosen = _fullest(entry, entries, placed, room)
        cost = _cost(chosen, placed)
        if cost > room:
            _cut(chosen, room - (1 if placed else 0))
            cost = _cost(chosen, placed)
        if not chosen.shown or cost > room or any(_same(chosen, other) for other in placed):
            left_out.append(entry.episode_id)
            continue
        placed.append(chosen)
        room -= cost
    _widen(placed, room)
    text = "\n".join(entry.line for entry in placed)
    ids = [entry.episode_id for entry in placed]
    return ContextBlock(
        text=text,
        tokens=estimate_tokens(text),
        budget_tokens=budget_tokens,
        ids=ids,
        left_out=[i for i in left_out if i not in ids],
    )


def clip_text(text: str, room: int) -> str:
    """Return `text`, cut to `room` tokens after a sentence or a word, with a mark; '' for none.

    A word that is too long by itself is cut between two characters as people see them.
    """
    if estimate_tokens(text) <= room:
        return text
    room -= estimate_tokens(CUT)
    if room < 1:
        return ""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimate_tokens(text[:middle]) <= room else (low, middle - 1)
    end = _boundary(text, low)
    # An estimate may fall where a text grows; the cut one has to fit whatever it did.
    while end > 0 and estimate_tokens(text[:end].rstrip() + CUT) > room + estimate_tokens(CUT):
        end = _whole(text, end - 1)
    kept = text[:end].rstrip()
    return kept + CUT if kept else ""


def _entry(episode: Episode, most: int) -> _Entry:
    raw = episode.summary[:_MOST_CHARACTERS]
    text = one_line(raw) + (CUT if len(raw) < len(episode.summary) else "")
    entry = _Entry(episode.id, header(episode), text, text, "")
    _cut(entry, most)
    return entry


def _cut(entry: _Entry, room: int) -> None:
    """Show so much of the entry as its line may cost, nothing where that says too little."""
    left = room - estimate_tokens(entry.head) - 1
    whole = estimate_tokens(entry.text) <= left
    entry.shown = entry.text if whole else clip_text(entry.text, left) if left > _LEAST_TEXT else ""
    entry.said = normalised(entry.shown)


def _cost(entry: _Entry, placed: Sequence[_Entry]) -> int:
    return estimate_tokens(entry.line) + (1 if placed else 0)


def _fullest(
    entry: _Entry, entries: Sequence[_Entry], placed: Sequence[_Entry], room: int
) -> _Entry:
    """Return the entry that says all that this one says and more, if it fits; else this one."""
    chosen = entry
    for other in entries:
        longer = len(other.said) > len(chosen.said)
        fits = longer and _repeats(chosen.said, other.said) and _cost(other, placed) <= room
        if fits and not any(_same(other, each) for each in placed):
            chosen = other
    return chosen


def _repeats(said: str, other: str) -> bool:
    """Return whether `other` says all that is said; words are compared whole."""
    return f" {said} " in f" {other} "


def _same(entry: _Entry, other: _Entry) -> bool:
    return _repeats(entry.said, other.said) or _repeats(other.said, entry.said)


def _widen(placed: Sequence[_Entry], room: int) -> None:
    """Give what room is left to those that were cut, the best first."""
    for entry in placed:
        if entry.shown == entry.text:
            continue
        before, shown, said = estimate_tokens(entry.line), entry.shown, entry.said
        _cut(entry, before + room)
        others = (other for other in placed if other is not entry)
        if estimate_tokens(entry.line) > before + room or any(_same(entry, o) for o in others):
            entry.shown, entry.said = shown, said
        room -= estimate_tokens(entry.line) - before


def _visible(character: str) -> bool:
    if character in _JOINERS:
        return True
    if "\U000e0100" <= character <= "\U000e01ef":
        return False
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def _instead(character: str) -> str:
    """Return a space for what separates words, nothing for what only formats."""
    return "" if unicodedata.category(character) == "Cf" or character > "\U000e0000" else " "


def _harmless(match: re.Match[str]) -> str:
    if match["fence"]:
        return "'''"
    return "(" if match[0] in "[［" else "‹" * len(match[0])


def _boundary(text: str, end: int) -> int:
    """Return the best place to cut at or before `end`: after a sentence, a word, a character."""
    words = [
        m.end() for m in _WORD_END.finditer(text, 0, min(len(text), end + 1)) if m.end() <= end
    ]
    sentences = [m.end() for m in _SENTENCE_END.finditer(text, 0, min(len(text), end + 1))]
    sentences = [place for place in sentences if place <= end]
    if sentences and sentences[-1] * 2 >= end:
        return sentences[-1]
    if words and words[-1] * 2 >= end:
        return words[-1]
    return _whole(text, end)


def _whole(text: str, end: int) -> int:
    """Return `end`, or the place before it where no character is torn apart."""
    while 0 < end < len(text) and _torn(text, end):
        end -= 1
    return end


def _torn(text: str, end: int) -> bool:
    after, before = text[end], text[end - 1]
    if unicodedata.category(after) in ("Mn", "Mc", "Me") or _EXTENDS.match(after):
        return True
    if before == "\u200d":
        return True
    flags = 0
    while flags < end and "\U0001f1e6" <= text[end - 1 - flags] <= "\U0001f1ff":
        flags += 1
    return flags % 2 == 1 and "\U0001f1e6" <= after <= "\U0001f1ff"
