"""A file of JSON values, read one value at a time: an export is far larger than any item of it.

The values are the elements of one list, or follow one another. Memory holds one value and its
text, of at most `MAX_VALUE_CHARACTERS`; blanks between values are dropped as they come.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Readable(Protocol):
        def read(self, size: int, /) -> bytes: ...


__all__ = ["MAX_VALUE_CHARACTERS", "Value", "read_values"]

#: A conversation of a hundred thousand messages has 50 MB.
MAX_VALUE_CHARACTERS = 64 * 2**20
_BLOCK = 2**18
_BLANKS = re.compile(r"[ \t\r\n]*")
#: An error so near to the end of what has been read may only mean that the rest is missing: the
#: longest thing that is wrong as long as it is cut is a pair of escapes, `\ud83d\ude00`.
_CUT = 16
#: A number so near to the end may go on: `1` is whole, and so is `1e+` up to the `1`.
_NUMBER_CUT = 3
#: Python refuses to read longer whole numbers.
_MAX_DIGITS = 4_000


def _whole(digits: str) -> float:
    # One absurd number must not make the rest of the file unreadable; none is stored.
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


_DECODER = json.JSONDecoder(parse_int=_whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a file."""

    #: From 1.
    number: int
    content: Any
    #: Characters that it takes.
    size: int
    #: How many bytes of the file have been read by now.
    position: int


def read_values(file: Readable, *, max_characters: int = MAX_VALUE_CHARACTERS) -> Iterator[Value]:
    """Yield the elements of the list that `file` holds, or the values in it.

    Raises:
        InvalidInput: what follows is not JSON, or too long; values before it have been yielded.
    """
    reader = _Reader(file, max_characters)
    first = reader.peek()
    if first == "":
        raise InvalidInput("the file is empty")
    if first != "[":
        number = 0
        while reader.peek() != "":
            number += 1
            yield reader.value(number)
        return
    reader.step()
    yield from _elements(reader)
    if reader.peek() != "":
        raise InvalidInput("something follows the end of the list")


def _elements(reader: _Reader) -> Iterator[Value]:
    if reader.peek() == "]":
        reader.step()
        return
    number = 0
    while True:
        number += 1
        yield reader.value(number)
        mark = reader.peek()
        if mark not in (",", "]"):
            what = f"{mark!r} where the list goes on" if mark else "the file ends in the list"
            raise InvalidInput(f"it is not JSON: {what}")
        reader.step()
        if mark == "]":
            return


class _Reader:
    """A text that is read on where it is needed, and dropped behind."""

    def __init__(self, file: Readable, most: int) -> None:
        self._file = file
        self._most = most
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text = ""
        self._at = 0
        self._ended = False
        self._position = 0

    def peek(self) -> str:
        """Return the next character that is not blank, or nothing at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks is not None
            self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def step(self) -> None:
        """Go behind the character that `peek` returned."""
        self._at += 1

    def value(self, number: int) -> Value:
        """Return the value that begins here."""
        self.peek()
        while True:
            try:
                content, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise InvalidInput("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._more():
                    raise InvalidInput(f"it is not JSON: {error.msg}") from None
                continue
            short = len(self._text) - end < _NUMBER_CUT
            if short and isinstance(content, int | float) and self._more():
                continue
            size, self._at = end - self._at, end
            return Value(number=number, content=content, size=size, position=self._position)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        if len(self._text) - self._at > self._most:
            raise InvalidInput(f"it is longer than {self._most:,} characters")
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _CUT

    def _more(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        # As much again as is being kept, so that a long value is not tried too often.
        block = self._file.read(max(_BLOCK, len(self._text) - self._at))
        self._position += len(block)
        self._ended = block == b""
        try:
            new = self._decode(block, final=self._ended)
        except UnicodeDecodeError:
            raise InvalidInput("it is not UTF-8") from None
        if self._ended:
            return False
        self._text = self._text[self._at :] + new
        self._at = 0
        return True
