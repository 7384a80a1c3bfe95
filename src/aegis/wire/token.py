"""The operator token: made at the first start, stored readable by its owner alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PREFIX", "ensure_token", "find_token", "token_path"]

#: Recognised by secret scanners, and by people who find one in a file.
PREFIX = "aegis_op_"


def token_path(data_dir: Path) -> Path:
    """Return where the token of `data_dir` is."""
    return data_dir / "operator-token"


def find_token(data_dir: Path) -> str | None:
    """Return the token, or None where none was made yet (`ConfigError`)."""
    path = token_path(data_dir)
    try:
        text = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"The operator token {path} cannot be read: {error}. Use its owner's account, or "
            "delete it: the next start makes a new one.",
            code="token_unreadable",
        ) from error
    if not text.startswith(PREFIX) or len(text) < len(PREFIX) + 32:
        raise ConfigError(
            f"{path} holds no operator token. Delete it: the next start makes a new one.",
            code="token_unreadable",
        )
    return text


def ensure_token(data_dir: Path) -> str:
    """Return the token, made now if there is none; two starts at once agree on one.

    Raises:
        ConfigError: the folder cannot be written, or the file cannot be read.
    """
    import secrets

    found = find_token(data_dir)
    if found is not None:
        return found
    path = token_path(data_dir)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(PREFIX + secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # Linking fails where the name exists: the first of two starts wins, whole.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The operator token {path} cannot be written: {error}. Make the folder writable, or "
            "set AEGIS_DATA_DIR.",
            code="data_dir_not_writable",
        ) from error
    made = find_token(data_dir)
    if made is None:
        raise ConfigError(f"{path} was deleted while it was made. Try again.")
    return made
