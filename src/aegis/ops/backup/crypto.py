"""Encryption of backups: AES-256-GCM in chunks, a data key for each backup, wrapped by yours.

A file is a header, then chunks of 1 MiB, each with its own nonce: the chunk's number and whether
it is the last. So a chunk that is changed, moved, left out or cut off at the end does not decrypt.
(The scheme is STREAM of https://eprint.iacr.org/2015/189.) Each file has a key of its own, derived
from the data key and the file's name, so that files of a backup cannot be exchanged.

The data key is stored beside the manifest, encrypted by the newest of the keys in
AEGIS_BACKUP_KEYS. To change the key, add a newer one and run `aegis backup rekey`: data keys are
wrapped anew, files stay as they are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from aegis import keyring
from aegis.errors import ConfigError, OpsError
from aegis.keyring import new_key, read_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KeyRing", "decrypted", "encrypt", "file_key", "manifest_key", "new_key"]

_MAGIC = b"AEGISB1\n"
CHUNK = 1 << 20
_TAG = 16
#: Bytes of a wrapped data key: a nonce, the key, the proof that it is whole.
_WRAPPED = 12 + 32 + _TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The keys that wrap data keys, oldest first; the last one is used for new backups."""

    keys: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str | None) -> KeyRing:
        """Read AEGIS_BACKUP_KEYS: keys of 32 bytes in base64, set off by commas, newest last.

        Raises:
            ConfigError: one is no such key.
        """
        keys = read_keys(
            (text or "").split(","),
            source="AEGIS_BACKUP_KEYS",
            command="aegis backup key",
            code="backup_key_invalid",
        )
        return cls(keys=keys)

    def wrap(self, data_key: bytes, name: str) -> dict[str, str]:
        """Return the data key of the backup `name`, encrypted by the newest key.

        Raises:
            ConfigError: `backup_key_missing`, there is no key.
        """
        if not self.keys:
            raise ConfigError(
                "Encryption needs a key in AEGIS_BACKUP_KEYS; `aegis backup key` makes one. Keep "
                "it where the backups are not.",
                code="backup_key_missing",
            )
        key, nonce = self.keys[-1], secrets.token_bytes(12)
        sealed = _aead(key).encrypt(nonce, data_key, name.encode())
        return {"key_id": key_id(key), "wrapped": base64.b64encode(nonce + sealed).decode()}

    def unwrap(self, envelope: Any, name: str) -> bytes:
        """Return the data key of the backup `name`.

        Raises:
            ConfigError: `backup_key_missing`, its key is not among ours.
            OpsError: `backup_damaged`.
        """
        wanted, wrapped = _read_envelope(envelope, name)
        key = next((key for key in self.keys if key_id(key) == wanted), None)
        if key is None:
            have = ", ".join(key_id(key) for key in self.keys) or "none"
            raise ConfigError(
                f"The backup {name} is encrypted by the key {wanted}, and AEGIS_BACKUP_KEYS has "
                f"{have}. Add that key; without it nobody can read the backup.",
                code="backup_key_missing",
            )
        from cryptography.exceptions import InvalidTag

        try:
            return _aead(key).decrypt(wrapped[:12], wrapped[12:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise OpsError(
                f"The data key of the backup {name} is damaged.", code="backup_damaged"
            ) from error


def _read_envelope(envelope: Any, name: str) -> tuple[str, bytes]:
    """Return a wrapped data key and the id of the key that wrapped it, of whatever was read.

    Something else in its place is damage, and no key that somebody would have to look for.

    Raises:
        OpsError: `backup_damaged`.
    """
    try:
        by, wrapped = envelope["key_id"], base64.b64decode(envelope["wrapped"], validate=True)
    except (KeyError, TypeError, ValueError):
        by, wrapped = None, b""
    if not isinstance(by, str) or len(wrapped) != _WRAPPED:
        raise OpsError(f"The data key of the backup {name} is damaged.", code="backup_damaged")
    return by, wrapped


def key_id(key: bytes) -> str:
    """Return the public name of a key: eight characters that tell nothing of it."""
    return keyring.key_id(key, b"aegis backup key id")


def file_key(data_key: bytes, name: str) -> bytes:
    """Return the key of the file `name`."""
    return hmac.new(data_key, b"file " + name.encode(), hashlib.sha256).digest()


def manifest_key(data_key: bytes) -> bytes:
    """Return the key that the manifest is signed with."""
    return hmac.new(data_key, b"manifest", hashlib.sha256).digest()


def encrypt(source: IO[bytes], target: Callable[[bytes], Any], key: bytes) -> None:
    """Read `source` to its end and give `target` the encrypted form, piece by piece."""
    cipher = _aead(key)
    target(_MAGIC)
    number, chunk = 0, _read_full(source)
    while True:
        following = _read_full(source) if len(chunk) == CHUNK else b""
        last = not following
        target(cipher.encrypt(_nonce(number, last), chunk, _MAGIC))
        if last:
            return
        number, chunk = number + 1, following


def decrypted(source: IO[bytes], key: bytes, what: str) -> Iterator[bytes]:
    """Yield the plain text of what `encrypt` wrote, each piece only once it is proven.

    Raises:
        OpsError: `backup_damaged`, it was changed, cut off, or encrypted by another key.
    """
    from cryptography.exceptions import InvalidTag

    cipher = _aead(key)
    good = source.read(len(_MAGIC)) == _MAGIC
    number, chunk = 0, _read_full(source, CHUNK + _TAG) if good else b""
    while good:
        following = _read_full(source, CHUNK + _TAG) if len(chunk) == CHUNK + _TAG else b""
        try:
            yield cipher.decrypt(_nonce(number, not following), chunk, _MAGIC)
        except (InvalidTag, ValueError):
            break
        if not following:
            return
        number, chunk = number + 1, following
    raise OpsError(
        f"{what} does not decrypt: it was changed or cut off after {number} MiB.",
        code="backup_damaged",
    )


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _read_full(source: IO[bytes], size: int = CHUNK) -> bytes:
    """Read `size` bytes, fewer only at the end; a pipe gives less at a time."""
    parts: list[bytes] = []
    while size:
        part = source.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _aead(key: bytes) -> Any:
    return keyring.aead(key, what="Encrypted backups", extra="backup")
