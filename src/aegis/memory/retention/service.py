"""How long memories live and which have faded: `memory.retention`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aegis.errors import NotFound
from aegis.memory import validate
from aegis.memory.retention import expiry, forgetting
from aegis.memory.store import policies as policy_store
from aegis.memory.store import retention as store
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from aegis.db import Database
    from aegis.memory.models import Importance
    from aegis.memory.retention.expiry import Action, Policy
    from aegis.memory.retention.forgetting import ForgetPlan, ForgetReport, SweepReport
    from aegis.memory.retention.holds import Hold

__all__ = ["Retention"]

MAX_SAMPLE = 1_000
_PAGE = 1_000


class Retention:
    """Forgetting of one client; `namespace` is what a call that names none means."""

    def __init__(self, db: Database, *, namespace: str) -> None:
        self._db = db
        self.namespace = namespace

    async def plan(self, *, sample: int = 20, namespace: str | None = None) -> ForgetPlan:
        """Return what `run` would archive and why, and what has expired; changes nothing."""
        validate.check_limit("sample", sample, most=MAX_SAMPLE)
        place = validate.namespace_of(namespace, self.namespace)
        return await forgetting.plan(self._db, place, sample=sample, now=datetime.now(UTC))

    async def run(
        self,
        *,
        limit: int | None = None,
        namespace: str | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> ForgetReport:
        """Archive what has faded, at most `limit` memories, and return what became of it.

        Raises:
            ConfigError: pyarrow, which writes the archives, is not installed.
            OpsError: an archive cannot be written; what it was to hold stays.
        """
        if limit is not None:
            validate.check_limit("limit", limit, most=2**31 - 1)
        place = validate.namespace_of(namespace, self.namespace)
        return await forgetting.run(
            self._db, place, limit=limit, now=datetime.now(UTC), on_progress=on_progress
        )

    async def sweep(self, *, namespace: str | None = None, everywhere: bool = False) -> SweepReport:
        """Delete or archive what has expired, as policies and settings say, in short batches.

        `everywhere`: in every namespace.
        """
        place = None if everywhere else validate.namespace_of(namespace, self.namespace)
        return await forgetting.sweep(self._db, place)

    async def set_policy(
        self,
        ttl: timedelta | str,
        *,
        event_type: str | None = None,
        importance: Importance | None = None,
        action: Action = "delete",
        apply: bool = False,
        namespace: str | None = None,
    ) -> tuple[Policy, int]:
        """Let memories of a kind expire `ttl` after their recording, from now on.

        The policy that says most decides: type and importance, type, importance, neither. With
        `apply` those that are there and never expire do, too, counted from their own recording;
        returns the policy, and how many these are.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        expiry.check_policy(event_type=event_type, importance=importance, action=action)
        lives = expiry.parse_ttl("ttl", ttl)
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            policy = await policy_store.set_policy(
                conn,
                namespace=place,
                event_type=event_type or "",
                importance=importance or "",
                ttl_s=max(1, round(lives.total_seconds())),
                action=action,
            )
            note(
                conn,
                "memory.policy_set",
                "namespace",
                Private(place),
                event_type=_private(event_type),
                importance=importance,
                ttl_s=policy.ttl_s,
                action=action,
                apply=apply,
            )
        return policy, await self._apply(policy) if apply else 0

    async def policies(self, *, namespace: str | None = None) -> builtins.list[Policy]:
        """Return the policies of the namespace, the general ones first."""
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await policy_store.list_policies(conn, [place])

    async def remove_policy(
        self,
        *,
        event_type: str | None = None,
        importance: Importance | None = None,
        namespace: str | None = None,
    ) -> None:
        """Remove a policy; what has an end by it keeps that (`NotFound`)."""
        expiry.check_policy(event_type=event_type, importance=importance, action="delete")
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            removed = await policy_store.remove_policy(
                conn, namespace=place, event_type=event_type or "", importance=importance or ""
            )
            if not removed:
                raise NotFound(f"There is no such policy in namespace {place!r}.")
            note(
                conn,
                "memory.policy_remove",
                "namespace",
                Private(place),
                event_type=_private(event_type),
                importance=importance,
            )

    async def hold(self, episode_id: int, reason: str, *, namespace: str | None = None) -> Hold:
        """Keep an episode from decay and from the sweep (`NotFound`)."""
        validate.check_id("id", episode_id)
        validate.check_text("reason", reason, most=validate.MAX_KEY)
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            held = await store.hold_episode(conn, episode_id, namespace=place, reason=reason)
            if held is None:
                raise NotFound(f"There is no episode {episode_id} in namespace {place!r}.")
            note(conn, "memory.hold", "episode", episode_id, namespace=Private(place))
        return held

    async def release(self, episode_id: int, *, namespace: str | None = None) -> None:
        """End a hold (`NotFound`)."""
        validate.check_id("id", episode_id)
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            if not await store.release_episode(conn, episode_id, namespace=place):
                raise NotFound(f"Episode {episode_id} of namespace {place!r} is not held.")
            note(conn, "memory.release", "episode", episode_id, namespace=Private(place))

    async def holds(self, *, limit: int = 100, namespace: str | None = None) -> builtins.list[Hold]:
        """Return what is held, by id."""
        validate.check_limit("limit", limit, most=_PAGE)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.list_holds(conn, place, limit=limit)

    async def _apply(self, policy: Policy) -> int:
        """Let what the policy speaks of expire, a page a transaction."""
        applied = after_id = 0
        while True:
            async with self._db.transaction() as conn:
                policies = await policy_store.list_policies(conn, [policy.namespace])
                page = await policy_store.page_unexpiring(
                    conn, policy.namespace, after_id=after_id, limit=_PAGE
                )
                ends: dict[int, Any] = {}
                for row_id, event_type, importance, recorded_at in page:
                    found = expiry.policy_for(
                        policies, event_type=event_type, importance=importance
                    )
                    if found is not None and _same(found, policy):
                        ends[row_id] = recorded_at + timedelta(seconds=policy.ttl_s)
                applied += await policy_store.set_expiry(conn, ends) if ends else 0
            if len(page) < _PAGE:
                return applied
            after_id = page[-1][0]


def _private(text: str | None) -> Private | None:
    return None if text is None else Private(text)


def _same(one: Policy, other: Policy) -> bool:
    return (one.event_type, one.importance) == (other.event_type, other.importance)
