"""Why a server program failed, read from what it said: the last FATAL line, or a full disk."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from aegis.errors import OpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "disk_full",
    "disk_is_full",
    "last_error",
    "log_since",
    "log_sizes",
    "port_is_taken",
    "start_failure",
]

_ERROR = re.compile(r"(?:FATAL|PANIC|ERROR|error):\s+(.+)(?:\n.*DETAIL:\s+(.+))?")
_LOG = re.compile(r"LOG:\s+(.+)")
#: A WAL segment; with less than this free a server cannot start. The disk that is full may have
#: swallowed the message that says so.
_SEGMENT_BYTES = 16 << 20
_FULL = ("No space left on device", "Check free disk space", "Disk quota exceeded")


def last_error(text: str) -> str | None:
    """Return the message of the last FATAL, PANIC or ERROR line; None if there is none.

    Its detail follows, or the error itself where it only says that a file contains errors.
    """
    found: list[tuple[str, str]] = _ERROR.findall(text)
    if not found:
        return None
    message, detail = found[-1]
    logged: list[str] = _LOG.findall(text)
    if "contains errors" in message and logged:
        detail = logged[-1]
    parts = (part.strip().rstrip(".") for part in (message, detail))
    return ": ".join(part for part in parts if part)


def port_is_taken(text: str) -> bool:
    """Tell whether the server ended because another program has its TCP port."""
    return "could not create any TCP/IP sockets" in text


def disk_is_full(path: Path, text: str) -> bool:
    """Tell whether `text` says that the disk is full; if it says nothing, look at `path`'s disk."""
    if any(sign in text for sign in _FULL):
        return True
    return text == "" and _free_bytes(path) < _SEGMENT_BYTES


def start_failure(text: str, data: Path, *, log_dir: Path | None = None) -> OpsError:
    """Return the error for a server or initdb on `data` that ended, having said `text`."""
    said = last_error(text)
    if disk_is_full(data, text if said is not None else ""):
        return disk_full(data)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    quoted = said or (lines[-1].rstrip(".") if lines else "it ended without a message")
    advice = f"See {log_dir}." if log_dir is not None else "Correct that, then start again."
    return OpsError(
        f"The server in {data} did not start: {quoted}. {advice}", code="server_start_failed"
    )


def disk_full(path: Path) -> OpsError:
    """Return the error for a disk without room for `path`."""
    return OpsError(
        f"The disk of {path} is full ({_free_bytes(path) >> 20} MB free): the server cannot start. "
        "Free at least 100 MB, then start again; nothing that was committed is lost.",
        code="disk_full",
    )


def log_sizes(log_dir: Path) -> dict[str, int]:
    """Return the log files and their sizes in bytes, to read later what was added."""
    return {file.name: file.stat().st_size for file in log_dir.glob("*.log")}


def log_since(log_dir: Path, sizes: dict[str, int]) -> str:
    """Return what the log files have more than at the time of `sizes`, 64 KB of each at most."""
    added = ""
    for file in sorted(log_dir.glob("*.log")):
        size, before = file.stat().st_size, sizes.get(file.name, 0)
        with file.open("rb") as log:
            # Smaller than before: a week has passed and the file began anew.
            log.seek(max(before if before <= size else 0, size - 65_536))
            added += log.read().decode(errors="replace")
    return added


def _free_bytes(path: Path) -> int:
    for folder in (path, *path.parents):
        try:
            figures = os.statvfs(folder)
        except OSError:
            continue
        return figures.f_bavail * figures.f_frsize
    return _SEGMENT_BYTES
