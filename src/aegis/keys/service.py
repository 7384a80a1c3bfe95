"""Keys, for their operator and for whoever is called with one: `client.keys`."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.keys import validate
from aegis.keys.customers import Customers
from aegis.keys.models import IssuedKey, SecretInUse
from aegis.keys.quota import Quota, settle
from aegis.keys.secret import RANDOM_BYTES, make_key, prefix_of
from aegis.keys.store import keys as store
from aegis.keys.store import quota as quota_store
from aegis.keys.store import secrets as secret_store
from aegis.keys.tiers import Tiers
from aegis.keys.verifier import Verifier
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note
from aegis.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.keys.models import ApiKey, Binding, Environment, Limit, TierName, Verification
    from aegis.security.audit.actions import ActionId

__all__ = ["Keys"]

_FIELDS = ("name", "tier", "scopes", "rate_limit", "monthly_quota", "limits", "namespaces")


class Keys:
    """The keys of one database.

    `tiers` is what tiers allow, `quota` the ledger, `customers` what a customer's keys share.
    """

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._vault = Vault(settings)
        self._verifier = Verifier(db, settings, self._vault)
        self.tiers = Tiers(db)
        self.quota = Quota(db, changed=self._verifier.forget)
        self.customers = Customers(db, changed=self._verifier.forget)

    async def issue(
        self,
        customer_id: str,
        *,
        name: str | None = None,
        environment: Environment = "live",
        tier: TierName = "free",
        scopes: Sequence[str] = (),
        rate_limit: int | None = None,
        monthly_quota: int | None = None,
        limits: Mapping[str, Any] | None = None,
        namespaces: Sequence[Binding | str | Mapping[str, Any]] | None = None,
        expires_at: datetime | None = None,
    ) -> IssuedKey:
        """Make a key for a customer; the answer holds the key, which nobody sees again.

        `rate_limit` (calls a minute) and `monthly_quota` go before the tier's; `limits` are the
        key's own for limits that calls name. `namespaces` are those of memory that it is bound to,
        the default one first; text may be read and written.

        Raises:
            InvalidInput: a value cannot be accepted, such as a tier that does not exist.
            ConfigError: the secret of keys cannot be read or made.
        """
        validate.check_text("customer_id", customer_id, most=100)
        validate.check_environment(environment)
        fields = self._checked(
            {
                "name": name,
                "tier": tier,
                "scopes": scopes,
                "rate_limit": rate_limit,
                "monthly_quota": monthly_quota,
                "limits": limits,
                "namespaces": namespaces,
            }
        )
        if expires_at is not None:
            validate.check_expiry(expires_at, now=datetime.now(UTC))
        secret = self._vault.ensure()[-1]
        key = make_key(environment, secrets.token_bytes(RANDOM_BYTES))
        async with audited(self._db, self._settings) as conn:
            await secret_store.register_secret(conn, secret.id)
            key_id = await store.insert_key(
                conn,
                customer_id=customer_id,
                key_hash=secret.hash(key),
                key_prefix=prefix_of(key),
                expires_at=expires_at,
                **fields,
            )
            record = await store.get_key(conn, key_id)
            note(
                conn,
                "keys.issue",
                "key",
                key_id,
                customer=customer_id,
                environment=environment,
                expires_at=expires_at,
                **_told(fields),
            )
        self._verifier.look_again()
        return IssuedKey(key=key, record=record)

    async def verify(
        self,
        key: str,
        *,
        scope: str | None = None,
        cost: int = 1,
        limits: Sequence[Limit | Mapping[str, Any]] = (),
    ) -> Verification:
        """Decide about one call with `key`, and count it if it is accepted.

        Asked in this order: does the key exist, is it enabled, has it expired, may it do `scope`,
        has it quota for `cost`, and its customer, and is there room in its rate limit, in its
        customer's and in all of `limits`. What is refused is not counted anywhere.

        Raises:
            InvalidInput: `scope`, `cost` or `limits` cannot be accepted; a key never raises.
            Unavailable: the database does not answer, unless AEGIS_KEYS_WHEN_DOWN is `open`.
        """
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput("key is no text; give the key as the caller sent it.")
        if scope is not None:
            validate.check_scope(scope)
        validate.check_cost(cost)
        named = validate.check_limits(list(limits)) if limits else ()
        return await self._verifier.verify(key, scope=scope, cost=cost, limits=named)

    async def get(self, key_id: str) -> ApiKey:
        """Return a key (`NotFound`)."""
        key_id = validate.check_id(key_id)
        async with self._db.transaction() as conn:
            return await store.get_key(conn, key_id)

    async def list(
        self,
        *,
        customer_id: str | None = None,
        tier: str | None = None,
        enabled: bool | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[ApiKey]:
        """Return keys, newest first (`InvalidInput`)."""
        if customer_id is not None:
            validate.check_text("customer_id", customer_id, most=100)
        if tier is not None:
            validate.check_tier(tier)
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            return await store.list_keys(
                conn,
                customer_id=customer_id,
                tier=tier,
                enabled=enabled,
                limit=limit,
                offset=offset,
            )

    async def update(self, key_id: str, /, **changes: Any) -> ApiKey:
        """Change `name`, `tier`, `scopes`, `limits`, `namespaces` or another field of a key.

        The others are `rate_limit` and `monthly_quota`. None gives a limit back to the tier, and
        lets the key into any namespace. A new quota holds for this month too, as an adjustment in
        the ledger.

        Raises:
            InvalidInput: a value cannot be accepted; a quota below what this month used already
                is `quota_below_used`.
            NotFound, Conflict: there is no such key; it was revoked.
        """
        unknown = sorted(set(changes) - set(_FIELDS))
        if unknown or not changes:
            what = repr(unknown[0]) if unknown else "nothing"
            raise InvalidInput(f"The change names {what}; use {', '.join(_FIELDS)}.")
        return await self._change("keys.update", key_id, self._checked(changes))

    async def rename(self, key_id: str, name: str | None) -> ApiKey:
        """Call a key something else; None takes its name away."""
        return await self._change("keys.update", key_id, self._checked({"name": name}))

    async def bind(
        self, key_id: str, namespaces: Sequence[Binding | str | Mapping[str, Any]] | None
    ) -> ApiKey:
        """Bind a key to namespaces of memory, the default one first; None lets it into any."""
        return await self._change("keys.update", key_id, self._checked({"namespaces": namespaces}))

    async def disable(self, key_id: str) -> ApiKey:
        """Switch a key off until `enable`."""
        return await self._change("keys.disable", key_id, {"enabled": False})

    async def enable(self, key_id: str) -> ApiKey:
        """Switch a key on again (`Conflict`: it was revoked)."""
        return await self._change("keys.enable", key_id, {"enabled": True})

    async def expire(self, key_id: str, at: datetime | None) -> ApiKey:
        """Let a key end at a time to come, or never (None)."""
        if at is not None:
            validate.check_expiry(at, now=datetime.now(UTC))
        return await self._change("keys.expire", key_id, {"expires_at": at})

    async def revoke(self, key_id: str) -> ApiKey:
        """Take a key back for ever, and with it what its rotations left working."""
        key_id = validate.check_id(key_id)
        async with audited(self._db, self._settings) as conn:
            await quota_store.lock_meter(conn, key_id)
            before = await store.get_key(conn, key_id)
            await store.revoke_key(conn, key_id)
            record = await store.get_key(conn, key_id)
            if before.revoked_at is None:
                note(conn, "keys.revoke", "key", key_id, customer=record.customer_id)
        self._verifier.forget()
        return record

    async def rotate(
        self, key_id: str, *, grace_s: int = 86_400, environment: Environment | None = None
    ) -> IssuedKey:
        """Give a key a new secret part; the old one works for `grace_s` more seconds.

        Id, limits, quota and counts stay: both are the same key. A grace of 0 ends all older ones.

        Raises:
            InvalidInput: `grace_s` is not from 0 to 90 days.
            NotFound, Conflict: there is no such key; it was revoked.
        """
        key_id = validate.check_id(key_id)
        validate.check_grace(grace_s)
        if environment is not None:
            validate.check_environment(environment)
        secret = self._vault.ensure()[-1]
        async with audited(self._db, self._settings) as conn:
            await quota_store.lock_meter(conn, key_id)
            before = await store.get_key(conn, key_id)
            random = secrets.token_bytes(RANDOM_BYTES)
            key = make_key(environment or before.environment, random)
            await secret_store.register_secret(conn, secret.id)
            rotated = await store.rotate_key(
                conn,
                key_id,
                key_hash=secret.hash(key),
                key_prefix=prefix_of(key),
                grace_s=grace_s,
            )
            if not rotated:
                raise _revoked(before)
            record = await store.get_key(conn, key_id)
            note(conn, "keys.rotate", "key", key_id, grace_s=grace_s, secret=secret.id)
        self._verifier.forget()
        self._verifier.look_again()
        return IssuedKey(key=key, record=record)

    async def secrets(self) -> Sequence[SecretInUse]:
        """Return the server's secrets that keys are hashed with; reads every key."""
        async with self._db.transaction() as conn:
            counts = {row.id: row.keys for row in await secret_store.count_hashes(conn)}
        here = [secret.id for secret in self._vault.secrets()]
        return [
            SecretInUse(
                id=secret_id,
                keys=counts.get(secret_id, 0),
                known=secret_id in here or secret_id == secret_store.PLAIN,
                current=bool(here) and secret_id == here[-1],
            )
            for secret_id in dict.fromkeys([*counts, *here])
        ]

    async def add_secret(self) -> Sequence[SecretInUse]:
        """Make a new secret for new keys; keys that are used move to it (`ConfigError`)."""
        secret = self._vault.add()[-1]
        async with audited(self._db, self._settings) as conn:
            await secret_store.register_secret(conn, secret.id)
            note(conn, "keys.secret_add", "secret", secret.id)
        self._verifier.look_again()
        return await self.secrets()

    async def close(self) -> None:
        """Write what is still to be written of the keys' last use."""
        await self._verifier.close()

    async def _change(self, action: ActionId, key_id: str, changes: Mapping[str, Any]) -> ApiKey:
        key_id = validate.check_id(key_id)
        async with audited(self._db, self._settings) as conn:
            await quota_store.lock_meter(conn, key_id)
            before = await store.get_key(conn, key_id)
            changed = await store.update_key(conn, key_id, changes)
            record = await store.get_key(conn, key_id)
            if not changed:
                raise _revoked(record)
            if {"tier", "monthly_quota"} & set(changes):
                await settle(conn, key_id)
            was = {name: getattr(before, name) for name in changes}
            note(conn, action, "key", key_id, before=_told(was), after=_told(changes))
        self._verifier.forget()
        return record

    def _checked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        checked = dict(fields)
        if checked.get("name") is not None:
            validate.check_text("name", checked["name"], most=200)
        if "tier" in checked:
            validate.check_tier(checked["tier"])
        if "scopes" in checked:
            checked["scopes"] = validate.check_scopes(checked["scopes"])
        if checked.get("rate_limit") is not None:
            validate.check_rate(checked["rate_limit"])
        if checked.get("monthly_quota") is not None:
            validate.check_quota(checked["monthly_quota"])
        if checked.get("limits") is not None:
            validate.check_own_limits(checked["limits"])
        if checked.get("namespaces") is not None:
            checked["namespaces"] = validate.check_namespaces(checked["namespaces"])
        return checked


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a key as the audit log may hold them: somebody wrote the name."""
    name = fields.get("name")
    return {**fields, "name": Private(name)} if isinstance(name, str) else dict(fields)


def _revoked(record: ApiKey) -> Conflict | NotFound:
    return Conflict(
        f"Key {record.id} ({record.key_prefix}…) was revoked, and stays so; issue a new one.",
        code="key_revoked",
    )
