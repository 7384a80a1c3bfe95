"""A month of events as a Parquet file: written beside its name, synced, renamed, read back.

pyarrow comes with the extra `parquet` and is loaded where it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import ConfigError, OpsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

__all__ = ["COLUMNS", "Digest", "arrow", "read_digest", "sha256_of", "write"]

COLUMNS: Final = (
    "id", "api_key_id", "customer_id", "endpoint", "method", "status_code", "response_time_ms",
    "tokens_used", "cost_usd", "created_at", "event_id", "recorded_at", "source",
)  # fmt: skip


class Digest:
    """SHA-256 over rows, whatever file or table they come from."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows = 0

    def add(self, row: Any) -> None:
        """Take a row in; its values are in the order of `COLUMNS`."""
        self._hash.update(repr(tuple(_canonical(value) for value in row)).encode())
        self.rows += 1

    def add_all(self, rows: Sequence[Any]) -> None:
        """Take rows in, in their order."""
        for row in rows:
            self.add(row)

    def text(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest()


def arrow() -> Any:
    """Return the module `pyarrow`, with `pyarrow.parquet` loaded.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError(
            "Parquet files need pyarrow: install it with `pip install 'aegis-core[parquet]'`.",
            code="extra_missing",
        ) from None
    return importlib.import_module("pyarrow")


async def write(target: Path, batches: AsyncIterator[list[Any]]) -> Digest:
    """Write rows to `target` and return their digest; what stood there before is replaced.

    Under a temporary name until all of it is on the disk: a crash leaves no half file.
    """
    pa = arrow()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.partial")
    schema = _schema(pa)
    digest = Digest()
    try:
        with temporary.open("wb") as file:
            with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                async for rows in batches:
                    # Requests are answered in this loop meanwhile.
                    await asyncio.to_thread(digest.add_all, rows)
                    columns = [list(column) for column in zip(*rows, strict=True)]
                    arrays = [
                        pa.array(values, type=field.type)
                        for values, field in zip(columns, schema, strict=True)
                    ]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)  # noqa: PTH105
        _sync_folder(target.parent)
    except OSError as error:
        raise OpsError(
            f"{target} cannot be written: {error.strerror or error}. Free space, or set "
            "AEGIS_ARCHIVE_DIR to another folder.",
            code="export_failed",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def read_digest(path: Path) -> Digest:
    """Return the digest of a file's rows as they are read back (`OpsError`)."""
    pa = arrow()
    digest = Digest()
    try:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    digest.add(row)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise OpsError(f"{path} cannot be read back: {reason}", code="export_failed") from None
    return digest


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _schema(pa: Any) -> Any:
    time = pa.timestamp("us", tz="UTC")
    types = {
        "id": pa.int64(),
        "status_code": pa.int32(),
        "response_time_ms": pa.int32(),
        "tokens_used": pa.int32(),
        "cost_usd": pa.decimal128(10, 6),
        "created_at": time,
        "recorded_at": time,
    }
    return pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])


def _canonical(value: Any) -> Any:
    # A time of one moment has many zones; that of the file is UTC.
    return value if value is None or isinstance(value, int | str) else _text(value)


def _text(value: Any) -> str:
    from datetime import UTC, datetime

    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{value:.6f}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
