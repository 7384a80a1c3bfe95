"""Verification: many calls of one process, one statement.

Calls that come while a statement is under way wait for the next one and share it: a busy process
asks the database as often as it answers, not as often as it is called. The database decides, and
counts what it admits, in that one round trip.

What was refused may be refused again from memory for a moment; nothing is ever admitted from it.
When a key was used last is written behind: its meter says it, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.keys.answering import NOT_FOUND, Question, aged, answers, request
from aegis.keys.deadline import Deadline
from aegis.keys.models import Verification
from aegis.keys.secret import hashes_of, is_well_formed, old_form_hashes_of
from aegis.keys.store import secrets as secret_store
from aegis.keys.store import verification as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Cursor, Database
    from aegis.keys.models import Limit
    from aegis.keys.secret import Secret
    from aegis.vault import Vault

__all__ = ["Verifier"]

#: Statements under way at once. The second one begins when the first takes longer than `_LONG_S`:
#: somebody else holds a key of it. Begun at once, each would carry half, at nearly the same cost.
_STATEMENTS: Final = 2
_LONG_S: Final = 0.02
_BATCH: Final = 256
#: Statements on one connection before others may have it.
_STATEMENTS_A_LOAN: Final = 20
#: How often a key without a meter is asked about again once it has been made.
_ROUNDS: Final = 3
#: How often times of last use are written, and for how many keys at a time.
_WRITE_S: Final = 10.0
_WRITTEN: Final = 500
#: How long a refusal may be repeated from memory.
_REFUSED_S: Final = 1.0
_REMEMBERED: Final = 10_000
#: How often a process looks whether there are keys that are not of our form.
_LOOK_S: Final = 60.0
#: No key of anybody's is longer.
_MAX_KEY_CHARS: Final = 500
_FOR_THE_KEY: Final = ("NOT_FOUND", "DISABLED", "EXPIRED")

_log = logging.getLogger("aegis.keys")


@dataclass(slots=True, eq=False)
class _Call:
    question: Question
    cost: int
    answer: asyncio.Future[Verification]
    round: int = 1


class Verifier:
    """Verifies keys for one process."""

    def __init__(self, db: Database, settings: Settings, vault: Vault) -> None:
        self._db = db
        self._settings = settings
        self._vault = vault
        self._waiting: list[_Call] = []
        self._running: set[asyncio.Task[None]] = set()
        #: The keys that statements under way are about; how many statements have ended.
        self._in_flight: set[str] = set()
        self._ended_statements = 0
        self._waking: asyncio.TimerHandle | None = None
        self._refused: dict[Any, tuple[float, float, Verification]] = {}
        self._needs: secret_store.SecretNeeds | None = None
        self._looked_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._warned_at = 0.0
        #: Keys whose time of last use is to be written.
        self._used: set[str] = set()
        self._written_at = time.monotonic()
        self._writing: asyncio.Task[None] | None = None

    async def verify(
        self, key: str, *, scope: str | None, cost: int, limits: tuple[Limit, ...]
    ) -> Verification:
        """Return what becomes of one call; arguments were checked.

        Raises:
            Unavailable: the database does not answer, and calls are then refused.
            ConfigError: keys were hashed with a secret that this process does not have.
        """
        if not key.isprintable() or not 0 < len(key) <= _MAX_KEY_CHARS:
            return NOT_FOUND
        try:
            secrets = self._vault.secrets_of_late()
            found = await self._verify(key, secrets, scope, cost, limits)
            if found.code == "NOT_FOUND" and (fresh := self._vault.secrets()) != secrets:
                # Another process made a secret a moment ago, and the key with it.
                found = await self._verify(key, fresh, scope, cost, limits)
            return found
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

    async def close(self) -> None:
        """Write what is still to be written of the keys' last use; a failure loses nothing else."""
        if self._waking is not None:
            self._waking.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write_last_use()

    async def _verify(
        self,
        key: str,
        secrets: Sequence[Secret],
        scope: str | None,
        cost: int,
        limits: tuple[Limit, ...],
    ) -> Verification:
        hashes = await self._hashes(key, secrets)
        if not hashes:
            return NOT_FOUND
        question = Question(hashes, scope, limits)
        known = self._recall(question, cost) if self._refused else None
        return known or await self._ask(question, cost)

    async def _hashes(self, key: str, secrets: Sequence[Secret]) -> tuple[str, ...]:
        if is_well_formed(key):
            if self._needs is None or not self._needs.ids:
                await self._look()
            if self._needs and self._needs.ids and not {s.id for s in secrets} & {*self._needs.ids}:
                secrets = self._vault.secrets()
                if not {s.id for s in secrets} & {*self._needs.ids}:
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
        """Find out which secrets are needed; callers at once share the question."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_once())
            self._looking.add_done_callback(self._looked)
        # One caller that gives up does not end it for the others.
        await asyncio.shield(self._looking)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            # Whoever asked was told; if nobody is left, nobody has to be.
            task.exception()

    async def _look_once(self) -> None:
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

    def _recall(self, question: Question, cost: int) -> Verification | None:
        now = time.monotonic()
        for place in (question.hashes[0], (question, cost)):
            found = self._refused.get(place)
            if found is not None and now < found[1]:
                return aged(found[2], now - found[0])
        return None

    def _remember(self, question: Question, cost: int, answer: Verification) -> None:
        seconds = min(_REFUSED_S, answer.retry_after_s or _REFUSED_S)
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        now = time.monotonic()
        place = question.hashes[0] if answer.code in _FOR_THE_KEY else (question, cost)
        self._refused[place] = (now, now + seconds, answer)

    async def _ask(self, question: Question, cost: int) -> Verification:
        call = _Call(question, cost, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if question.hashes[0] not in self._in_flight:
            self._start()
        return await call.answer

    def _start(self) -> None:
        if not self._waiting or len(self._running) == _STATEMENTS:
            return
        if self._running:
            self._start_later()
            return
        self._begin()

    def _begin(self) -> None:
        # Of no call alone: it decides those of many.
        task = asyncio.create_task(self._work(), context=Context())
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _start_later(self) -> None:
        if self._waking is None:
            loop = asyncio.get_running_loop()
            self._waking = loop.call_later(_LONG_S, self._wake, self._ended_statements)

    def _wake(self, ended: int) -> None:
        self._waking = None
        if not any(call.question.hashes[0] not in self._in_flight for call in self._waiting):
            return
        if self._ended_statements == ended and len(self._running) < _STATEMENTS:
            self._begin()
        else:
            self._start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # Nobody expected it; its callers were told, and others still wait.
            _log.error("keys.unexpected", exc_info=error)
        if any(call.question.hashes[0] not in self._in_flight for call in self._waiting):
            self._start()

    def _take(self) -> list[_Call]:
        """Return what waits, up to a batch; no key is in two statements at once."""
        batch: list[_Call] = []
        left: list[_Call] = []
        mine: set[str] = set()
        for call in self._waiting:
            key = call.question.hashes[0]
            if len(batch) < _BATCH and key not in self._in_flight:
                mine.add(key)
                batch.append(call)
            else:
                left.append(call)
        self._waiting = left
        self._in_flight |= mine
        return batch

    def _done(self, batch: Sequence[_Call]) -> None:
        if batch:
            self._ended_statements += 1
            self._in_flight.difference_update(call.question.hashes[0] for call in batch)

    async def _work(self) -> None:
        while batch := self._take():
            try:
                async with (
                    self._deadline() as deadline,
                    self._db.connection() as conn,
                    conn.cursor() as cursor,
                ):
                    left = _STATEMENTS_A_LOAN
                    while batch:
                        await self._decide(cursor, batch)
                        self._done(batch)
                        batch = []
                        # Those who were answered may have the next question at once.
                        await asyncio.sleep(0)
                        left -= 1
                        batch = self._take() if left else []
                        deadline.renew()
            except Unavailable as error:
                _fail(batch, error)
            except AegisError:
                # One of them is to blame; the others shall not suffer for it.
                await self._decide_singly(batch)
            finally:
                # Whatever else ended it: nobody waits for ever.
                _fail(batch, Unavailable("The verification was cut off.", code="keys_cut_off"))
                self._done(batch)

    async def _decide_singly(self, batch: Sequence[_Call]) -> None:
        for call in batch:
            try:
                async with (
                    self._deadline(),
                    self._db.connection() as conn,
                    conn.cursor() as cursor,
                ):
                    await self._decide(cursor, [call])
            except AegisError as error:
                _fail([call], error)

    async def _decide(self, cursor: Cursor, batch: Sequence[_Call]) -> None:
        groups: dict[Question, list[_Call]] = {}
        for call in batch:
            groups.setdefault(call.question, []).append(call)
        ordered = list(groups.items())
        requests = [
            request(number, question, [call.cost for call in calls])
            for number, (question, calls) in enumerate(ordered)
        ]
        found = await store.verify_calls(cursor, json.dumps(requests), lazily=True)
        again = dict(enumerate(ordered))
        for row in found:
            if row.codes is None:
                continue
            question, calls = again.pop(row.number)
            for call, answer in zip(
                calls, answers(row, question, [call.cost for call in calls]), strict=True
            ):
                if not answer.valid:
                    self._remember(question, call.cost, answer)
                elif row.unwritten and row.key_id is not None:
                    self._used.add(row.key_id)
                if not call.answer.done():
                    call.answer.set_result(answer)
        if again:
            await self._prepare(cursor.connection, list(again.values()))
        if self._used and time.monotonic() - self._written_at > _WRITE_S:
            self._start_writing()

    async def _prepare(
        self, conn: Connection, unanswered: Sequence[tuple[Question, list[_Call]]]
    ) -> None:
        """Make the meters of keys that have none, and ask about their calls again."""
        hashes = [text for question, _ in unanswered for text in question.hashes]
        await store.make_meters(conn, hashes)
        for _, calls in unanswered:
            for call in calls:
                call.round += 1
                if call.round > _ROUNDS:
                    _fail([call], Unavailable("The key's meter is gone.", code="keys_unmetered"))
                else:
                    self._waiting.append(call)

    def _start_writing(self) -> None:
        self._written_at = time.monotonic()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_last_use())

    async def _write_last_use(self) -> None:
        used, self._used = sorted(self._used), set()
        for first in range(0, len(used), _WRITTEN):
            try:
                async with self._deadline(), self._db.transaction() as conn:
                    await store.write_last_use(conn, used[first : first + _WRITTEN])
            except AegisError as error:
                # Meters know it, and the next use says it again.
                _log.warning(
                    "keys.last_use_unwritten", extra={"code": error.code, "why": error.message}
                )
                return

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.keys_timeout_s)


def _fail(batch: Sequence[_Call], error: AegisError) -> None:
    for call in batch:
        if not call.answer.done():
            call.answer.set_exception(type(error)(error.message, code=error.code))
