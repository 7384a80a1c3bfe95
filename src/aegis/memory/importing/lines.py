"""Files of lines, read so that no input can fill memory or crash the parser.

A line is at most `MAX_LINE_BYTES` long: the rest of a longer one is read and dropped. Only regular
files are opened, so that a pipe or a device cannot hang an import.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Line", "file_size", "find_files", "parse_json", "parse_object", "read_lines"]

#: Transcripts hold images and whole files in a line; beyond this a line is a mistake or an attack.
MAX_LINE_BYTES = 32 * 2**20
_BLOCK = 2**18
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that is not blank."""

    #: From 1; blank lines count.
    number: int
    #: Without the line end; None if it is longer than `MAX_LINE_BYTES`.
    data: bytes | None
    #: Offset behind the line.
    end: int
    #: Whether a line end follows; only a file's last line can lack one.
    terminated: bool


def read_lines(path: Path, *, max_bytes: int = MAX_LINE_BYTES, start: int = 0) -> Iterator[Line]:
    """Yield the lines of a file that are not blank; `start` is where a line begins, in bytes.

    Raises:
        InvalidInput: the file cannot be read.
    """
    number, end = 0, start
    kept = bytearray()
    dropped = False

    def line(*, terminated: bool) -> Line:
        data = None if dropped else bytes(kept).removesuffix(b"\r")
        if data is not None and number == 1 and start == 0:
            data = data.removeprefix(_BOM)
        return Line(number=number, data=data, end=end, terminated=terminated)

    for block in _blocks(path, start):
        for piece in _split(block):
            end += len(piece)
            terminated = piece.endswith(b"\n")
            body = piece[:-1] if terminated else piece
            if len(kept) + len(body) > max_bytes:
                dropped = True
                kept.clear()
            elif not dropped:
                kept += body
            if not terminated:
                continue
            number += 1
            if dropped or kept.strip():
                yield line(terminated=True)
            kept.clear()
            dropped = False
    if dropped or kept.strip():
        number += 1
        yield line(terminated=False)


def parse_object(line: Line) -> dict[str, Any]:
    """Return the JSON object on a line (`InvalidInput` says why there is none)."""
    if line.data is None:
        raise InvalidInput(f"it is longer than {MAX_LINE_BYTES:,} bytes")
    value = parse_json(line.data)
    if not isinstance(value, dict):
        raise InvalidInput(f"it holds {value!r:.40}, not a JSON object")
    return cast("dict[str, Any]", value)


def parse_json(data: bytes) -> Any:
    """Return the JSON value in `data` (`InvalidInput` says why there is none)."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"it is not UTF-8 (byte {error.start + 1})") from None
    except RecursionError:
        raise InvalidInput("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"it is not JSON: {error.msg} (character {error.pos + 1})") from None
    except ValueError as error:
        raise InvalidInput(f"it is not JSON: {str(error).split(';')[0]}") from None


def find_files(path: Path, *suffixes: str) -> list[Path]:
    """Return `path` itself if it is a file, else the regular files of a suffix below it, sorted.

    Symbolic links below `path` are not followed: they may lead anywhere, or in a circle.

    Raises:
        InvalidInput: there is nothing at `path`, or no such file below it.
    """
    if not path.exists():
        raise InvalidInput(f"There is nothing at {path}.", code="import_path")
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=_unreadable):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if name.endswith(suffixes) and stat.S_ISREG(file.lstat().st_mode):
                found.append(file)
    if not found:
        raise InvalidInput(f"{path} holds no {' or '.join(suffixes)} files.", code="import_path")
    return found


def file_size(path: Path) -> int:
    """Return a regular file's size (`InvalidInput` if it is none)."""
    try:
        status = path.stat()
    except OSError as error:
        _unreadable(error)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path} is not a regular file.", code="import_path")
    return status.st_size


def _blocks(path: Path, start: int) -> Iterator[bytes]:
    file_size(path)
    try:
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        _unreadable(error)


def _split(block: bytes) -> list[bytes]:
    # Not `splitlines`: it takes a lone carriage return for a line end.
    pieces = [piece + b"\n" for piece in block.split(b"\n")]
    last = pieces.pop()[:-1]
    return [*pieces, last] if last else pieces


def _unreadable(error: OSError) -> NoReturn:
    raise InvalidInput(
        f"{error.filename} cannot be read: {error.strerror}.", code="import_path"
    ) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
