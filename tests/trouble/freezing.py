"""A server whose processes are all stopped, as when its machine is."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.postmaster import processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.cluster import Handle

__all__ = ["frozen"]


@contextmanager
def frozen(server: Handle) -> Generator[None]:
    """Stop every process of the server, the first one first, and let them go on at the end."""
    pids: list[int] = []
    try:
        # It may have started another one in the meantime.
        while left := [pid for pid in processes_of(server.data) if pid not in pids]:
            main = int((server.data / "postmaster.pid").read_text().split()[0])
            for pid in sorted(left, key=lambda pid: pid != main):
                # One that was about to end may have ended; nobody is there to bury it.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                pids.append(pid)
        assert wait_until(lambda: all(_state(pid) in {"T", "Z", None} for pid in pids), 30)
        assert len(pids) > 3
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
