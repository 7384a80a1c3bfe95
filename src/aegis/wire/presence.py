"""Which process serves a data folder: `serve.json`, written by `aegis up`, read by commands.

The serving process holds a lock on the file for as long as it lives. The kernel lets go of it
however the process ends, so a file that can be locked is stale, and nobody who merely took over
the port is ever sent the operator token.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from aegis.config import Settings

__all__ = ["Announcement", "Presence", "announce", "find_presence", "fingerprint", "trusting"]

_NAME = "serve.json"
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A process that serves."""

    #: Such as `http://127.0.0.1:8734`.
    url: str
    pid: int
    #: `fingerprint` of the settings it serves with.
    serves: str
    #: File of the certificate it speaks TLS with; empty where it does not.
    certificate: str = ""


class Announcement:
    """A presence on record; `withdraw` takes it back."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    def withdraw(self) -> None:
        """Delete the file and let go of it."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)


def fingerprint(settings: Settings, token: str) -> str:
    """Return what two processes have in common that answer the same question alike.

    Keyed with the token: the address may hold a password, and must not be guessed from this.
    """
    import hmac

    parts = [
        settings.database_url or f"embedded:{settings.data_dir.absolute()}",
        settings.embedder,
        settings.embedding_url,
        settings.embedding_model,
        str(settings.embedding_dimensions),
        settings.next_embedder,
        settings.next_embedding_url or "",
        settings.next_embedding_model,
        str(settings.next_embedding_dimensions),
    ]
    return hmac.digest(token.encode(), "\0".join(parts).encode(), "sha256").hex()


def announce(data_dir: Path, presence: Presence) -> Announcement | None:
    """Put `presence` on record; None where another process is on record already."""
    path = data_dir / _NAME
    for _ in range(_TRIES):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A command that looks holds its lock for a moment; who serves holds on.
            os.close(handle)
            time.sleep(0.01)
            continue
        if _is_at(path, handle):
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(asdict(presence)).encode())
            return Announcement(path, handle)
        # The process before us withdrew between our open and our lock.
        os.close(handle)
    return None


def find_presence(data_dir: Path) -> Presence | None:
    """Return the process that serves `data_dir` now, or None."""
    try:
        handle = os.open(data_dir / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parse(os.read(handle, 4096))
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def trusting(presence: Presence) -> ssl.SSLContext | None:
    """Return what a program here speaks TLS with to `presence`; None where it speaks none.

    That very certificate is trusted and no other, whatever name it was made out to: who serves has
    put it on record, where nobody else can write. `OSError` where it cannot be read.
    """
    if not presence.certificate:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cafile=presence.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _parse(raw: bytes) -> Presence | None:
    try:
        value = json.loads(raw)
        return Presence(
            url=str(value["url"]),
            pid=int(value["pid"]),
            serves=str(value["serves"]),
            certificate=str(value.get("certificate", "")),
        )
    except (ValueError, KeyError, TypeError):
        return None
