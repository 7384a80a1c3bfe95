"""Passwords of roles: made here, kept in files for their owner alone, never sent to the server.

What the server gets is what it keeps: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677), made here, so
that no statement and no log has the password. A file is written before the server learns of it:
whatever line a crash comes behind, the next `apply` finds the file and sets its password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError, InvalidInput, OpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_verifier", "matches", "new_password", "password_of", "read_file", "write_file"]

#: As PostgreSQL's own (`scram_iterations`).
_ITERATIONS: Final = 4096
_KEPT: Final = re.compile(
    r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)"
)


def new_password() -> str:
    """Return a password of 256 bits, in letters that no address has to escape."""
    return secrets.token_urlsafe(32)


def make_verifier(password: str, *, salt: bytes | None = None) -> str:
    """Return what the server keeps of `password`, printable ASCII."""
    salted = salt or os.urandom(16)
    stored, server = _keys(password, salted, _ITERATIONS)
    parts = (base64.b64encode(part).decode() for part in (salted, stored, server))
    first, second, third = parts
    return f"SCRAM-SHA-256${_ITERATIONS}:{first}${second}:{third}"


def matches(kept: str | None, password: str) -> bool:
    """Tell whether the server keeps `password`."""
    found = None if kept is None else _KEPT.fullmatch(kept)
    if found is None:
        return False
    salt, stored, server = (base64.b64decode(found[n]) for n in (2, 3, 4))
    mine = _keys(password, salt, int(found[1]))
    return hmac.compare_digest(mine[0], stored) and hmac.compare_digest(mine[1], server)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def password_of(folder: Path, role: str) -> tuple[str, bool]:
    """Return the password in the role's file, made now where there is none, and whether it was.

    Raises:
        ConfigError: the file is readable for others, empty, or holds what is no password.
        OpsError: it cannot be read or written.
    """
    path = folder / role
    found = read_file(path)
    if found is not None:
        return found, False
    password = new_password()
    write_file(path, password)
    return password, True


def read_file(path: Path) -> str | None:
    """Return the password in a file, None where there is no file (`ConfigError`, `OpsError`)."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").rstrip("\r\n")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} holds what is no password of ours: use printable ASCII.", code="role_password"
        ) from None
    except OSError as error:
        raise OpsError(f"{path} cannot be read: {error}.", code="role_password") from error
    if mode & 0o077:
        raise ConfigError(
            f"{path} may be read by others (mode {mode & 0o777:04o}); run `chmod 600 {path}`.",
            code="role_password",
        )
    # PostgreSQL normalises other letters (SASLprep), which we do not.
    if not re.fullmatch(r"[!-~]{12,200}", text):
        raise ConfigError(
            f"{path} holds no password of 12 to 200 printable ASCII characters without blanks.",
            code="role_password",
        )
    return text


def write_file(path: Path, password: str) -> None:
    """Write a password for its owner alone: whole, on the disk, or not at all (`OpsError`)."""
    if "/" in path.name or path.name.startswith("."):
        raise InvalidInput(f"{path.name!r} is no name of a role.")
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, f"{password}\n".encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        waiting.rename(path)
        place = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
    except OSError as error:
        waiting.unlink(missing_ok=True)
        raise OpsError(f"{path} cannot be written: {error}.", code="role_password") from error
