"""A folder, such as a mounted disk."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aegis.errors import Unavailable
from aegis.ops.backup.destinations.place import PIECE
from aegis.ops.backup.sealed import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

__all__ = ["Folder"]


class Folder:
    """Copies below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def title(self) -> str:
        """Its address."""
        return f"file://{self.root}"

    def names(self) -> list[str]:
        """Return the names of the backups that have a manifest there."""
        with self._errors():
            if not self.root.is_dir():
                # An unmounted disk is no empty one.
                raise Unavailable(
                    f"The folder {self.root} is not there; is its disk mounted?",
                    code="backup_destination_down",
                )
            return sorted(path.parent.name for path in self.root.glob("*/manifest.json"))

    def size(self, name: str) -> int | None:
        """Return the size of a finished file; None where there is none."""
        with self._errors():
            path = self.root / name
            return path.stat().st_size if path.is_file() else None

    def put(self, source: Path, name: str, sent: Callable[[int], None]) -> None:
        """Store a file, going on where a broken upload ended."""
        with self._errors():
            self.names()
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = target.with_name(target.name + ".part")
            begun = part.stat().st_size if part.exists() else 0
            if begun > source.stat().st_size:
                part.unlink()
                begun = 0
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
                reader.seek(begun)
                writer.seek(begun)
                sent(begun)
                while piece := reader.read(PIECE):
                    writer.write(piece)
                    writer.flush()
                    sent(len(piece))
                os.fsync(writer.fileno())
            part.replace(target)
            sync(target.parent)

    def read(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield a file's contents from `offset` on."""
        with self._errors(), (self.root / name).open("rb") as file:
            # What is read back has to come from the disk, not from the memory of the upload.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(offset)
            while piece := file.read(PIECE):
                yield piece

    def forget(self, name: str) -> None:
        """Remove a file, and what is left of broken uploads of it."""
        with self._errors():
            path = self.root / name
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".part").unlink(missing_ok=True)
            folder = path.parent
            while folder != self.root and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent

    def files(self, backup: str) -> list[str]:
        """Return the names of everything that a backup has there."""
        with self._errors():
            folder = self.root / backup
            return sorted(
                f"{backup}/{path.relative_to(folder).as_posix()}"
                for path in folder.rglob("*")
                if path.is_file()
            )

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"The folder {self.root} cannot be used: {error.strerror or error}.",
                code="backup_destination_down",
            ) from error
