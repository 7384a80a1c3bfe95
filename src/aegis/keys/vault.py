"""Where the server's secrets are: AEGIS_KEY_SECRET, or a file readable by its owner alone.

One secret a line, oldest first; the last one hashes new keys. Losing the file makes every key
worthless, so it belongs into the backup, and not beside the dump of the database.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aegis.errors import ConfigError
from aegis.keyring import KeyFile
from aegis.keys.secret import parse_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings
    from aegis.keys.secret import Secret

__all__ = ["Vault"]


class Vault:
    """The secrets of one process; a file that another process changes is read again."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.key_secret
        self._path = settings.data_dir / "key-secret"
        self._file = KeyFile(self._path)
        self._read: tuple[Secret, ...] = ()
        self._text: str | None = None

    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets there are, oldest first; none where none was made yet.

        Raises:
            ConfigError: the file or the setting holds something else, or cannot be read.
        """
        if self._given is not None:
            if not self._read:
                self._read = parse_secrets(self._given, source="AEGIS_KEY_SECRET")
            return self._read
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
