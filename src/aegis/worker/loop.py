"""The worker: claims due work of its kinds, runs it, keeps its leases, hands back what is not done.

Invariant: what runs here holds a lease that has not run out. A lease that was lost, or could not
be renewed in time, cancels the run before another worker may begin it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aegis.db.lease import LOST
from aegis.errors import AegisError
from aegis.security.audit.actor import Actor, act_as
from aegis.worker.held import Held, Holding
from aegis.worker.listener import listen
from aegis.worker.pacing import take_turn
from aegis.worker.store import workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Database
    from aegis.db.lease import Claim, Kind

__all__ = ["LEASE_S", "Worker"]

_log = logging.getLogger("aegis.worker")

#: Seconds of a lease; after so long the work of a killed worker goes on elsewhere.
LEASE_S: Final = 30.0
#: Of a lease: renewed after so much of it, and given up by its holder after so much.
_RENEW_AT, _GIVE_UP_AT = 1 / 3, 0.8
#: Seconds between looks: doubled from one to the other while what is due cannot be had. While
#: notifications come, nothing is asked before the next time that is known, or the longest of them:
#: looking finds what was made due without a notification.
_SHORTEST_S: Final = 0.1
_LONGEST_S: Final = 30.0
#: Times in a row that a kind with nothing due is asked for the next time alone; a claim may have
#: things of its own to do every now and then.
_MOST_ASKED: Final = 20
#: While notifications do not come, and while something due cannot be taken, at most.
_DEAF_S: Final = 2.0
#: Seconds that a claim under way has when the worker stops.
_CLAIM_S: Final = 5.0
#: Seconds until a renewal that failed is tried again.
_AGAIN_S: Final = 1.0


class Worker:
    """Runs `kinds`; `run` goes on until `stop`.

    `per_kind` and `per_key` limit by the kind's name what runs here at once, in all and of one key;
    they go before what kinds say of themselves.
    """

    def __init__(
        self,
        db: Database,
        kinds: Sequence[Kind],
        *,
        concurrency: int = 8,
        per_kind: Mapping[str, int] | None = None,
        per_key: Mapping[str, int] | None = None,
        lease_s: float = LEASE_S,
        grace_s: float = 5.0,
    ) -> None:
        #: The incarnation: never used twice, whatever ids processes and machines have.
        self.id = str(uuid.uuid4())
        self._db = db
        self._kinds = {kind.name: kind for kind in kinds}
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._held = Held(
            list(self._kinds),
            concurrency=concurrency,
            per_kind={**_own(kinds, "concurrency"), **(per_kind or {})},
            per_key={**_own(kinds, "per_key"), **(per_key or {})},
        )
        self._wake = {name: asyncio.Event() for name in self._kinds}
        self._renew_now = asyncio.Event()
        self._stopping = asyncio.Event()
        #: Kinds of which there is more than could be taken.
        self._hungry: set[str] = set()
        #: Of these, kinds that got no room at all: some may be given back without anything ending.
        self._starved: set[str] = set()
        self._listening = False
        self._done = 0

    def stop(self) -> None:
        """Have `run` end: nothing more is claimed, what runs has its grace and is handed back."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Work until `stop`, or until cancelled, which hands back what runs without grace."""
        grace_s = 0.0
        listening = asyncio.create_task(listen(self._db, told=self._told, connected=self._heard))
        leases = [asyncio.create_task(self._keep_leases()), asyncio.create_task(self._watch())]
        serving = [asyncio.create_task(self._serve(kind)) for kind in self._kinds.values()]
        stopped = asyncio.create_task(self._stopping.wait())
        _log.debug("worker.started", extra={"worker": self.id, "kinds": ",".join(self._kinds)})
        try:
            done, _ = await asyncio.wait(
                [listening, *leases, *serving, stopped], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                # None of them ends by itself but by a defect.
                task.result()
            grace_s = self._grace_s
        finally:
            self.stop()
            listening.cancel()
            stopped.cancel()
            # A claim that is cut off may be committed all the same, and held by nobody.
            if serving:
                await asyncio.wait(serving, timeout=_CLAIM_S)
            # The leases are kept to the last.
            await self._end([listening, *serving, *leases], grace_s)

    async def _end(self, beside: list[asyncio.Task[None]], grace_s: float) -> None:
        running = [holding for name in self._kinds for holding in self._held.of(name)]
        tasks = [holding.task for holding in running]
        if tasks and grace_s > 0:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._lease_s)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        # What does not heed its cancellation goes on, and is not for others before its lease ends.
        back = [h.claim for h in running if h.task.done() and h.task.cancelled() and not h.lost]
        for name, kind in self._kinds.items():
            await self._hand_back(kind, [claim for claim in back if claim.kind == name])
        with suppress(AegisError):
            async with self._db.transaction() as conn:
                await workers.stop(conn, self.id, done=self._done)
        level = logging.INFO if back else logging.DEBUG
        _log.log(level, "worker.stopped", extra={"worker": self.id, "handed_back": len(back)})

    async def _hand_back(self, kind: Kind, claims: list[Claim]) -> None:
        if not claims:
            return
        try:
            await kind.release(claims)
        except AegisError as error:
            # The leases run out, which comes to the same.
            told = {"kind": kind.name, "code": error.code, "why": error.message}
            _log.warning("worker.release_failed", extra=told)

    def _told(self, payload: str) -> None:
        if payload.endswith(LOST):
            if payload.removesuffix(LOST) in self._kinds:
                self._renew_now.set()
        elif payload in self._wake:
            self._wake[payload].set()

    def _heard(self, is_connected: bool) -> None:
        self._listening = is_connected
        for event in self._wake.values():
            event.set()

    async def _serve(self, kind: Kind) -> None:
        """Claim what is due of one kind until the worker stops."""
        wake = self._wake[kind.name]
        idle_s = _SHORTEST_S
        asked = 0
        while not self._stopping.is_set():
            # Nobody said that there is more: to ask when something is due costs less than a claim.
            quiet = self._listening and not wake.is_set() and 0 < asked < _MOST_ASKED
            wake.clear()
            try:
                pause = await self._wait_s(kind) if quiet else 0.0
                asked = asked + 1 if pause > 0 else 1
                if pause <= 0:
                    pause = await self._look(kind, idle_s)
            except AegisError as error:
                told = {"kind": kind.name, "code": error.code, "why": error.message}
                _log.warning("worker.claim_failed", extra=told)
                pause = min(max(idle_s, 0.5), _DEAF_S)
            except Exception:  # noqa: BLE001 (a kind's defect is logged, and the rest goes on)
                # One kind's defect must not keep the others from their work.
                _log.exception("worker.kind_failed", extra={"kind": kind.name})
                pause = max(idle_s, _DEAF_S)
                asked = 0
            idle_s = min(idle_s * 2, _LONGEST_S)
            if pause <= 0:
                await asyncio.sleep(0)
                idle_s = _SHORTEST_S
                asked = 0
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), pause)
                idle_s = _SHORTEST_S

    async def _wait_s(self, kind: Kind) -> float:
        """Return the seconds until something is due, or until the next look; 0 for now."""
        due_s = await kind.next_due()
        return _LONGEST_S if due_s is None else min(due_s, _LONGEST_S)

    async def _look(self, kind: Kind, idle_s: float) -> float:
        """Claim once and return the seconds until the next time; 0 where there may be more."""
        room, taken = await self._claim(kind)
        # Whoever did not get all that there is looks again when a place, or a key, is free.
        self._hungry.add(kind.name)
        if not room:
            return _LONGEST_S
        if taken >= room:
            return 0.0
        due_s = await kind.next_due()
        if due_s is not None and due_s <= 0:
            # Due, and not to be had: others are at it, or its key is busy.
            return _SHORTEST_S if taken else min(idle_s, _DEAF_S)
        self._hungry.discard(kind.name)
        # Who hears of what becomes due need not ask; who does not asks often at first.
        longest = _LONGEST_S if self._listening else min(idle_s, _DEAF_S)
        return longest if due_s is None else min(due_s, longest)

    async def _claim(self, kind: Kind) -> tuple[int, int]:
        """Claim and start what there is room for; return the room and how many were taken."""
        room = self._held.take_room(kind.name)
        if not room:
            self._starved.add(kind.name)
            return 0, 0
        before = time.monotonic()
        try:
            claims = await kind.claim(
                self.id,
                limit=room,
                lease_s=self._lease_s,
                without_keys=self._held.full_keys(kind.name),
            )
        finally:
            self._give_room(kind.name, room)
        too_many: list[Claim] = []
        for claim in claims:
            before_it = self._held.other_attempts(claim)
            for holding in before_it:
                # Its lease ran out unnoticed, as when the clock of the server was set.
                self._lose(holding)
            if not before_it and self._held.admits(claim):
                self._start(kind, claim, before)
            else:
                too_many.append(claim)
        await self._hand_back(kind, too_many)
        return room, len(claims)

    def _give_room(self, kind: str, room: int) -> None:
        self._held.give_room(kind, room)
        for name in self._starved:
            self._wake[name].set()
        self._starved.clear()

    def _start(self, kind: Kind, claim: Claim, before: float) -> None:
        task = asyncio.create_task(self._run(kind, claim))
        holding = Holding(claim=claim, task=task, renewed=before)
        self._held.add(holding)
        task.add_done_callback(lambda _: self._ended(holding))

    def _ended(self, holding: Holding) -> None:
        self._held.remove(holding)
        if not holding.task.cancelled():
            self._done += 1
        for name in self._hungry:
            self._wake[name].set()

    async def _run(self, kind: Kind, claim: Claim) -> None:
        act_as(Actor(kind="worker", face="worker", id=f"{kind.name}:{claim.id}"))
        try:
            if claim.provider is not None:
                await take_turn(self._db, claim.provider)
            await kind.run(claim)
        except Exception:  # noqa: BLE001 (a kind's defect is logged, and the rest goes on)
            told = {"kind": kind.name, "id": claim.id, "token": claim.token}
            _log.exception("worker.run_failed", extra=told)

    async def _keep_leases(self) -> None:
        """Register, and renew all leases every now and then, for ever."""
        registered = False
        while True:
            pause = self._lease_s * _RENEW_AT
            try:
                registered = await self._see(registered)
            except AegisError as error:
                told = {"code": error.code, "why": error.message}
                _log.warning("worker.heartbeat_failed", extra=told)
                pause = min(_AGAIN_S, pause)
            if not all(await asyncio.gather(*map(self._renew, self._kinds.values()))):
                pause = min(_AGAIN_S, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._renew_now.wait(), pause)
            self._renew_now.clear()

    async def _watch(self) -> None:
        """Cancel what could not be renewed in time, whatever the database does, for ever."""
        while True:
            await asyncio.sleep(self._lease_s / 15)
            before = time.monotonic() - self._lease_s * _GIVE_UP_AT
            for kind in self._kinds:
                for holding in self._held.of(kind):
                    if holding.renewed < before:
                        self._lose(holding)

    def _lose(self, holding: Holding) -> None:
        if holding.lost or holding.task.done():
            return
        holding.lost = True
        claim = holding.claim
        told = {"kind": claim.kind, "id": claim.id, "token": claim.token}
        _log.warning("worker.lease_lost", extra=told)
        holding.task.cancel()

    async def _see(self, registered: bool) -> bool:
        async with self._db.transaction() as conn:
            if not registered:
                await workers.register(
                    conn,
                    self.id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    kinds=sorted(self._kinds),
                    concurrency=self._concurrency,
                )
                return True
            return await workers.see(conn, self.id, running=self._held.count(), done=self._done)

    async def _renew(self, kind: Kind) -> bool:
        """Renew the leases of one kind and cancel what is lost; False where that failed."""
        held = self._held.of(kind.name)
        if not held:
            return True
        before = time.monotonic()
        try:
            kept = await kind.renew([h.claim for h in held], lease_s=self._lease_s)
        except AegisError as error:
            told = {"kind": kind.name, "code": error.code, "why": error.message}
            _log.warning("worker.renew_failed", extra=told)
            return False
        except Exception:  # noqa: BLE001 (a kind's defect is logged, and the rest goes on)
            _log.exception("worker.kind_failed", extra={"kind": kind.name})
            return False
        for holding in held:
            if holding.claim.id in kept:
                holding.renewed = before
            else:
                self._lose(holding)
        return True


def _own(kinds: Sequence[Kind], limit: str) -> dict[str, int]:
    """Return a limit that some kinds have, by their names."""
    said = {kind.name: getattr(kind, limit, None) for kind in kinds}
    return {name: most for name, most in said.items() if most is not None}
