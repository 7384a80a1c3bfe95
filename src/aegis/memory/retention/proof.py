"""Keyed digests: a proof that says what was erased to whoever knows it already, and to nobody else.

The key is a file of the data folder and never in the database. Without it a proof cannot be
checked, or its digests be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ensure_key", "id_digest", "sign", "subject_digest"]

_NAME = "erasure.key"
_BYTES = 32
#: Of an id's digest, in hexadecimal digits: 128 bits.
_ID_DIGITS = 32


def ensure_key(data_dir: Path) -> bytes:
    """Return the key, made now if there is none; two callers at once agree on one.

    Raises:
        ConfigError: the file cannot be read or written, or holds no key.
    """
    path = data_dir / _NAME
    try:
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The key of the proofs {path} cannot be used: {error.strerror}. Make it readable, or "
            "set AEGIS_DATA_DIR.",
            code="erasure_key",
        ) from error
    if len(key) != _BYTES:
        raise ConfigError(
            f"{path} holds no key of {_BYTES} bytes. Bring back the file that was there: without "
            "it no proof can be checked.",
            code="erasure_key",
        )
    return key


def subject_digest(key: bytes, names: tuple[str, ...]) -> str:
    """Return the keyed digest of a subject's names, whatever their order was."""
    return _digest(key, "subject", json.dumps(names))


def id_digest(key: bytes, table: str, row_id: int) -> str:
    """Return the keyed digest of a row's id."""
    return _digest(key, table, str(row_id))[:_ID_DIGITS]


def sign(key: bytes, record: dict[str, Any]) -> str:
    """Return the keyed digest of a record."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return _digest(key, "record", text)


def _digest(key: bytes, kind: str, text: str) -> str:
    return hmac.new(key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Linking fails where the name exists: the first wins, whole.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
