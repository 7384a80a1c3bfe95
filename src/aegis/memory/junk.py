"""What a text says of its worth: heartbeats, boilerplate, output of tools, next to nothing.

Pure: no database, no clock. One text at a time; what is junk because it is said again and again is
for whoever sees many (`aegis.memory.audit.window`). Rather too little than too much is called junk:
a heartbeat that is flagged late costs a row, a memory that is flagged wrongly costs trust.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Literal

from aegis.memory.echoes import normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Noise", "is_beat", "noise", "regular", "shape"]

Noise = Literal["empty", "boilerplate", "tool_output"]

#: Longer texts are judged by their beginning.
_LOOKED_AT = 20_000
_BEAT_TYPES = re.compile(
    r"heart_?beat|keep_?alive|health_?check|ping|poll|tick|cron", re.IGNORECASE
)
_BEAT = re.compile(
    r"\b(heart-?beats?|keep-?alive|still (?:alive|running|here)|health ?-?checks?|ping|pong"
    r"|status:? ?(?:ok|green|healthy|nominal|idle)|all systems (?:ok|normal|nominal|operational)"
    r"|no (?:changes?|updates?|new (?:messages?|events?|tasks?))(?: since.*)?"
    r"|nothing (?:to do|new|to report)|poll(?:ed|ing)|uptime|idle|waiting for (?:input|tasks?))\b",
    re.IGNORECASE,
)
#: A sentence with more words than this says something besides that all is well.
_BEAT_WORDS = 16
_NOTHING = frozenset(
    [
        "ok",
        "okay",
        "done",
        "yes",
        "no",
        "n/a",
        "na",
        "none",
        "null",
        "nil",
        "undefined",
        "test",
        "testing",
        "todo",
        "tbd",
        "unknown",
        "empty",
        "ack",
        "hi",
        "hello",
        "thanks",
        "thx",
    ]
)
_BOILERPLATE = re.compile(
    r"as an ai (?:language )?(?:model|assistant)|i am an ai|i'?m an ai"
    r"|how (?:can|may) i (?:help|assist) you|(?:i'?m|i am) (?:here|happy|glad) to (?:help|assist)"
    r"|let me know if (?:you (?:need|have|want)|there)|is there anything else"
    r"|feel free to (?:ask|reach)|i hope this helps|you(?:'re| are) welcome"
    r"|you are an? (?:helpful|friendly|expert|ai|capable)[^.]{0,60}assistant"
    r"|(?:sorry|apologi[sz]e)[^.]{0,40}(?:can'?t|cannot|unable|confusion|inconvenience)"
    r"|(?:sure|certainly|of course|absolutely)[,!] (?:here|i can|i'?d|let me)"
    r"|do not (?:reveal|share|mention) (?:these|this|the|your) (?:instructions|prompt|system)"
    r"|(?:your|the) system prompt|follow these (?:instructions|rules|guidelines)",
    re.IGNORECASE,
)
#: One of these is in whatever the pattern finds; looking for them takes a tenth of the time.
_BOILERPLATE_WORDS = (
    "an ai",
    "help",
    "assist",
    "let me know if",
    "anything else",
    "feel free",
    "welcome",
    "sorry",
    "apologi",
    "sure",
    "certainly",
    "of course",
    "absolutely",
    "do not",
    "system prompt",
    "follow these",
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_DUMP_LINE = re.compile(
    r"^\s*(?:"
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d|[{}\[\]]+,?$|\"[^\"]{1,80}\"\s*:"
    r"|[-dlrwxs]{10}\s|at [\w.$<>]+\(|File \"|Traceback|</?[a-zA-Z][^>]*>|[|+][-=+|\s]"
    r"|(?:DEBUG|INFO|WARN(?:ING)?|ERROR|TRACE)\b|[0-9a-f]{8,}[: ]|\$ |>>> |\+\+\+ |--- |@@ "
    r"|PASS(?:ED)?\b|ok \d|\S+\s+\d+\s+\d+\s"
    r")"
)
_BLOB = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
#: Shorter texts are memories, whatever they look like.
_DUMP_CHARACTERS, _DUMP_LINES, _DUMP_SHARE = 200, 6, 0.6
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")
#: A cadence: so many intervals at least, of which so many lie so close to their middle.
_REGULAR_LEAST, _REGULAR_SHARE, _REGULAR_SPREAD = 5, 0.8, 0.2


def noise(text: str, *, bare: bool = True) -> Noise | None:
    """Return what kind of junk a text is by itself, None for none.

    `bare`: nothing else is recorded with it; a text that says little may have details that do not.
    """
    looked = text[:_LOOKED_AT]
    said = normalised(looked)
    if bare and (len(said) <= 3 or said in _NOTHING or all(w in _NOTHING for w in said.split())):
        # A word of one or two letters is a word in other scripts.
        return None if any(ord(c) > 0x2E80 for c in said) else "empty"
    if _is_boilerplate(looked):
        return "boilerplate"
    return "tool_output" if _is_dump(looked) else None


def is_beat(event_type: str, text: str) -> bool:
    """Return whether a text says no more than that something runs and all is as it was."""
    if len(text) > 400 or len(text.split()) > _BEAT_WORDS:
        return False
    return bool(_BEAT.search(text)) or bool(_BEAT_TYPES.fullmatch(event_type))


def shape(text: str) -> str:
    """Return what repeats of a text have in common: its words, with every number as `#`."""
    return _NUMBER.sub("#", normalised(text[:_LOOKED_AT]))


def regular(times_s: Sequence[float]) -> bool:
    """Return whether something happens by the clock; seconds, in any order."""
    ordered = sorted(times_s)
    gaps = sorted(b - a for a, b in itertools.pairwise(ordered))
    if len(gaps) < _REGULAR_LEAST:
        return False
    middle = gaps[len(gaps) // 2]
    if middle <= 0:
        return False
    near = sum(1 for gap in gaps if abs(gap - middle) <= _REGULAR_SPREAD * middle)
    return near >= _REGULAR_SHARE * len(gaps)


def _is_boilerplate(text: str) -> bool:
    """Return whether most of a text is what assistants say to everybody."""
    if text.isascii():
        lower = text.lower()
        if not any(word in lower for word in _BOILERPLATE_WORDS):
            return False
    if not _BOILERPLATE.search(text):
        return False
    sentences = [s for s in _SENTENCE_END.split(text) if s.strip()]
    told = sum(len(s) for s in sentences if not _BOILERPLATE.search(s))
    return told <= 0.4 * sum(len(s) for s in sentences)


def _is_dump(text: str) -> bool:
    if len(text) < _DUMP_CHARACTERS:
        return False
    blobs = sum(len(m.group()) for m in _BLOB.finditer(text))
    if blobs >= _DUMP_SHARE * len(text):
        return True
    if text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < _DUMP_LINES:
        return False
    dumped = sum(1 for line in lines if _DUMP_LINE.match(line))
    return dumped >= _DUMP_SHARE * len(lines)


def _is_json(text: str) -> bool:
    if len(text) >= _LOOKED_AT:
        # It was cut: what looks like it all through is it.
        return text.count('"') * 12 > len(text)
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
