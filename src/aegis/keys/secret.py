"""What a key is made of, and what is kept of it. Pure: randomness and secrets are handed in.

A key is `aegis_live_` or `aegis_test_`, 43 characters of base 62 that carry 256 random bits, and
six that carry the CRC32 of everything before them, as GitHub's tokens have it
(https://github.blog/engineering/behind-githubs-new-authentication-token-formats/): a slip of the
pen is seen without a question to the database, and a scanner of sources takes nothing else for a
key. What is stored is an HMAC-SHA-256 under a secret of the server, so that a copy of the database
is of no use for guessing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from typing import TYPE_CHECKING, Final

from aegis.vault import HASH_SCHEME, Secret, parse_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.keys.models import Environment

__all__ = [
    "HASH_SCHEME",
    "OLD_FORM_SCHEME",
    "PATTERN",
    "RANDOM_BYTES",
    "Secret",
    "hashes_of",
    "is_one_of",
    "is_well_formed",
    "make_key",
    "old_form_hashes_of",
    "parse_secrets",
    "prefix_of",
]

#: For secret scanners; the last six characters are the checksum.
PATTERN: Final = r"aegis_(?:live|test)_[0-9A-Za-z]{49}"
RANDOM_BYTES: Final = 32
#: Of keys that are not of our form: whether any are about decides what a slip of the pen costs.
OLD_FORM_SCHEME: Final = "hmac-sha256-old"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: 62 ** 43 is the first power that holds 256 bits.
_RANDOM_CHARS: Final = 43
_CHECKSUM_CHARS: Final = 6
#: Characters shown of a key: the prefix and 8 random ones; 208 bits stay unknown.
_SHOWN: Final = len("aegis_live_") + 8
_WHOLE: Final = re.compile(PATTERN)


def make_key(environment: Environment, random: bytes) -> str:
    """Return the key that `RANDOM_BYTES` random bytes make."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"A key takes {RANDOM_BYTES} random bytes.")
    body = f"aegis_{environment}_{_base62(int.from_bytes(random), _RANDOM_CHARS)}"
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` can be a key of ours: its form and its checksum are right."""
    return (
        _WHOLE.fullmatch(text) is not None
        and _checksum(text[:-_CHECKSUM_CHARS]) == text[-_CHECKSUM_CHARS:]
    )


def prefix_of(key: str) -> str:
    """Return the characters by which a key is recognised."""
    return key[:_SHOWN]


def hashes_of(key: str, secrets: Sequence[Secret]) -> list[str]:
    """Return what may be stored of `key`, the hash of the newest secret first."""
    return [secret.hash(key) for secret in reversed(secrets)]


def old_form_hashes_of(key: str, secrets: Sequence[Secret]) -> list[str]:
    """Return what may be stored of a key from before: under a secret since its last use, or not."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    since = [secret.hash(key, OLD_FORM_SCHEME) for secret in reversed(secrets)]
    return [*since, digest, digest.upper()]


def is_one_of(stored: str, hashes: Sequence[str]) -> bool:
    """Tell whether `stored` is among `hashes`, in a time that does not depend on how near it is."""
    found = False
    for candidate in hashes:
        found |= hmac.compare_digest(stored.encode(), candidate.encode())
    return found


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
