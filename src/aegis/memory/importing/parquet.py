"""Parquet: the other format of `aegis.memory.exporting`, read a few rows at a time.

The whole file is looked over before anything is recorded: its footer, its columns, and what its
pages say of their sizes. A row that is broken ends the import as a broken line of JSONL does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.memory.importing.items import BrokenItem, Place, Source
from aegis.memory.importing.jsonl import read_event
from aegis.memory.importing.lines import find_files
from aegis.memory.parquet import as_python, open_file, readable
from aegis.memory.parquet_rows import as_line, check_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.items import Event

__all__ = ["open_source"]

#: Rows that are held at once, and the most that a row group may hold, unpacked: a few bytes can
#: say that they are terabytes.
_ROWS = 100
_GROUP_BYTES = 2**30


def open_source(path: Path) -> Source:
    """Open a file, or the `.parquet` files below a folder (`InvalidInput`)."""
    files = find_files(path, ".parquet")
    total = sum(_rows_of(file) for file in files)
    return Source(events=_events(files), total=total, unit="rows")


def _rows_of(path: Path) -> int:
    """Return how many rows a file has, after a look at everything that it says of itself."""
    file = open_file(path)
    try:
        with readable(path):
            header = check_schema(file.schema_arrow)
            read_event(header | {"kind": "header"}, Place(file=str(path), number=1), 0, 0)
            about = file.metadata
            for number in range(about.num_row_groups):
                size = about.row_group(number).total_byte_size
                if not 0 <= size <= _GROUP_BYTES:
                    raise InvalidInput(f"row group {number} has {size:,} bytes")
            # Every page is unpacked once, so that a file that is cut or bent imports nothing.
            rows = sum(batch.num_rows for batch in _batches(file))
        if rows != about.num_rows:
            raise InvalidInput(f"it has {rows} rows, and says {about.num_rows}")
        return rows
    except InvalidInput as error:
        if error.code == "parquet_unreadable":
            raise
        raise InvalidInput(f"{path}: {error.message}.", code="parquet_unreadable") from None
    finally:
        file.close()


def _events(files: list[Path]) -> Iterator[Event]:
    position = 0
    for path in files:
        file = open_file(path)
        number = 0
        try:
            for batch in _batches(file):
                with readable(path):
                    rows = as_python(batch)
                    size = batch.nbytes // max(1, len(rows))
                for row in rows:
                    number += 1
                    position += 1
                    yield _event(
                        row, Place(file=str(path), number=number, unit="row"), position, size
                    )
        finally:
            file.close()


def _event(row: dict[str, Any], place: Place, position: int, size: int) -> Event:
    try:
        return read_event(as_line(row), place, position, size)
    except InvalidInput as error:
        return BrokenItem(place=place, reason=str(error), position=position)


def _batches(file: Any) -> Iterator[Any]:
    return file.iter_batches(batch_size=_ROWS, use_threads=False)
