"""Why a server program failed, read from what it said: the last FATAL line, or a full disk."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from aegis.errors import OpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["disk_is_full", "last_error", "log_lines", "port_is_taken", "start_failure"]

_ERROR = re.compile(r"(?:FATAL|PANIC|ERROR|error):\s+(.+)")
#: A WAL segment; with less than this free a server cannot start. The disk that is full may have
#: swallowed the message that says so.
_SEGMENT_BYTES = 16 << 20


def last_error(text: str) -> str | None:
    """Return the message of the last FATAL, PANIC or ERROR line; None if there is none."""
    found = _ERROR.findall(text)
    return found[-1].strip() if found else None


def port_is_taken(text: str) -> bool:
    """Tell whether the server ended because another program has its TCP port."""
    return "could not create any TCP/IP sockets" in text


def disk_is_full(path: Path, text: str) -> bool:
    """Tell whether `text` says that the disk is full, or the disk of `path` is."""
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return True
    return text == "" and _free_bytes(path) < _SEGMENT_BYTES


def start_failure(text: str, data: Path, *, full: bool = False) -> OpsError:
    """Return the error for a server or initdb that ended, having said `text`."""
    said = last_error(text)
    if full or disk_is_full(data, text if said is not None else ""):
        free_mb = _free_bytes(data) >> 20
        return OpsError(
            f"The disk of {data} is full ({free_mb} MB free): the server cannot start. Free at "
            "least 100 MB, then start again; nothing that was committed is lost.",
            code="disk_full",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    quoted = said or (lines[-1] if lines else "it ended without a message")
    return OpsError(
        f"The server for {data} did not start: {quoted}. Its log is beside that folder, in log/.",
        code="server_start_failed",
    )


def log_lines(log_dir: Path, pid: int) -> str:
    """Return what process `pid` wrote to the newest log file, its last 64 KB."""
    files = sorted(log_dir.glob("*.log"), key=lambda file: file.stat().st_mtime)
    if not files:
        return ""
    with files[-1].open("rb") as log:
        log.seek(max(0, files[-1].stat().st_size - 65_536))
        text = log.read().decode(errors="replace")
    return "\n".join(line for line in text.splitlines() if f"[{pid}]" in line)


def _free_bytes(path: Path) -> int:
    for folder in (path, *path.parents):
        try:
            figures = os.statvfs(folder)
        except OSError:
            continue
        return figures.f_bavail * figures.f_frsize
    return _SEGMENT_BYTES
