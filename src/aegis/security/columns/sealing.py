"""One encrypted value: its form, what it is bound to, and its hash. Pure but for the nonce.

    aegis:v1:<key id>:<base64 of nonce, ciphertext and tag>

AES-256-GCM. Each column has a key of its own, derived from a key of the ring by HKDF-SHA-256
(RFC 5869), so that the 2^32 values that random nonces of 96 bits are good for are those of one
column. Associated data names table, column, field and row: a value that is moved to another place
does not decrypt.

Equality is searched by HMAC-SHA-256 under another derived key, of the text with blanks at its ends
cut off, in Unicode's form NFC, its ASCII letters small: what `normalised` returns.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from aegis import keyring
from aegis.errors import ConfigError, InvalidInput, OpsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MARK", "Ring", "is_sealed", "key_id", "key_of", "normalised", "refuse_mark"]

#: How every encrypted value begins, and no other value of these columns may.
MARK: Final = "aegis:v1:"
_FORM: Final = re.compile(r"aegis:v1:([0-9a-f]{8}):([A-Za-z0-9+/=]+)")
_NONCE: Final = 12
_TAG: Final = 16
_BLANKS: Final = " \t\r\n"
_SMALL: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def is_sealed(value: object) -> bool:
    """Return whether a value has the form of an encrypted one, whoever wrote it."""
    return isinstance(value, str) and value.startswith(MARK)


def refuse_mark(what: str, value: object) -> None:
    """Refuse a clear value that would be taken for an encrypted one (`InvalidInput`)."""
    if is_sealed(value):
        raise InvalidInput(f"{what} begins with {MARK!r}, which encrypted values do; change it.")


def key_of(value: str) -> str | None:
    """Return the id of the key that encrypted a value; None where its form is broken."""
    found = _FORM.fullmatch(value)
    return None if found is None else found[1]


def key_id(key: bytes) -> str:
    """Return the public name of a key of columns."""
    return keyring.key_id(key, b"aegis column key id")


def normalised(text: str) -> str:
    """Return the text that two equal values have in common."""
    small = unicodedata.normalize("NFC", text.strip(_BLANKS)).translate(_SMALL)
    # Once more: some small letters have composed forms that capital ones have not.
    return unicodedata.normalize("NFC", small)


class Ring:
    """Keys by id, newest last, with what was derived from them."""

    def __init__(self, keys: Mapping[str, bytes], *, source: str) -> None:
        self._keys = dict(keys)
        self._ciphers: dict[tuple[str, str], Any] = {}
        #: Where the keys come from, for messages.
        self.source = source

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the keys, oldest first."""
        return tuple(self._keys)

    def seal(self, key: str, column: str, row: str, text: str, *, field: str = "") -> str:
        """Return `text` encrypted for a place by the key of that id.

        Raises:
            ConfigError: `column_key_missing`, `extra_missing`.
        """
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher(key, column).encrypt(
            nonce, text.encode(), _place(key, column, row, field)
        )
        return f"{MARK}{key}:{base64.b64encode(nonce + sealed).decode()}"

    def reveal(self, value: str, column: str, row: str, *, field: str = "") -> str:
        """Return the text of an encrypted value.

        Raises:
            ConfigError: `column_key_missing`, its key is not in the ring; `extra_missing`.
            OpsError: `column_damaged`, it was changed, or is of another place.
        """
        form = _FORM.fullmatch(value)
        if form is not None:
            cipher = self._cipher(form[1], column)
            from cryptography.exceptions import InvalidTag

            try:
                held = base64.b64decode(form[2], validate=True)
                if len(held) >= _NONCE + _TAG:
                    place = _place(form[1], column, row, field)
                    return cipher.decrypt(held[:_NONCE], held[_NONCE:], place).decode()
            except (InvalidTag, binascii.Error, UnicodeDecodeError):
                pass
        raise OpsError(
            f"{column} of {row[:80]!r} does not decrypt: it was changed, or moved there from "
            "another row or column. Restore the row from a backup.",
            code="column_damaged",
        )

    def hash(self, key: str, column: str, text: str) -> str:
        """Return what equality of `text` is searched by: the key's id and 64 hexadecimal digits."""
        digest = hmac.digest(self.hash_key(key, column), normalised(text).encode(), "sha256")
        return f"{key}:{digest.hex()}"

    def hash_key(self, key: str, column: str) -> bytes:
        """Return the key of a column's hashes (`ConfigError`: `column_key_missing`)."""
        return _derive(self._key(key), b"search", column)

    def missing(self, key: str) -> ConfigError:
        """Return what is said of a key that is not in the ring."""
        have = ", ".join(self._keys) or "none"
        return ConfigError(
            f"Columns are encrypted by the key {key}, and {self.source} has {have}. Bring that key "
            "back from where you keep it; without it nobody can read them.",
            code="column_key_missing",
        )

    def _key(self, key: str) -> bytes:
        found = self._keys.get(key)
        if found is None:
            raise self.missing(key)
        return found

    def _cipher(self, key: str, column: str) -> Any:
        found = self._ciphers.get((key, column))
        if found is None:
            derived = _derive(self._key(key), b"encrypt", column)
            found = keyring.aead(derived, what="Encrypted columns", extra="encryption")
            self._ciphers[key, column] = found
        return found


def _place(key: str, column: str, row: str, field: str) -> bytes:
    # Lengths first: no two places have the same bytes.
    parts = [part.encode() for part in (MARK, key, column, field, row)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _derive(key: bytes, purpose: bytes, column: str) -> bytes:
    """HKDF-SHA-256 without salt; 32 bytes are one round of it."""
    secret = hmac.digest(bytes(32), key, "sha256")
    info = b"aegis columns v1 " + purpose + b" " + column.encode()
    return hmac.digest(secret, info + b"\x01", "sha256")
