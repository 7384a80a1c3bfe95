"""What a destination can do. Names are `backup/file`, with `/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["PIECE", "Destination"]

#: Bytes that are moved at once.
PIECE = 4 << 20


class Destination(Protocol):
    """A place for copies. What its calls raise is `Unavailable`, `ConfigError` or `OpsError`."""

    @property
    def title(self) -> str:
        """Its address, without secrets."""
        ...

    def names(self) -> list[str]:
        """Return the names of the backups that have a manifest there."""
        ...

    def size(self, name: str) -> int | None:
        """Return the size of a finished file; None where there is none."""
        ...

    def put(self, source: Path, name: str, sent: Callable[[int], None]) -> None:
        """Store a file, going on where a broken upload ended; `sent` is told of each piece.

        The file has its name once it is complete, not before.
        """
        ...

    def read(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield a file's contents from `offset` on."""
        ...

    def forget(self, name: str) -> None:
        """Remove a file, and what is left of broken uploads of it."""
        ...

    def files(self, backup: str) -> list[str]:
        """Return the names of everything that a backup has there, unfinished uploads too."""
        ...
