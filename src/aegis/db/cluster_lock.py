"""Two locks on a cluster, both the kernel's (`flock`).

One is held while a process creates, starts or stops the cluster. It ends with that process, so a
lock held by a dead process does not exist.

The other is inherited by the server and held until its last process has ended. It tells that the
folder is in use even where process numbers do not, as between two containers that share a folder:
two servers on one folder would destroy it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aegis.db.postmaster import wait_until
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["cluster_lock", "use_lock"]


@contextmanager
def cluster_lock(path: Path, *, timeout_s: float) -> Generator[None]:
    """Hold the lock for starting and stopping, waiting for it `timeout_s` at most.

    Raises:
        OpsError: another process kept it for longer.
    """
    with _locked(path, timeout_s) as descriptor:
        if descriptor is None:
            raise OpsError(
                f"Another process has been starting or stopping the server for {timeout_s:g} s "
                f"and holds {path}. Wait for it, or end it.",
                code="data_dir_busy",
            )
        yield


@contextmanager
def use_lock(path: Path, *, timeout_s: float = 3.0) -> Generator[int]:
    """Lend the locked descriptor that a server is to inherit; ours is closed at the end.

    Raises:
        OpsError: a server holds it that cannot be seen from here, or what it left running does.
    """
    with _locked(path, timeout_s) as descriptor:
        if descriptor is None:
            raise OpsError(
                f"Another server uses {path.parent}, perhaps in another container: it holds "
                f"{path}. Stop it first, or choose another AEGIS_DATA_DIR.",
                code="data_dir_in_use",
            )
        yield descriptor


@contextmanager
def _locked(path: Path, timeout_s: float) -> Generator[int | None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if os.geteuid() == 0:  # Its folder's owner may come without root next time.
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        yield descriptor if wait_until(taken, timeout_s) else None
    finally:
        # Closing leaves the lock to a child that has inherited it; unlocking would not.
        os.close(descriptor)
