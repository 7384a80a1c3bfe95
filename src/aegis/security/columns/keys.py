"""Where the keys of columns are: AEGIS_COLUMN_KEYS, or a file readable by its owner alone.

Without the keys nobody can read what they encrypted. So the file, `column-keys` in the data folder,
is kept twice, and neither time beside a backup of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError
from aegis.keyring import KeyFile, new_key, read_keys
from aegis.security.columns.sealing import Ring, key_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings

__all__ = ["FILE", "ColumnKeys"]

FILE: Final = "column-keys"
_COMMAND: Final = "aegis security encrypt key"


class ColumnKeys:
    """The ring of one process; a file that another process changes is read again."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.column_keys
        self._file = KeyFile(settings.data_dir / FILE)
        self._text: str | None = None
        self._ring: Ring | None = None

    @property
    def source(self) -> str:
        """The setting or the file that the keys are in."""
        return "AEGIS_COLUMN_KEYS" if self._given is not None else str(self._file.path)

    @property
    def given(self) -> bool:
        """Whether the keys are a setting, which Aegis cannot change."""
        return self._given is not None

    def ring(self) -> Ring:
        """Return the keys there are.

        Raises:
            ConfigError: `column_key_invalid`, `column_keys_unreadable`.
        """
        if self._given is not None:
            if self._ring is None:
                self._ring = self._parse(self._given.split(","))
            return self._ring
        try:
            text = self._file.read()
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"The keys of columns {self.source} cannot be read: {error}. Use its owner's "
                "account, or set AEGIS_COLUMN_KEYS.",
                code="column_keys_unreadable",
            ) from error
        if self._ring is None or text is not self._text:
            self._ring = self._parse((text or "").splitlines())
            self._text = text
        return self._ring

    def ensure(self) -> Ring:
        """Return the keys, one made now where there is none (`ConfigError`)."""
        if not self.ring().ids:
            if self.given:
                raise ConfigError(
                    f"AEGIS_COLUMN_KEYS holds no key; `{_COMMAND}` makes one.",
                    code="column_key_invalid",
                )
            self._change(self._file.create, new_key())
        return self.ring()

    def add(self) -> str:
        """Add a fresh key to the file, durably, and return its id.

        Raises:
            ConfigError: `column_keys_given`, the keys are a setting; the file cannot be written.
        """
        if self.given:
            raise ConfigError(
                "AEGIS_COLUMN_KEYS holds the keys: append a new one to it after a comma "
                f"(`{_COMMAND}` makes one), in every process, and rotate again.",
                code="column_keys_given",
            )
        self._change(self._file.append, new_key())
        return self.ring().ids[-1]

    def remove(self, key: str) -> None:
        """Take a key out of the file (`ConfigError`: the keys are a setting)."""
        if self.given:
            raise ConfigError(
                f"AEGIS_COLUMN_KEYS holds the keys: take {key} out of it.",
                code="column_keys_given",
            )
        for line in (self._file.read() or "").splitlines():
            if line.strip() and key in self._parse([line]).ids:
                self._change(self._file.remove, line)

    def open_to_others(self) -> bool:
        """Return whether anybody but its owner may read the file."""
        return not self.given and self._file.open_to_others()

    def _parse(self, parts: list[str]) -> Ring:
        keys = read_keys(parts, source=self.source, command=_COMMAND, code="column_key_invalid")
        return Ring({key_id(key): key for key in keys}, source=self.source)

    def _change(self, how: Callable[[str], None], line: str) -> None:
        try:
            how(line)
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"The keys of columns {self.source} cannot be written: {error}. Make the folder "
                "writable, set AEGIS_DATA_DIR, or set AEGIS_COLUMN_KEYS.",
                code="data_dir_not_writable",
            ) from error
