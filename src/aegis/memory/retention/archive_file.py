"""An archive's Parquet file: the rows of one table with every column, and what goes with them.

Columns are those that the table had; `aegis_side` is a JSON object of what other tables held of
the row. The digest is over the values, row by row, so that what was read from the database can be
compared with what the file gives back.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory.parquet import arrow, as_python, open_file, put_in_place, readable
from aegis.memory.store.rows import Column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "ArchiveWriter",
    "Contents",
    "Written",
    "as_document",
    "contents",
    "read",
    "read_sides",
    "sha256_of",
]

#: Rows that are held at once.
ROWS = 200
SIDE = "aegis_side"
_FORMAT = "aegis-archive"
_VERSION = 1
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is in a file."""

    rows: int
    size_bytes: int
    sha256: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file says of itself."""

    table: str
    namespace: str
    columns: Sequence[Column]


class ArchiveWriter:
    """Writes a file under a temporary name, and gives it its own once it is on the disk."""

    def __init__(
        self, target: Path, columns: Sequence[Column], *, table: str, namespace: str
    ) -> None:
        pa = arrow()
        self._target = target
        self.temporary = target.with_name(f".{target.name}.tmp")
        self._columns = columns
        self._schema = _schema(columns, table=table, namespace=namespace)
        self._digest = hashlib.sha256()
        self._rows = 0
        self._file = self.temporary.open("xb")
        self.temporary.chmod(0o600)
        self._writer = pa.parquet.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, rows: Sequence[Sequence[Any]], side: dict[int, str]) -> None:
        """Write rows as `read_rows` gives them, with what other tables hold of them."""
        pa = arrow()
        at = next(i for i, column in enumerate(self._columns) if column.name == "id")
        beside = [side.get(row[at]) for row in rows]
        for row, of in zip(rows, beside, strict=True):
            self._digest.update(_row_bytes(self._columns, row, of))
        values = [
            pa.array([row[i] for row in rows], type=_type(column))
            for i, column in enumerate(self._columns)
        ]
        values.append(pa.array(beside, type=pa.string()))
        self._writer.write_batch(pa.record_batch(values, schema=self._schema))
        self._rows += len(rows)

    def finish(self) -> Written:
        """Bring the file to the disk under its name, read it back and compare.

        Raises:
            InvalidInput: what is read is not what was written.
        """
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        put_in_place(self.temporary, self._target)
        written = measure(self._target)
        if (written.rows, written.digest) != (self._rows, self._digest.hexdigest()):
            raise InvalidInput(
                f"{self._target} holds other rows than were written; nothing was deleted. Check "
                "the disk.",
                code="archive_broken",
            )
        return written

    def abandon(self) -> None:
        """Remove whatever was written."""
        if not self._file.closed:
            # A writer that is left open writes its end when it is collected, into a closed file.
            with suppress(OSError, ValueError, arrow().ArrowException):
                self._writer.close()
        self._file.close()
        self.temporary.unlink(missing_ok=True)
        self._target.unlink(missing_ok=True)


def measure(path: Path) -> Written:
    """Read a file from its first to its last row and return what is in it (`InvalidInput`)."""
    digest, rows = hashlib.sha256(), 0
    columns = contents(path).columns
    names = [column.name for column in columns]
    for row in read(path):
        digest.update(_row_bytes(columns, [row[name] for name in names], row[SIDE]))
        rows += 1
    return Written(
        rows=rows,
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
        digest=digest.hexdigest(),
    )


def contents(path: Path) -> Contents:
    """Return what a file says of itself (`InvalidInput` where it is no archive of ours)."""
    file = open_file(path)
    try:
        metadata: dict[bytes, bytes] = file.schema_arrow.metadata or {}
        return _parse_contents(path, metadata.get(b"aegis"))
    finally:
        file.close()


def _parse_contents(path: Path, text: bytes | None) -> Contents:
    try:
        about: Any = json.loads(text or b"null")
        if about["format"] != _FORMAT or about["version"] != _VERSION:
            raise KeyError
        columns = [Column(name=c["name"], kind=c["kind"]) for c in about["columns"]]
        return Contents(table=about["table"], namespace=about["namespace"], columns=columns)
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(
            f"{path} is no archive of this version of Aegis.", code="archive_broken"
        ) from None


def read_sides(path: Path) -> Iterator[str]:
    """Yield what other tables held of a file's rows, reading nothing else (`InvalidInput`)."""
    for row in read(path, columns=[SIDE]):
        if row[SIDE] is not None:
            yield row[SIDE]


def read(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, by column, a few hundred in memory (`InvalidInput`)."""
    file = open_file(path)
    try:
        batches = file.iter_batches(batch_size=ROWS, columns=columns, use_threads=False)
        while True:
            with readable(path):
                batch = next(batches, None)
                rows = [] if batch is None else as_python(batch)
            if batch is None:
                return
            yield from rows
    finally:
        file.close()


def as_document(columns: Sequence[Column], row: dict[str, Any]) -> str:
    """Return a row as the JSON object that PostgreSQL makes a row of; its JSON stays verbatim."""
    parts = [f"{_encode(c.name)}:{_value(c, row[c.name])}" for c in columns]
    return "{" + ",".join(parts) + "}"


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _value(column: Column, value: Any) -> str:
    if value is None:
        return "null"
    if column.kind == "json":
        return value
    if column.kind == "time":
        return _encode(value.astimezone(UTC).isoformat())
    return _encode(value)


def _schema(columns: Sequence[Column], *, table: str, namespace: str) -> Any:
    pa = arrow()
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "table": table,
        "namespace": namespace,
        "columns": [{"name": c.name, "kind": c.kind} for c in columns],
    }
    fields = [pa.field(c.name, _type(c)) for c in columns]
    fields.append(pa.field(SIDE, pa.string()))
    return pa.schema(fields, metadata={"aegis": _encode(about)})


def _type(column: Column) -> Any:
    pa = arrow()
    match column.kind:
        case "integer":
            return pa.int32()
        case "bigint":
            return pa.int64()
        case "float":
            return pa.float64()
        case "boolean":
            return pa.bool_()
        case "time":
            return pa.timestamp("us", tz="UTC")
        case "vector":
            return pa.list_(pa.float32())
        case "texts":
            return pa.list_(pa.string())
        case "integers":
            return pa.list_(pa.int32())
        case _:
            return pa.string()


def _row_bytes(columns: Sequence[Column], values: Sequence[Any], side: str | None) -> bytes:
    """Return a row in the one form that its digest is of."""
    plain: list[Any] = []
    for column, value in zip(columns, values, strict=True):
        if isinstance(value, datetime):
            plain.append(value.astimezone(UTC).isoformat())
        elif column.kind == "vector" and value is not None:
            # As 32-bit floats: PostgreSQL's text of one is another number in 64 bits.
            plain.append(array("f", cast("list[float]", value)).tobytes().hex())
        else:
            plain.append(value)
    return (_encode([*plain, side]) + "\n").encode("utf-8", "surrogatepass")
