"""What of a subject waits in files, or would be read from some: the spool, agents' transcripts.

A line of the spool that speaks of the subject is written over with blanks where it stands, which
whoever drains passes over. Transcripts are the agents' own: they stay, and are not read again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import Unavailable
from aegis.memory.store import references

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.db import Database
    from aegis.memory.retention.subject import Subject

__all__ = ["DRAINING", "blank_lines", "count_lines", "find_transcripts", "leave_transcripts"]

#: The lock of who drains a spool's folder (`aegis.sessions.spool`): nothing is handed on meanwhile.
DRAINING = "draining"
_PATIENCE_S = 30.0
#: Read in pieces of this size at most, lines being kept whole up to it.
_LINE_BYTES = 2**22
_PAGE = 500
_ESCAPED = re.compile(r"(?:\\+u[0-9a-fA-F]{4})+")


def count_lines(data_dir: Path, subject: Subject) -> int:
    """Return how many lines that wait in spools, or were refused, speak of the subject."""
    return sum(len(_matches(path, subject)) for path in _files(data_dir))


def blank_lines(data_dir: Path, subject: Subject) -> int:
    """Write blanks over those lines and return how many there were.

    Raises:
        Unavailable: somebody drains a spool and does not come to an end; run it again.
    """
    return sum(_blank_folder(folder, subject) for folder in _folders(data_dir))


async def find_transcripts(
    db: Database, subject: Subject, *, namespace: str | None
) -> list[tuple[Any, int]]:
    """Return (session, size) of those whose transcript is there and speaks of the subject."""
    found: list[tuple[Any, int]] = []
    after: Any = None
    while True:
        async with db.transaction() as conn:
            page = await references.list_transcripts(
                conn, namespace=namespace, after=after, limit=_PAGE
            )
        for session, path in page:
            size = await anyio.to_thread.run_sync(_speaking_size, Path(path), subject)
            if size is not None:
                found.append((session, size))
        if len(page) < _PAGE:
            return found
        after = page[-1][0]


async def leave_transcripts(db: Database, subject: Subject, *, namespace: str | None) -> int:
    """Have those transcripts never read again, up to where they are now; return how many."""
    found = await find_transcripts(db, subject, namespace=namespace)
    async with db.transaction() as conn:
        return await references.leave_transcripts(conn, found) if found else 0


def _folders(data_dir: Path) -> list[Path]:
    spools = data_dir / "spool"
    return sorted(path for path in spools.iterdir() if path.is_dir()) if spools.is_dir() else []


def _files(data_dir: Path) -> list[Path]:
    return [path for folder in _folders(data_dir) for path in sorted(folder.glob("*.jsonl"))]


def _blank_folder(folder: Path, subject: Subject) -> int:
    lines = 0
    with _nobody_drains(folder):
        for path in sorted(folder.glob("*.jsonl")):
            found = _matches(path, subject)
            if not found:
                continue
            # A hook only adds behind these lines.
            with path.open("r+b") as file:
                for at, length in found:
                    file.seek(at)
                    file.write(b" " * length)
                file.flush()
                os.fsync(file.fileno())
            lines += len(found)
    return lines


@contextmanager
def _nobody_drains(folder: Path) -> Generator[None]:
    handle = os.open(folder / DRAINING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + _PATIENCE_S
        while not _locked(handle):
            if time.monotonic() >= until:
                raise Unavailable(
                    f"The spool {folder} is being drained; run the erasure again when that is done."
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _matches(path: Path, subject: Subject) -> list[tuple[int, int]]:
    """Return where (offset, length) the lines are that speak of the subject.

    A file that is gone by now, drained, has none.
    """
    found: list[tuple[int, int]] = []
    at = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                if _speaks(line, subject):
                    found.append((at, len(line.rstrip(b"\r\n"))))
                at += len(line)
    except FileNotFoundError:
        return []
    return found


def _speaking_size(path: Path, subject: Subject) -> int | None:
    """Return the size of a transcript that speaks of the subject; None of any other file."""
    try:
        if not path.is_absolute() or path.suffix != ".jsonl" or not path.is_file():
            return None
        size = path.stat().st_size
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                if _speaks(line, subject):
                    return max(size, path.stat().st_size)
    except OSError:
        return None
    return None


def _speaks(line: bytes, subject: Subject) -> bool:
    """Return whether a line of JSON, or what is left of one, speaks of the subject."""
    text = line.decode("utf-8", "replace")
    if not text.strip():
        return False
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        # Torn, or cut here: then what JSON escapes is not undone by reading it.
        return subject.is_in(_ESCAPED.sub(_letters, text))
    if subject.is_in(told):
        return True
    # What was refused is a line in a line.
    inner = told.get("line") if isinstance(told, dict) else None  # pyright: ignore
    return isinstance(inner, str) and _speaks(inner.encode(), subject)


def _letters(match: re.Match[str]) -> str:
    units = re.findall(r"u([0-9a-fA-F]{4})", match.group())
    return bytes.fromhex("".join(units)).decode("utf-16-be", "replace")
