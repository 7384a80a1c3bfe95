"""What is hashed, how it is signed, and what a row may hold. Pure.

A row's hash is SHA-256 over the version, the hash of the row before and the row as JSON (keys in
order, ASCII, no blanks), with the id of the log in it: a row fits into one place of one log. The
signature is HMAC-SHA-256 of that hash under a key derived from a secret of the server. So anybody
can follow the chain to a head that was published, and nobody without the secret can make one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aegis.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from aegis.security.audit.models import Anchor, Row, Seal
    from aegis.vault import Secret

__all__ = [
    "ZERO",
    "Private",
    "anchor_body",
    "clean",
    "digest_of",
    "hash_of",
    "is_signed",
    "object_text",
    "row_body",
    "seal_body",
    "sign",
]

#: The hash before the first row.
ZERO: Final = bytes(32)

_VERSION: Final = b"aegis audit 1\n"
_PURPOSE: Final = b"aegis audit log"
_PRIVATE: Final = b"aegis audit digest"
_MOST_CHARS: Final = 300
_MOST_ITEMS: Final = 50
_MOST_DEPTH: Final = 4
_MOST_WHOLE: Final = 2**63
_DIGEST_CHARS: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Private:
    """A name or a text that is written down as its keyed digest alone."""

    text: str


def row_body(log_id: UUID, row: Row) -> bytes:
    """Return what a row says, in the form that is hashed.

    Raises:
        ValueError, RecursionError: its details are nothing that was written here.
    """
    return _canonical(
        [
            str(log_id),
            row.seq,
            _microseconds(row.recorded_at),
            row.action,
            row.actor_kind,
            row.actor_id,
            row.face,
            row.request_id,
            row.object_kind,
            row.object_id,
            json.loads(row.details),
            row.secret_id,
        ]
    )


def hash_of(previous_hash: bytes, body: bytes) -> bytes:
    """Return the hash of a row: 32 bytes."""
    return hashlib.sha256(_VERSION + previous_hash + body).digest()


def seal_body(log_id: UUID, seal: Seal) -> bytes:
    """Return what a seal says, in the form that is signed."""
    times = (seal.first_recorded_at, seal.last_recorded_at, seal.sealed_at)
    return _VERSION + _canonical(
        [
            "seal",
            str(log_id),
            seal.from_seq,
            seal.through_seq,
            seal.hash.hex(),
            seal.row_count,
            *map(_microseconds, times),
            seal.secret_id,
        ]
    )


def anchor_body(anchor: Anchor) -> bytes:
    """Return what an anchor says, in the form that is signed."""
    return _VERSION + _canonical(
        [
            "anchor",
            str(anchor.log_id),
            anchor.seq,
            anchor.hash.hex(),
            _microseconds(anchor.at),
            anchor.accepts,
            anchor.secret_id,
            # Not at all where it is false: anchors that were written before there was this.
            *(["backup"] if anchor.from_backup else []),
        ]
    )


def sign(secret: Secret, what: bytes) -> bytes:
    """Return the signature of something: 32 bytes."""
    return hmac.digest(_key_of(secret), what, "sha256")


def is_signed(secrets: Mapping[str, Secret], secret_id: str, what: bytes, signature: bytes) -> bool:
    """Tell whether a signature is right; a secret that is not here signs nothing."""
    secret = secrets.get(secret_id)
    return secret is not None and hmac.compare_digest(sign(secret, what), signature)


def digest_of(secret: Secret, text: str) -> str:
    """Return what stands for a private text: it can be looked for, and not read."""
    key = hmac.digest(secret.value, _PRIVATE, "sha256")
    return f"~{hmac.digest(key, text.encode(errors='replace'), 'sha256').hex()[:_DIGEST_CHARS]}"


def object_text(secret: Secret, value: Any) -> str | None:
    """Return an object's id as it is written down."""
    found = clean(secret, value)
    return found if found is None or isinstance(found, str) else str(found)


def clean(secret: Secret, value: Any, depth: int = 0) -> Any:
    """Return `value` as a row may hold it: JSON without floats, short, without credentials."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_MOST_WHOLE < value < _MOST_WHOLE else str(value)
    if isinstance(value, Private):
        return digest_of(secret, value.text)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if depth < _MOST_DEPTH:
        if isinstance(value, dict):
            items: Any = list(value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return {
                _text(str(key)): clean(secret, item, depth + 1) for key, item in items[:_MOST_ITEMS]
            }
        if isinstance(value, list | tuple | set | frozenset):
            listed: Any = sorted(value, key=str) if isinstance(value, set | frozenset) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            kept = [clean(secret, item, depth + 1) for item in listed[:_MOST_ITEMS]]
            return (
                [*kept, f"and {len(listed) - _MOST_ITEMS} more"][: _MOST_ITEMS + 1]
                if (len(listed) > _MOST_ITEMS)
                else kept
            )
    # A binary or decimal number is kept as text: every reader prints it alike.
    return _text(str(value))


@cache
def _key_of(secret: Secret) -> bytes:
    """Return the key of signatures; of few secrets, and each time the same."""
    return hmac.digest(secret.value, _PURPOSE, "sha256")


def _text(text: str) -> str:
    # PostgreSQL takes neither a zero byte nor half a character.
    sound = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return redact(sound)[:_MOST_CHARS]


def _microseconds(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
