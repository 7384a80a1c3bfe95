"""Where the server's secrets are: AEGIS_KEY_SECRET, or a file readable by its owner alone.

One secret a line, oldest first; the last one hashes new keys. Losing the file makes every key
worthless, so it belongs into the backup, and not beside the dump of the database.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError
from aegis.keys.secret import parse_secrets

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.keys.secret import Secret

__all__ = ["Vault"]

_LATELY_S: Final = 1.0


class Vault:
    """The secrets of one process; a file that another process changes is read again."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.key_secret
        self._path = settings.data_dir / "key-secret"
        self._read: tuple[Secret, ...] = ()
        self._stamp: tuple[int, int] | None = None
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
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise self._unreadable(error) from error
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._stamp:
            try:
                text = self._path.read_text(encoding="ascii")
            except (OSError, UnicodeError) as error:
                raise self._unreadable(error) from error
            self._read, self._stamp = parse_secrets(text, source=str(self._path)), stamp
        return self._read

    def ensure(self) -> tuple[Secret, ...]:
        """Return the secrets, one made now if there is none; two processes agree on one."""
        found = self.secrets()
        if not found:
            self._write([], only_if_missing=True)
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
        # Two that add at once: the later one wins, and nothing is hashed with the other's yet.
        self._write([s.value.decode() for s in self.secrets()], only_if_missing=False)
        return self.secrets()

    def _write(self, older: list[str], *, only_if_missing: bool) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "w", encoding="ascii") as file:
                    file.write("\n".join([*older, secrets.token_hex(32)]) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                if only_if_missing:
                    # Linking fails where the name exists: the first of two wins, whole.
                    os.link(fresh, self._path)
                else:
                    fresh.replace(self._path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            raise ConfigError(
                f"The secret of keys {self._path} cannot be written: {error}. Make the folder "
                "writable, set AEGIS_DATA_DIR, or set AEGIS_KEY_SECRET.",
                code="data_dir_not_writable",
            ) from error

    def _sync_folder(self) -> None:
        # A key that was handed out must not outlive its secret in a crash.
        handle = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"The secret of keys {self._path} cannot be read: {error}. Use its owner's account, "
            "or set AEGIS_KEY_SECRET.",
            code="key_secret_unreadable",
        )
