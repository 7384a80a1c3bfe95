"""Where copies of backups go: a folder, a server over SFTP, a store that speaks S3."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.config import Settings
    from aegis.ops.backup.destinations.place import Destination

__all__ = ["open_destination"]


@contextmanager
def open_destination(settings: Settings) -> Generator[Destination]:
    """Yield the destination that the settings name, connected.

    Raises:
        ConfigError: none is named, its package is missing, or it refuses who we are.
        Unavailable: it does not answer.
    """
    address = settings.backup_destination
    if address is None:
        raise ConfigError(
            "There is nowhere to copy to: set AEGIS_BACKUP_DESTINATION, such as "
            "sftp://user@host/folder.",
            code="backup_no_destination",
        )
    parts = urlsplit(address)
    if parts.scheme == "file":
        from pathlib import Path

        from aegis.ops.backup.destinations.folder import Folder

        yield Folder(Path(unquote(parts.path)))
    elif parts.scheme == "sftp":
        from aegis.ops.backup.destinations.sftp import open_sftp

        with open_sftp(parts, settings) as place:
            yield place
    else:
        from aegis.ops.backup.destinations.s3 import open_s3

        with open_s3(parts, settings) as place:
            yield place
