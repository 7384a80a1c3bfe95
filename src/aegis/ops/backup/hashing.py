"""SHA-256 of files, also of those that somebody writes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aegis.ops.backup.sealed import sync

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GrowingHashes", "hash_file"]

_PIECE: Final = 1 << 20
#: Bytes that are read in one turn, so that whoever waits for the writer looks up in between.
_TURN: Final = 64 << 20
#: Turns without a new byte, after which a file is left alone until the end: complete, or slow.
_PATIENCE: Final = 10


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(slots=True)
class _Growing:
    digest: Any = field(default_factory=hashlib.sha256)
    bytes: int = 0
    idle: int = 0

    def read_on(self, path: Path, most: int) -> int:
        """Hash up to so many more bytes and return how many there were."""
        done = 0
        with path.open("rb") as file:
            file.seek(self.bytes)
            while done < most and (piece := file.read(min(_PIECE, most - done))):
                self.digest.update(piece)
                self.bytes += len(piece)
                done += len(piece)
        return done


class GrowingHashes:
    """Hashes of files that are only added to, as far as they have come: the end is hashed soon.

    What was read is brought to the disk, too, which has nothing to do while a dump computes.
    """

    def __init__(self) -> None:
        self._known: dict[Path, _Growing] = {}

    def follow(self, folder: Path, pattern: str) -> None:
        """Hash what was added to files since the last turn, up to 64 MiB."""
        left = _TURN
        for path in folder.glob(pattern):
            known = self._known.setdefault(path, _Growing())
            if known.idle > _PATIENCE:
                continue
            read = known.read_on(path, left)
            known.idle = 0 if read else known.idle + 1
            if read:
                sync(path)
            left -= read
            if left <= 0:
                return

    def finish(self, path: Path) -> str:
        """Return the SHA-256 of a file that is complete, hexadecimal."""
        known = self._known.pop(path, None)
        if known is None:
            return hash_file(path)
        while known.read_on(path, _TURN):
            pass
        # Shorter than it was: somebody began it anew.
        return known.digest.hexdigest() if path.stat().st_size == known.bytes else hash_file(path)
