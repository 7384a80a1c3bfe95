"""The spool: what hooks were told, in files, until it is in the database.

A hook appends one line to `events.jsonl` and syncs it. Whoever drains renames that file to the next
`batch-N.jsonl`, hands its lines on in order, and deletes it once they are committed; a drain that
was cut off begins the batch anew, and the events' keys make that harmless. Files hold what people
typed, and are readable by their owner alone. Nothing here knows the database.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

__all__ = ["append", "claim", "drain_lock", "is_empty", "read_batches", "reject"]

_CURRENT, _LOCK, _DRAINING, _REJECTED = "events.jsonl", "lock", "draining", "rejected.jsonl"
#: More is not taken while nobody drains: a database that never comes must not fill the disk.
MAX_BYTES = 2**30
#: A holder of the lock writes one line, or renames one file.
_LOCK_S = 0.3
#: Of events that cannot be accepted, the first so many are kept to be looked at.
_MAX_REJECTED_BYTES = 16 * 2**20


def append(folder: Path, record: dict[str, Any]) -> None:
    """Add a record behind all others and sync it; all of it is there, or nothing.

    Raises:
        OSError: it could not be written, such as on a full disk.
    """
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / _LOCK, wait_s=_LOCK_S) as locked:
        if not locked:
            # Somebody was stopped with the lock in hand. A file of its own is in nobody's way.
            _write_late(folder, line)
            return
        handle = os.open(folder / _CURRENT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _write_line(handle, line)
        except BaseException:
            os.close(handle)
            raise
    # Others may write meanwhile; and a drainer that was quicker has committed it.
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_empty(folder: Path) -> bool:
    """Tell whether nothing waits."""
    try:
        if (folder / _CURRENT).stat().st_size:
            return False
    except OSError:
        pass
    return not _waiting(folder)


@contextmanager
def drain_lock(folder: Path) -> Generator[bool]:
    """Be the one who drains while the block runs; False where somebody else is."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        yield False
        return
    with _locked(folder / _DRAINING, wait_s=0) as locked:
        yield locked


def claim(folder: Path) -> Path | None:
    """Return the oldest file that waits, None where there is none; the caller drains."""
    waiting = _waiting(folder)
    if waiting:
        return waiting[0]
    current = folder / _CURRENT
    with _locked(folder / _LOCK, wait_s=5 * _LOCK_S) as locked:
        if not locked or not current.exists():
            return None
        taken = folder / "batch-1.jsonl"
        current.rename(taken)
    return taken


def read_batches(path: Path, size: int) -> Iterator[list[bytes]]:
    """Yield the lines of a claimed file, `size` at a time; a line that was torn comes, too."""
    batch: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                batch.append(line.rstrip(b"\n"))
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


def reject(folder: Path, line: bytes, why: str) -> None:
    """Keep a line that cannot be accepted where a person finds it; never stops the others."""
    path = folder / _REJECTED
    record = {"why": why, "line": line[:100_000].decode(errors="replace")}
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size < _MAX_REJECTED_BYTES:
                os.write(handle, json.dumps(record).encode() + b"\n")
        finally:
            os.close(handle)
    except OSError:
        return


def _write_line(handle: int, line: bytes) -> None:
    end = os.lseek(handle, 0, os.SEEK_END)
    if end + len(line) > MAX_BYTES:
        raise OSError(f"The spool holds {end:,} bytes that nobody drained.")
    if end and os.pread(handle, 1, end - 1) != b"\n":
        # What stands before it was torn by a crash; it must not take this line with it.
        line = b"\n" + line
    try:
        written = 0
        while written < len(line):
            written += os.write(handle, line[written:])
    except OSError:
        os.ftruncate(handle, end)
        raise


def _write_late(folder: Path, line: bytes) -> None:
    name = f"late-{time.time_ns():020d}-{os.getpid()}"
    path = folder / f"{name}.part"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_line_whole(handle, line)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    path.rename(folder / f"{name}.jsonl")


def _write_line_whole(handle: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(handle, line[written:])
    os.fsync(handle)


def _waiting(folder: Path) -> list[Path]:
    """Return batches, then files that were written without the lock."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (a folder that may not be there)
    except OSError:
        return []
    return [folder / n for n in names if n.startswith(("batch-", "late-")) and n.endswith(".jsonl")]


@contextmanager
def _locked(path: Path, *, wait_s: float) -> Generator[bool]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _take(handle, wait_s)
    finally:
        os.close(handle)


def _take(handle: int, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)
