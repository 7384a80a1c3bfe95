"""One process at a time creates, starts or stops a cluster.

The lock is the kernel's (`flock`): it ends with the process that holds it, so a lock held by a dead
process does not exist. The server does not inherit it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aegis.db.postmaster import wait_until
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["cluster_lock"]


@contextmanager
def cluster_lock(path: Path, *, timeout_s: float) -> Generator[None]:
    """Hold the lock on the file `path`, waiting for it `timeout_s` at most.

    Raises:
        OpsError: another process kept it for longer.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:  # Its folder's owner may come without root next time.
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if not wait_until(taken, timeout_s):
            raise OpsError(
                f"Another process has been starting or stopping the server for {timeout_s:g} s "
                f"and holds {path}. Wait for it, or end it.",
                code="data_dir_busy",
            )
        yield
    finally:
        os.close(descriptor)
