"""SHA-256 of files, also of those that somebody writes on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from aegis.ops.backup.sealed import sync

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GrowingHashes", "hash_file"]

_PIECE: Final = 1 << 20
#: Bytes that are read in one turn, so that whoever waits for the writer looks up in between.
_TURN: Final = 64 << 20


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class GrowingHashes:
    """Hashes of files that are only added to, as far as they have come: the end is hashed soon.

    What was read is brought to the disk, too, which has nothing to do while a dump computes.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, int]] = {}

    def follow(self, folder: Path, pattern: str) -> None:
        """Hash what was added to files since the last turn, up to 64 MiB."""
        left = _TURN
        for path in folder.glob(pattern):
            read = self._read_on(path, left)
            if read:
                sync(path)
            left -= read
            if left <= 0:
                return

    def finish(self, path: Path) -> str:
        """Return the SHA-256 of a file that is complete, hexadecimal."""
        if path not in self._known:
            return hash_file(path)
        while self._read_on(path, _TURN):
            pass
        digest, offset = self._known.pop(path)
        # Shorter than it was: somebody began it anew.
        return digest.hexdigest() if path.stat().st_size == offset else hash_file(path)

    def _read_on(self, path: Path, most: int) -> int:
        """Hash up to so many more bytes of a file and return how many there were."""
        digest, offset = self._known.get(path) or (hashlib.sha256(), 0)
        done = 0
        with path.open("rb") as file:
            file.seek(offset)
            while done < most and (piece := file.read(min(_PIECE, most - done))):
                digest.update(piece)
                done += len(piece)
        self._known[path] = (digest, offset + done)
        return done
