"""Other programs' exports: JSON files, alone, in a folder, or as members of a zip.

A zip is never unpacked: only members of the wanted names are opened, and read as they come. What
one may expand to is bounded, and so is every item in it (`values.py`).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory.importing.fields import describe
from aegis.memory.importing.items import BrokenItem, Item, Place, Source
from aegis.memory.importing.lines import file_size, find_files, parse_object, read_lines
from aegis.memory.importing.values import read_values

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from aegis.memory.importing.items import Event
    from aegis.memory.importing.values import Readable
    from aegis.memory.models import NewEpisode

__all__ = ["Entry", "Part", "find_parts", "open_parts", "read_episode", "unwrap"]

#: A member that is larger, or that shrank more than text does, is an attack or no export.
MAX_MEMBER_BYTES = 16 * 2**30
MAX_RATIO = 200
#: Small ones may shrink as they like.
_RATIO_FROM_BYTES = 16 * 2**20
_LINES = (".jsonl", ".ndjson")
#: What `zipfile` raises where bytes are not what they should be, or ask for what it cannot do.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of an export, or a member of its zip."""

    path: Path
    #: In the zip at `path`; None for a file.
    member: zipfile.ZipInfo | None = None
    #: Uncompressed.
    size: int

    def __str__(self) -> str:
        if self.member is None:
            return str(self.path)
        name = "".join(c if c.isprintable() else "?" for c in self.member.filename)
        return f"{self.path}, {name[-100:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One JSON object of a part: a conversation, a memory, an item."""

    fields: dict[str, Any]
    place: Place
    position: int
    #: Characters that it takes.
    size: int

    def broken(self, reason: str) -> BrokenItem:
        """Return the report that this entry, or something in it, cannot be recorded."""
        return BrokenItem(place=self.place, reason=reason, position=self.position)


def find_parts(path: Path, names: re.Pattern[str], wanted: str) -> list[Part]:
    """Return the file at `path`, or what a zip or folder has by these names; `wanted` says which.

    Raises:
        InvalidInput: there is none, or the zip is damaged, encrypted or a bomb.
    """
    if path.is_dir():
        below = find_files(path, ".json", *_LINES)
        found = [file for file in below if names.fullmatch(file.name)]
        if not found:
            raise InvalidInput(f"{path} holds no {wanted}.", code="import_path")
        return [Part(path=file, size=file_size(file)) for file in found]
    (file,) = find_files(path)
    size = file_size(file)
    if not _is_zip(file):
        return [Part(path=file, size=size)]
    with _open_zip(file) as archive:
        inside = [m for m in archive.infolist() if names.fullmatch(m.filename.rpartition("/")[2])]
    if not inside:
        raise InvalidInput(f"{path} holds no {wanted}.", code="import_path")
    parts = [
        Part(path=file, member=member, size=member.file_size)
        for member in sorted(inside, key=lambda m: m.filename)
    ]
    for part in parts:
        _check_member(part)
    return parts


def open_parts(parts: list[Part], read: Callable[[Entry], Iterator[Event]], *, unit: str) -> Source:
    """Open an export's parts: `read` makes events of each object in them, a `unit`."""
    total = sum(part.size for part in parts)
    return Source(events=_events(parts, read, unit), total=total, unit="bytes")


def read_episode(entry: Entry, read: Callable[[dict[str, Any]], NewEpisode]) -> Event:
    """Return the entry as `read` has it, or the report of what is wrong with it."""
    try:
        episode = read(entry.fields)
    except InvalidInput as error:
        return entry.broken(error.message)
    size = len(episode.summary) * (1 if episode.details is None else 2)
    return Item(value=episode, place=entry.place, position=entry.position, size=size)


def unwrap(entry: Entry, name: str, unit: str, read: Callable[[Entry], Event]) -> Iterator[Event]:
    """Yield the events of the objects, each a `unit`, in the entry's list `name`."""
    inside = entry.fields[name]
    if not isinstance(inside, list):
        yield entry.broken(f"{name} is {describe(inside)}; it must be a list")
        return
    file = entry.place.file if entry.place.number == 1 else str(entry.place)
    for number, fields in enumerate(cast("list[Any]", inside), 1):
        place = Place(file=file, number=number, unit=unit)
        if isinstance(fields, dict):
            yield read(replace(entry, fields=cast("dict[str, Any]", fields), place=place))
        else:
            yield replace(entry, place=place).broken(_no_object(fields))


def _no_object(value: Any) -> str:
    return f"it is {describe(value)}, not a JSON object"


def _events(
    parts: list[Part], read: Callable[[Entry], Iterator[Event]], unit: str
) -> Iterator[Event]:
    before = 0
    for part in parts:
        if part.member is None and part.path.suffix in _LINES:
            yield from _lines(part, read, before)
        else:
            yield from _values(part, read, unit, before)
        before += part.size


def _values(
    part: Part, read: Callable[[Entry], Iterator[Event]], unit: str, before: int
) -> Iterator[Event]:
    number = 0
    try:
        with _opened(part) as file:
            for value in read_values(file):
                number = value.number
                place = Place(file=str(part), number=number, unit=unit)
                position = before + value.position
                fields = value.content
                if not isinstance(fields, dict):
                    yield BrokenItem(place=place, reason=_no_object(fields), position=position)
                    continue
                fields = cast("dict[str, Any]", fields)
                yield from read(
                    Entry(fields=fields, place=place, position=position, size=value.size)
                )
    except InvalidInput as error:
        # Where one value ends cannot be known when it is broken: the file is read no further.
        place = Place(file=str(part), number=number + 1, unit=unit)
        reason = f"{error.message.rstrip('.')}; nothing behind it can be read"
        yield BrokenItem(place=place, reason=reason, position=before + part.size)


def _lines(part: Part, read: Callable[[Entry], Iterator[Event]], before: int) -> Iterator[Event]:
    for line in read_lines(part.path):
        place = Place(file=str(part), number=line.number)
        position = before + line.end
        try:
            fields = parse_object(line)
        except InvalidInput as error:
            yield BrokenItem(place=place, reason=error.message, position=position)
            continue
        size = len(line.data or b"")
        yield from read(Entry(fields=fields, place=place, position=position, size=size))


def _is_zip(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise _unreadable(file, error) from None
    # The second is an empty archive's.
    return start in (b"PK\x03\x04", b"PK\x05\x06") or file.suffix.lower() == ".zip"


def _check_member(part: Part) -> None:
    member = part.member
    assert member is not None
    # The directory may say what it likes, but not more than the file has.
    compressed = min(member.compress_size, file_size(part.path))
    problem = None
    if member.flag_bits & 0x1:
        problem = "is encrypted; unpack it and import the folder"
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = "is compressed in a way that is not read; unpack it and import the folder"
    elif member.file_size > MAX_MEMBER_BYTES:
        problem = f"expands to {member.file_size:,} bytes; at most {MAX_MEMBER_BYTES:,} are read"
    elif member.file_size > max(_RATIO_FROM_BYTES, MAX_RATIO * compressed):
        problem = (
            f"expands from {compressed:,} to {member.file_size:,} bytes, more than "
            f"{MAX_RATIO} times; if it is no bomb, unpack it and import the folder"
        )
    if problem is not None:
        raise InvalidInput(f"{part} {problem}.", code="import_path")


def _open_zip(file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise _damaged(file, error) from None


@contextmanager
def _opened(part: Part) -> Generator[Readable]:
    if part.member is not None:
        with _open_zip(part.path) as archive:
            yield _Member(archive, part)
        return
    try:
        file = part.path.open("rb")
    except OSError as error:
        raise _unreadable(part.path, error) from None
    with file:
        yield file


class _Member:
    """A member of a zip, whose damage is ours to name."""

    def __init__(self, archive: zipfile.ZipFile, part: Part) -> None:
        assert part.member is not None
        self._path = part.path
        try:
            self._file = archive.open(part.member)
        except _DAMAGE as error:
            raise _damaged(part.path, error) from None

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except _DAMAGE as error:
            raise _damaged(self._path, error) from None


def _damaged(file: Path, error: Exception) -> InvalidInput:
    if isinstance(error, OSError):
        return _unreadable(file, error)
    reason = " ".join(str(error).split())[:200] or "it ends too early"
    return InvalidInput(f"{file} is a damaged zip: {reason}.", code="import_path")


def _unreadable(file: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{file} cannot be read: {error.strerror or error}.", code="import_path")
