"""Secrets of the server: AEGIS_KEY_SECRET, or a file readable by its owner alone.

One secret a line, oldest first; the last one hashes new keys. Losing the file makes every key
worthless, so it belongs into the backup, and not beside the dump of the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError
from aegis.keyring import KeyFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings

__all__ = ["HASH_SCHEME", "Secret", "Vault", "parse_secrets"]

HASH_SCHEME: Final = "hmac-sha256"
_MIN_SECRET_CHARS: Final = 32
_LATELY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of the server; `id` names it in every hash made with it."""

    value: bytes = field(repr=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        fingerprint = hmac.digest(self.value, b"aegis key secret", "sha256").hex()[:12]
        object.__setattr__(self, "id", fingerprint)

    def hash(self, key: str, scheme: str = HASH_SCHEME) -> str:
        """Return what is stored of `key`."""
        return f"{scheme}:{self.id}:{hmac.digest(self.value, key.encode(), 'sha256').hex()}"


def parse_secrets(text: str, *, source: str) -> tuple[Secret, ...]:
    """Return the secrets that a file or a setting holds, oldest first.

    They stand apart by blanks, lines or commas; the last one is used for new keys.

    Raises:
        ConfigError: there is none, or one is too short; `source` is named, never the secret.
    """
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    if not parts:
        raise ConfigError(f"{source} holds no secret.", code="key_secret_invalid")
    for part in parts:
        if len(part) < _MIN_SECRET_CHARS or not part.isascii():
            raise ConfigError(
                f"{source} holds a secret of {len(part)} characters; use {_MIN_SECRET_CHARS} or "
                "more ASCII characters, such as `openssl rand -hex 32` prints.",
                code="key_secret_invalid",
            )
    return tuple(Secret(part.encode()) for part in dict.fromkeys(parts))


class Vault:
    """The secrets of one process; a file that another process changes is read again."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.key_secret
        self._path = settings.data_dir / "key-secret"
        self._file = KeyFile(self._path)
        self._read: tuple[Secret, ...] = ()
        self._text: str | None = None
        self._looked_at = 0.0

    def secrets_of_late(self) -> tuple[Secret, ...]:
        """Return the secrets as they were at most a second ago: for what is asked at every call.

        A key that is not known by these may be by `secrets`.
        """
        if self._read and (
            self._given is not None or time.monotonic() - self._looked_at < _LATELY_S
        ):
            return self._read
        return self.secrets()

    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets there are, oldest first; none where none was made yet.

        Raises:
            ConfigError: the file or the setting holds something else, or cannot be read.
        """
        if self._given is not None:
            if not self._read:
                self._read = parse_secrets(self._given, source="AEGIS_KEY_SECRET")
            return self._read
        self._looked_at = time.monotonic()
        try:
            text = self._file.read()
        except (OSError, UnicodeError) as error:
            raise self._unreadable(error) from error
        if text is not self._text:
            self._read = parse_secrets(text, source=str(self._path)) if text is not None else ()
            self._text = text
        return self._read

    def ensure(self) -> tuple[Secret, ...]:
        """Return the secrets, one made now if there is none; two processes agree on one."""
        found = self.secrets()
        if not found:
            self._write(self._file.create)
            found = self.secrets()
        if not found:
            raise ConfigError(f"{self._path} was deleted while it was made. Try again.")
        return found

    def add(self) -> tuple[Secret, ...]:
        """Add a fresh secret for new keys, keeping the old ones, and return all.

        Raises:
            ConfigError: the secrets are a setting, or the file cannot be written.
        """
        if self._given is not None:
            raise ConfigError(
                "AEGIS_KEY_SECRET holds the secrets: append a new one to it, after a comma.",
                code="key_secret_given",
            )
        self._write(self._file.append)
        return self.secrets()

    def _write(self, how: Callable[[str], None]) -> None:
        try:
            how(secrets.token_hex(32))
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"The secret of keys {self._path} cannot be written: {error}. Make the folder "
                "writable, set AEGIS_DATA_DIR, or set AEGIS_KEY_SECRET.",
                code="data_dir_not_writable",
            ) from error

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"The secret of keys {self._path} cannot be read: {error}. Use its owner's account, "
            "or set AEGIS_KEY_SECRET.",
            code="key_secret_unreadable",
        )
