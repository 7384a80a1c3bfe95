"""Passwords of roles: made here, kept in files for their owner alone, never sent to the server.

What the server gets is what it keeps, a verifier (`db/scram.py`), so that no statement and no log
has the password. A file is written before the server learns of it:
whatever line a crash comes behind, the next `apply` finds the file and sets its password.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

from aegis.errors import ConfigError, InvalidInput, OpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["new_password", "password_of", "read_file", "write_file"]


def new_password() -> str:
    """Return a password of 256 bits, in letters that no address has to escape."""
    return secrets.token_urlsafe(32)


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
