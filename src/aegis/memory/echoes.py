"""Echoes: what was recalled and is written back. Pure; it recognises, the store and recall act.

An echo quotes lines of a block (`[e123 2026-05-03 error] …`) or repeats an episode word for word.
It is recorded like any other, with `echo_of` in its metadata: the ids of the episodes that it
repeats. `echo_adds` is beside it where the text says more than those do; then it is worth finding.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.memory.models import Episode, Hit

__all__ = [
    "ECHO_ADDS",
    "ECHO_OF",
    "echo_marks",
    "header",
    "normalised",
    "originals_of",
    "quoted",
    "without_echoes",
]

ECHO_OF, ECHO_ADDS = "echo_of", "echo_adds"

#: As `header` writes it; an id alone, `[e123]`, cites a memory and does not repeat it.
_HEADER = re.compile(r"\[e([1-9]\d{0,9}) \d{4}-\d{2}-\d{2} [^\[\]\n]{1,60}\]")
_MAX_ID = 2**31 - 1
_MAX_TYPE = 40
#: More quotations than a block holds tell nothing more.
_MAX_QUOTED = 1_000
#: Longer texts are compared up to here.
_COMPARED = 20_000
#: Words that are new in an echo which adds nothing: "I remember that …" is no news.
_NEW_WORDS, _NEW_SHARE = 6, 0.3
_SPACED = re.compile(r"([\u2e80-\u9fff\uf900-\ufaff])")
_NO_WORD = re.compile(r"[^\w\s]+|_+")
_ASCII_WORDS = {i: " " for i in range(128) if not chr(i).isalnum()}


def header(episode: Episode) -> str:
    """Return what a memory's line begins with: `[e123 2026-05-03 error]`."""
    kind = re.sub(r"[^\w.:/-]+", "_", unicodedata.normalize("NFKC", episode.event_type))
    day = episode.timestamp.astimezone(UTC).date().isoformat()
    return f"[e{episode.id} {day} {kind[:_MAX_TYPE]}]"


def normalised(text: str) -> str:
    """Return the words of `text` without case, accents of form, punctuation and spacing."""
    text = text[:_COMPARED]
    if text.isascii():
        # The same, a tenth of the time.
        return " ".join(text.lower().translate(_ASCII_WORDS).split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_SPACED.sub(r" \1 ", _NO_WORD.sub(" ", folded)).split())


def quoted(text: str) -> dict[int, str]:
    """Return the headers that `text` quotes, by the id that each names."""
    if "[e" not in text:
        return {}
    found: dict[int, str] = {}
    for match in _HEADER.finditer(text):
        if int(match[1]) <= _MAX_ID and len(found) < _MAX_QUOTED:
            found.setdefault(int(match[1]), match[0])
    return found


def echo_marks(text: str, repeated: Sequence[Episode]) -> dict[str, Any]:
    """Return what an echo of these episodes has in its metadata; nothing without any."""
    if not repeated:
        return {}
    roots = {i for episode in repeated for i in originals_of(episode.metadata)}
    marks: dict[str, Any] = {ECHO_OF: sorted(roots | {episode.id for episode in repeated})}
    words = set(normalised(_HEADER.sub(" ", text)).split())
    known = {word for episode in repeated for word in normalised(episode.summary).split()}
    new = words - known
    if len(new) > max(_NEW_WORDS, _NEW_SHARE * len(words)):
        marks[ECHO_ADDS] = True
    return marks


def originals_of(metadata: Mapping[str, Any] | None) -> list[int]:
    """Return the ids that `echo_of` names; what others wrote there is left out."""
    named: Any = (metadata or {}).get(ECHO_OF)
    if not isinstance(named, list):
        return []
    return [i for i in cast("list[Any]", named) if type(i) is int and 0 < i <= _MAX_ID]


def without_echoes(hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits without the echoes of others among them."""
    ids = {hit.episode.id for hit in hits}
    return [hit for hit in hits if not ids.intersection(originals_of(hit.episode.metadata))]
