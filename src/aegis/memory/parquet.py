"""pyarrow, which the extra `parquet` brings: loaded where used, its errors told in one line."""

from __future__ import annotations

import importlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["arrow", "as_python", "open_file", "put_in_place", "readable", "sync_folder"]

#: Times of Parquet are read as UTC; a zone's name would need a database of zones.
TIME_UNIT = "us"


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


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Say in one line why a file cannot be read as Parquet (`InvalidInput`)."""
    pa = arrow()
    try:
        yield
    except OSError as error:
        # pyarrow's own errors of broken pages are `OSError`s without a number.
        reason = error.strerror or str(error)
        raise InvalidInput(_unreadable(path, reason), code="parquet_unreadable") from None
    except (pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        raise InvalidInput(_unreadable(path, str(error)), code="parquet_unreadable") from None


def open_file(path: Path) -> Any:
    """Open a Parquet file for reading; the caller closes it (`InvalidInput`)."""
    pa = arrow()
    if not path.is_file():
        raise InvalidInput(f"There is no file at {path}.", code="parquet_unreadable")
    with readable(path):
        # Hostile sizes are refused, not allocated: of the footer's texts, and of its structures.
        return pa.parquet.ParquetFile(
            path,
            thrift_string_size_limit=64 * 2**20,
            thrift_container_size_limit=4 * 10**6,
            memory_map=False,
            pre_buffer=False,
        )


def as_python(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a record batch; times in UTC."""
    return batch.to_pylist()


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a file that is whole and on the disk its name, which outlives a power cut, too."""
    os.replace(temporary, target)  # noqa: PTH105
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unreadable(path: Path, reason: str) -> str:
    flat = " ".join(reason.split())[:200].rstrip(".")
    return f"{path} cannot be read as Parquet: {flat}."
