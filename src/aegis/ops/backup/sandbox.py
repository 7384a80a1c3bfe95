"""A throw-away server of our own programs, to restore a backup into.

It is durable in nothing and private in everything: its folder, its socket and its password are
new, and gone at the end. What a killed run leaves, its server first, the next one removes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db import embedded
from aegis.db.admin import admin_connection
from aegis.db.cluster import find_cluster
from aegis.db.postmaster import end_orphans
from aegis.db.translate import translated
from aegis.errors import OpsError
from aegis.ops.backup.locks import file_lock, try_lock

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.config import Settings
    from aegis.db.embedded import Endpoint

__all__ = ["remove_leftovers", "sandbox"]

_PREFIX = "sandbox-"

#: Nothing here outlives the look at it.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "'4GB'",
    "log_min_duration_statement": "-1",
}


@contextmanager
def sandbox(settings: Settings) -> Generator[Endpoint]:
    """Yield a new, empty server.

    Raises:
        OpsError: its programs are missing, or the disk is full.
    """
    parent = settings.data_dir / "sandboxes"
    parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    remove_leftovers(settings)
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # The lock lies beside it: where root starts the server, its folder belongs to another.
    with file_lock(parent / f".{place.name}.lock"):
        try:
            own = replace(settings, database_url=None, direct_database_url=None, data_dir=place)
            place.chmod(0o755)
            endpoint = embedded.start(own)
            with translated(), admin_connection(endpoint.dsn) as conn:
                conn.autocommit = True
                for name, value in _FAST.items():
                    conn.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
                conn.execute("SELECT pg_reload_conf()")
            yield endpoint
        finally:
            _remove(place, settings)
    (parent / f".{place.name}.lock").unlink(missing_ok=True)


def remove_leftovers(settings: Settings) -> int:
    """End and remove the servers that killed runs left, and return how many there were."""
    parent = settings.data_dir / "sandboxes"
    removed = 0
    for place in parent.glob(f"{_PREFIX}*"):
        lock = parent / f".{place.name}.lock"
        descriptor = try_lock(lock)
        if descriptor is not None:
            try:
                _remove(place, settings)
                lock.unlink(missing_ok=True)
                removed += 1
            finally:
                os.close(descriptor)
    return removed


def _remove(place: Path, settings: Settings) -> None:
    own = replace(settings, database_url=None, direct_database_url=None, data_dir=place)
    home = find_cluster(place).home
    with suppress(OpsError):
        embedded.stop(own, "immediate")
    for data in home.glob("[0-9]*"):
        end_orphans(data, all_of_them=True)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
