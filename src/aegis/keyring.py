"""Keys that encrypt, wherever they do: how they are written down, named, used, and kept in files.

A key is 32 bytes, written in base64; several are a ring, oldest first, and the last one is used for
what is new. A file of keys is readable by its owner alone and replaced at once: a reader, and a
crash, find the old one or the new one.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hmac
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

__all__ = ["KEY_BYTES", "KeyFile", "aead", "key_id", "new_key", "read_keys"]

KEY_BYTES: Final = 32
_ID_CHARS: Final = 8


def new_key() -> str:
    """Return a new key as settings and files take it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def key_id(key: bytes, purpose: bytes) -> str:
    """Return the public name of a key: eight characters that tell nothing of it."""
    return hmac.digest(key, purpose, "sha256").hex()[:_ID_CHARS]


def read_keys(parts: Sequence[str], *, source: str, command: str, code: str) -> tuple[bytes, ...]:
    """Return keys as they are written down, empty parts left out.

    Raises:
        ConfigError: one is no such key; it is named by its place in `source`, never repeated.
    """
    keys: list[bytes] = []
    for number, part in enumerate(parts, 1):
        if not part.strip():
            continue
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(
                f"Key {number} of {source} is not {KEY_BYTES} bytes in base64; "
                f"`{command}` makes one.",
                code=code,
            )
        keys.append(key)
    return tuple(keys)


def aead(key: bytes, *, what: str, extra: str) -> Any:
    """Return AES-256-GCM with a key (`ConfigError`: `extra_missing`)."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigError(
            f"{what} need the package `cryptography`: install `aegis-core[{extra}]`.",
            code="extra_missing",
        ) from None
    return AESGCM(key)


class KeyFile:
    """A file of keys, a line each; what another process writes to it is read at the next call.

    Every method may raise `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text: str | None = None
        self._stamp: tuple[int, int] | None = None

    def read(self) -> str | None:
        """Return the text, the same object while the file is the same; None without a file."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 (asked before every call)
        except (FileNotFoundError, NotADirectoryError):
            self._text, self._stamp = None, None
            return self._text
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._stamp:
            self._text, self._stamp = self.path.read_text(encoding="ascii"), stamp
        return self._text

    def create(self, line: str) -> None:
        """Make the file with one line, unless there is one: the first of two wins, whole."""
        with self._alone():
            self._write([line], only_if_missing=True)

    def append(self, line: str) -> None:
        """Add a line; two that add at once both do."""
        with self._alone():
            self._write([*self._lines(), line])

    def remove(self, line: str) -> None:
        """Take a line out; nothing where it is not there."""
        with self._alone():
            self._write([known for known in self._lines() if known != line])

    def open_to_others(self) -> bool:
        """Return whether anybody but the owner may read or write it."""
        return self.path.exists() and bool(self.path.stat().st_mode & 0o077)

    def _lines(self) -> list[str]:
        self._stamp = None
        return [line for line in (self.read() or "").splitlines() if line.strip()]

    @contextmanager
    def _alone(self) -> Generator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The lock is the folder's: the file itself is another one after each change.
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Some network file systems lock no folders; there the later of two that add wins.
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            # What a key has encrypted must not outlive the key in a crash.
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, lines: Sequence[str], *, only_if_missing: bool = False) -> None:
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(fresh, flags, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            if only_if_missing:
                # Linking fails where the name exists.
                with suppress(FileExistsError):
                    os.link(fresh, self.path)
            else:
                fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)
