"""Verification: many calls of one process, one statement.

Calls that come while a statement is under way wait for the next one and share it: a busy process
asks the database as often as it answers, not as often as it is called. The database decides, and
counts what it admits, in that one round trip.

What was refused may be refused again from memory for a moment; nothing is ever admitted from it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.keys.limits import state_of
from aegis.keys.models import QuotaState, Verification
from aegis.keys.secret import hashes_of, is_one_of, is_well_formed, old_form_hashes_of
from aegis.keys.store import secrets as secret_store
from aegis.keys.store import verification as store
from aegis.keys.validate import accepted_scopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.keys.models import Code, Environment, Limit
    from aegis.keys.vault import Vault

__all__ = ["Verifier"]

#: Statements under way at once: while one commits, the next one is worked on.
_STATEMENTS: Final = 2
_BATCH: Final = 256
#: How long a refusal may be repeated from memory.
_REFUSED_S: Final = 1.0
_REMEMBERED: Final = 10_000
#: How often a process looks whether there are keys that are not of our form.
_LOOK_S: Final = 60.0
#: No key of anybody's is longer.
_MAX_KEY_CHARS: Final = 500
_FOR_THE_KEY: Final = ("NOT_FOUND", "DISABLED", "EXPIRED")

_log = logging.getLogger("aegis.keys")


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked about a key; calls with the same question are counted together."""

    hashes: tuple[str, ...]
    scope: str | None
    limits: tuple[Limit, ...]


@dataclass(slots=True, eq=False)
class _Call:
    question: _Question
    cost: int
    answer: asyncio.Future[Verification]


class Verifier:
    """Verifies keys for one process."""

    def __init__(self, db: Database, settings: Settings, vault: Vault) -> None:
        self._db = db
        self._settings = settings
        self._vault = vault
        self._waiting: list[_Call] = []
        self._running: set[asyncio.Task[None]] = set()
        self._refused: dict[Any, tuple[float, float, Verification]] = {}
        self._needs: secret_store.SecretNeeds | None = None
        self._looked_at = 0.0
        self._warned_at = 0.0

    async def verify(
        self, key: str, *, scope: str | None, cost: int, limits: tuple[Limit, ...]
    ) -> Verification:
        """Return what becomes of one call; arguments were checked.

        Raises:
            Unavailable: the database does not answer, and calls are then refused.
            ConfigError: keys were hashed with a secret that this process does not have.
        """
        if not key.isprintable() or not 0 < len(key) <= _MAX_KEY_CHARS:
            return _NOT_FOUND
        try:
            hashes = await self._hashes(key)
            if not hashes:
                return _NOT_FOUND
            question = _Question(hashes, scope, limits)
            return self._recall(question, cost) or await self._ask(question, cost)
        except Unavailable as error:
            if self._settings.keys_when_down == "closed":
                raise
            if time.monotonic() - self._warned_at > _LOOK_S:
                self._warned_at = time.monotonic()
                _log.warning("keys.unchecked", extra={"code": error.code, "why": error.message})
            return Verification(valid=True, code="VALID", checked=False)

    def forget(self) -> None:
        """Forget what was refused: a key was changed here."""
        self._refused.clear()

    def look_again(self) -> None:
        """Forget which secrets the database needs: a key was issued here."""
        self._needs = None

    async def _hashes(self, key: str) -> tuple[str, ...]:
        secrets = self._vault.secrets()
        if is_well_formed(key):
            if self._needs is None or not self._needs.ids:
                await self._look()
            if self._needs and self._needs.ids and not {s.id for s in secrets} & {*self._needs.ids}:
                raise ConfigError(
                    "The keys of this database were hashed with a secret that is not here "
                    f"({', '.join(self._needs.ids)}). Bring the file `key-secret` of the data "
                    "folder where they were issued, or set AEGIS_KEY_SECRET.",
                    code="key_secret_missing",
                )
            return tuple(hashes_of(key, secrets))
        # A slip of the pen, unless keys from before there was a form are still about.
        if self._needs is None or time.monotonic() - self._looked_at > _LOOK_S:
            await self._look()
        if self._needs is None or not self._needs.old_form:
            return ()
        # Read again: the look may have made the first one.
        return tuple(old_form_hashes_of(key, self._vault.secrets()))

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        async with self._deadline(), self._db.transaction() as conn:
            needs = await secret_store.read_needs(conn)
        if needs.old_form:
            await self._prepare_upgrade()
        self._needs = needs

    async def _prepare_upgrade(self) -> None:
        """See to it that there is a secret to hash old keys with; without one they stay."""
        try:
            secret = self._vault.ensure()[-1]
            async with self._deadline(), self._db.transaction() as conn:
                await secret_store.register_secret(conn, secret.id)
        except AegisError as error:
            _log.warning("keys.not_upgraded", extra={"code": error.code, "why": error.message})

    def _recall(self, question: _Question, cost: int) -> Verification | None:
        now = time.monotonic()
        for place in (question.hashes[0], (question, cost)):
            found = self._refused.get(place)
            if found is not None and now < found[1]:
                return _aged(found[2], now - found[0])
        return None

    def _remember(self, question: _Question, cost: int, answer: Verification) -> None:
        seconds = min(_REFUSED_S, answer.retry_after_s or _REFUSED_S)
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        now = time.monotonic()
        place = question.hashes[0] if answer.code in _FOR_THE_KEY else (question, cost)
        self._refused[place] = (now, now + seconds, answer)

    async def _ask(self, question: _Question, cost: int) -> Verification:
        call = _Call(question, cost, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._start()
        return await call.answer

    def _start(self) -> None:
        if self._waiting and len(self._running) < _STATEMENTS:
            # Of no call alone: it decides those of many.
            task = asyncio.create_task(self._work(), context=Context())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # Nobody expected it; its callers were told, and others still wait.
            _log.error("keys.unexpected", exc_info=error)
        self._start()

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            try:
                await self._decide(batch)
            except Unavailable as error:
                _fail(batch, error)
            except AegisError:
                # One of them is to blame; the others shall not suffer for it.
                await self._decide_singly(batch)
            finally:
                # Whatever else ended it: nobody waits for ever.
                _fail(batch, Unavailable("The verification was cut off.", code="keys_cut_off"))

    async def _decide_singly(self, batch: Sequence[_Call]) -> None:
        for call in batch:
            try:
                await self._decide([call])
            except AegisError as error:
                _fail([call], error)

    async def _decide(self, batch: Sequence[_Call]) -> None:
        groups: dict[_Question, list[_Call]] = {}
        for call in batch:
            groups.setdefault(call.question, []).append(call)
        ordered = list(groups.items())
        requests = [_request(n, question, calls) for n, (question, calls) in enumerate(ordered)]
        async with self._deadline(), self._db.connection() as conn:
            rows = await store.verify_keys(conn, json.dumps(requests), lazily=True)
        for number, text in rows:
            question, calls = ordered[number]
            for call, answer in zip(
                calls, _answers(json.loads(text), question, calls), strict=True
            ):
                if not answer.valid:
                    self._remember(question, call.cost, answer)
                if not call.answer.done():
                    call.answer.set_result(answer)

    def _deadline(self) -> _Deadline:
        return _Deadline(self._settings.keys_timeout_s)


class _Deadline:
    """Seconds until the database counts as down."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise Unavailable(
                f"The database did not verify a key within {self._seconds:g} s; try again. "
                "AEGIS_KEYS_TIMEOUT_S allows longer.",
                code="keys_timeout",
            ) from None


_NOT_FOUND: Final = Verification(valid=False, code="NOT_FOUND")


def _fail(batch: Sequence[_Call], error: AegisError) -> None:
    for call in batch:
        if not call.answer.done():
            call.answer.set_exception(type(error)(error.message, code=error.code))


def _request(number: int, question: _Question, calls: Sequence[_Call]) -> dict[str, Any]:
    request: dict[str, Any] = {
        "number": number,
        "hashes": question.hashes,
        "costs": [call.cost for call in calls],
    }
    if question.scope is not None:
        request["accepts"] = accepted_scopes(question.scope)
    if question.limits:
        request["limits"] = [
            {"name": x.name, "limit": x.limit, "window_s": x.window_s, "cost": x.cost}
            for x in question.limits
        ]
    return request


def _answers(
    found: dict[str, Any], question: _Question, calls: Sequence[_Call]
) -> list[Verification]:
    codes = cast("list[Code]", found["codes"])
    if found["id"] is None or not is_one_of(found["hash"], question.hashes):
        return [_NOT_FOUND] * len(codes)
    expires_at = found["expires_at"]
    prefix: str = found["prefix"]
    environment: Environment = "test" if prefix.startswith("aegis_test_") else "live"
    known: dict[str, Any] = {
        "key_id": found["id"],
        "customer_id": found["customer_id"],
        "environment": environment,
        "name": found["name"],
        "tier": found["tier"],
        "scopes": found["scopes"],
        "expires_at": None if expires_at is None else datetime.fromisoformat(expires_at),
    }
    if "levels" not in found:
        return [Verification(valid=False, code=code, **known) for code in codes]
    return [
        _counted(found, known, place, code, call.cost)
        for place, (code, call) in enumerate(zip(codes, calls, strict=True))
    ]


def _counted(
    found: dict[str, Any], known: dict[str, Any], place: int, code: Code, cost: int
) -> Verification:
    names: list[str] = found["names"]
    width = len(names)
    limits = [
        state_of(
            name,
            backlog=found["levels"][place * width + i],
            cost=cost if found["weights"][i] is None else found["weights"][i],
            limit=found["limits"][i],
            window_us=found["windows"][i],
            refused=code == "RATE_LIMITED",
        )
        for i, name in enumerate(names)
    ]
    quota = _quota(found, found["rooms"][place])
    retry_after_s = None
    if code == "RATE_LIMITED":
        waits = [x.retry_after_s for x in limits if x.exceeded]
        retry_after_s = None if None in waits else max((w for w in waits if w), default=None)
    elif code == "QUOTA_EXCEEDED" and quota is not None:
        retry_after_s = quota.reset_s
    return Verification(
        valid=code == "VALID",
        code=code,
        limits=limits,
        quota=quota,
        retry_after_s=retry_after_s,
        **known,
    )


def _quota(found: dict[str, Any], room: int) -> QuotaState | None:
    if found["period"] is None:
        return None
    period = date.fromisoformat(found["period"])
    first = datetime(period.year, period.month, 1, tzinfo=UTC)
    resets_at = (first + timedelta(days=32)).replace(day=1)
    now_s = found["at_us"] / 1e6
    return QuotaState(
        period=period,
        limit=found["granted"],
        remaining=room,
        overage=found["overage"],
        resets_at=resets_at,
        reset_s=max(resets_at.timestamp() - now_s, 0.0),
    )


def _aged(answer: Verification, seconds: float) -> Verification:
    """Return a refusal as it is some seconds later."""

    def less(wait: float | None) -> float | None:
        return None if wait is None else max(wait - seconds, 0.001)

    if answer.retry_after_s is None:
        return answer
    return replace(
        answer,
        retry_after_s=less(answer.retry_after_s),
        limits=[
            replace(x, retry_after_s=less(x.retry_after_s), reset_s=max(x.reset_s - seconds, 0.0))
            for x in answer.limits
        ],
    )
