"""Who is to be erased, and whether a text speaks of them. Pure.

Names are compared without regard to case, to compatible forms of characters (NFKC) and to how
blanks are written, as whole words: `Ann` is not in `Annual`. Between scripts that write no blanks
(Chinese, Japanese, Thai) there are no words, and a name is found anywhere.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Subject"]

MAX_NAMES = 100
#: From here on scripts begin that put no blanks between words; before them, Thai to Myanmar.
_NO_BLANKS = (0x0E00, 0x109F, 0x2E80)
#: A name of one letter is in everything.
_SHORTEST = 2


class Subject:
    """A person or thing by its names."""

    def __init__(self, names: Sequence[str]) -> None:
        """Accept names (`InvalidInput`: none, too many, or one too short to tell anything)."""
        if not names:
            raise InvalidInput("There is no subject; give a name.")
        if len(names) > MAX_NAMES:
            raise InvalidInput(f"There are {len(names)} names; {MAX_NAMES} is the most.")
        for name in names:
            validate.check_text("subject", name, most=validate.MAX_KEY)
            if len(re.sub(r"\W", "", _plain(name))) < _SHORTEST:
                raise InvalidInput(
                    f"subject is {name!r}; a name needs {_SHORTEST} letters at least, or it is "
                    "found in everything."
                )
        self.names = tuple(sorted({_plain(name) for name in names}))

    def is_in(self, value: Any) -> bool:
        """Return whether a text, or any text within lists and objects, speaks of the subject."""
        return any(self._pattern.search(_plain(text)) for text in _texts(value))

    def is_in_json(self, document: str) -> bool:
        """Return whether a JSON document speaks of the subject; one that is none is a text."""
        try:
            return self.is_in(json.loads(document))
        except (ValueError, RecursionError):
            return self.is_in(document)

    def patterns(self) -> list[str]:
        """Return patterns of LIKE, lower case, one of which fits whatever speaks of the subject.

        They are the longest runs of plain letters in the names, which stay what they are when a
        text is brought to NFKC, with ss for ß.
        """
        runs = [max(re.findall(r"[a-z0-9]+", name), key=len, default="") for name in self.names]
        return [f"%{run}%" for run in runs] if all(len(run) > 1 for run in runs) else ["%"]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(_bounded(name) for name in self.names))


def _bounded(name: str) -> str:
    before = "" if _no_blanks(name[0]) or not _in_word(name[0]) else r"(?<!\w)"
    after = "" if _no_blanks(name[-1]) or not _in_word(name[-1]) else r"(?!\w)"
    return f"{before}{re.escape(name)}{after}"


def _in_word(character: str) -> bool:
    return re.match(r"\w", character) is not None


def _no_blanks(character: str) -> bool:
    first, last, rest = _NO_BLANKS
    return first <= ord(character) <= last or ord(character) >= rest


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, keys included; by a stack, as values may be deep."""
    stack: list[Any] = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, dict):
            members = cast("dict[Any, Any]", current)
            stack.extend(members.keys())
            stack.extend(members.values())
        elif isinstance(current, list | tuple):
            stack.extend(cast("list[Any]", current))
