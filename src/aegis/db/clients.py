"""Who is connected to a server, before it is stopped for want of anybody."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Final

from aegis.db.cluster import server_environment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_left"]

#: How long a client that has closed its connection may still be listed.
_LEAVING_S: Final = 1.0
_POLL_S: Final = 0.05


def is_left(bin_dir: Path, dsn: str) -> bool:
    """Tell whether no client is connected any more; one that has just gone is listed a moment."""
    until = time.monotonic() + _LEAVING_S
    while (clients := _count_clients(bin_dir, dsn)) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return clients == 0


def _count_clients(bin_dir: Path, dsn: str) -> int | None:
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    done = subprocess.run(
        [bin_dir / "psql", "--no-psqlrc", "-Atqc", query, dsn],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(),
    )
    return int(done.stdout) if done.returncode == 0 else None
