"""Locks on files, which the system releases with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aegis.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["file_lock", "try_lock"]


@contextmanager
def file_lock(path: Path, *, wait: bool = False, shared: bool = False) -> Generator[None]:
    """Hold `path` locked, alone unless `shared`.

    Raises:
        Conflict: `backup_running`, somebody else holds it and `wait` was not asked for.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _lock(descriptor, wait=wait, shared=shared):
            who = os.read(descriptor, 100).decode(errors="replace").strip()
            raise Conflict(
                f"Another backup is at work{f' (process {who})' if who else ''}; wait for its end.",
                code="backup_running",
            )
        if not shared:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds `path` locked until it is closed; None where it is taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _lock(descriptor, wait=False, shared=False):
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int, *, wait: bool, shared: bool) -> bool:
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, how | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
