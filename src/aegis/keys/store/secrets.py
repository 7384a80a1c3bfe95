"""SQL of the server's secrets: which of them this database's keys need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.db import execute, fetch_all, fetch_one

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["PLAIN", "HashCount", "SecretNeeds", "count_hashes", "read_needs", "register_secret"]

#: In the place of a secret's id, for hashes made without one.
PLAIN: Final = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretNeeds:
    """What a process has to have for the keys of this database."""

    #: Whether there are keys that are not of our form, from before.
    old_form: bool
    #: Fingerprints of the secrets that keys were hashed with.
    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCount:
    """How many keys are hashed with one secret."""

    #: `sha256` for none.
    id: str
    keys: int


async def read_needs(conn: Connection) -> SecretNeeds:
    """Return which secrets are needed; two look-ups in small indexes."""
    return await fetch_one(
        conn,
        SecretNeeds,
        """
        SELECT
            EXISTS (
                SELECT FROM api_keys k WHERE k.key_hash NOT LIKE 'hmac-sha256:%'
            ) OR EXISTS (
                SELECT FROM api_key_old_hashes o
                WHERE o.key_hash NOT LIKE 'hmac-sha256:%'
                  AND o.valid_until > now()
            ) AS old_form,
            ARRAY(SELECT s.id FROM api_key_secrets s ORDER BY s.created_at) AS ids
        """,
        missing="",
    )


async def register_secret(conn: Connection, secret_id: str) -> None:
    """Note that keys are hashed with a secret from now on."""
    await execute(
        conn,
        "INSERT INTO api_key_secrets (id) VALUES (%(id)s) ON CONFLICT DO NOTHING",
        {"id": secret_id},
    )


async def count_hashes(conn: Connection) -> list[HashCount]:
    """Return how many keys each secret is needed for; reads every key."""
    return await fetch_all(
        conn,
        HashCount,
        """
        WITH hashes AS (
            SELECT k.key_hash FROM api_keys k WHERE k.revoked_at IS NULL
            UNION ALL
            SELECT o.key_hash FROM api_key_old_hashes o WHERE o.valid_until > now()
        )
        SELECT
            CASE
                WHEN h.key_hash LIKE 'hmac-sha256%' THEN split_part(h.key_hash, ':', 2)
                ELSE 'sha256'
            END AS id,
            count(*) AS keys
        FROM hashes h
        GROUP BY 1
        ORDER BY 1
        """,
    )
