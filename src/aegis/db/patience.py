"""Connections that do not wait for ever for a server that stands still.

A statement's time-out is the server's, and a server that is stopped (frozen, swapped out, behind a
cable that was pulled) keeps none. Keep-alives do not help: the kernel of a stopped process answers
them. So a statement that takes long is waited for as long as the server answers others: now and
then it is asked for another connection. When it gives none in time, twice in a row, the line is
cut, and the statement ends as with any connection that was lost.

One that starts or recovers says so, and is asked again for a while.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import TupleRow

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Generator, Mapping

__all__ = [
    "PatientConnection",
    "asker",
    "connect",
    "connect_blocking",
    "cut",
    "let_go",
    "patiently",
]

Made = TypeVar("Made", bound=psycopg.Connection[TupleRow])

#: Seconds that a statement takes before somebody asks whether the server is still there.
LOOK_S = 3.0
#: Seconds between such questions at most; they come ever more rarely.
LONGEST_S = 60.0
_SILENT = 2
#: Seconds for which long work waits for a server that stands still; requests wait for less.
WORK_SILENCE_S = 30.0
#: Seconds within which a server takes the wish that a statement end.
CANCEL_S = 2.0
#: Seconds that one attempt to connect takes, where somebody may want to leave meanwhile.
_ATTEMPT_S = 5
#: Seconds until a server that recovers is asked again, and in all: after a crash it gives its own
#: processes five seconds to end before it kills them, and replays what they wrote.
AGAIN_S = 0.1
RECOVERS_S = 15.0
#: What it says; libpq passes no SQLSTATE of a connection on.
_NOT_YET = "the database system is"


class PatientConnection(psycopg.AsyncConnection[TupleRow]):
    """A connection that is cut when its server answers nobody."""

    #: Tells whether the server answers at all; without it, nobody asks.
    answers: Callable[[], Awaitable[bool]] | None = None
    #: Seconds for which it is waited for at least while it answers nobody.
    silence_s: float = 0.0

    async def wait(self, *arguments: Any, **more: Any) -> Any:
        """Consume a generator of the driver's, as its base does."""
        answers = self.answers
        if answers is None:
            return await super().wait(*arguments, **more)
        loop = asyncio.get_running_loop()
        watching: list[asyncio.Task[None]] = []

        def begin() -> None:
            watching.append(loop.create_task(_watch(self.pgconn.socket, answers, self.silence_s)))

        timer = loop.call_later(LOOK_S, begin)
        try:
            return await super().wait(*arguments, **more)
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()

    async def cancel_safe(self, *, timeout: float = CANCEL_S) -> None:
        """Ask the server to end the statement; where it does not even take that, the line is cut.

        So Ctrl-C is not kept waiting by a server that stands still.
        """
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_S))
        except psycopg.errors.CancellationTimeout:
            cut(self.pgconn.socket)
            raise


@contextmanager
def patiently(conn: psycopg.AsyncConnection[TupleRow]) -> Generator[None]:
    """Have a connection wait as long work does for a server that stands still."""
    assert isinstance(conn, PatientConnection)
    conn.silence_s = WORK_SILENCE_S
    try:
        yield
    finally:
        conn.silence_s = 0.0


async def connect(dsn: str, **arguments: Any) -> psycopg.AsyncConnection[TupleRow]:
    """Connect as psycopg does; a server that starts or recovers is waited for."""
    since = time.monotonic()
    while True:
        try:
            return await psycopg.AsyncConnection.connect(dsn, **arguments)
        except psycopg.OperationalError as error:
            if not _recovers(error, since):
                raise
            await asyncio.sleep(AGAIN_S)


def connect_blocking(
    dsn: str,
    *,
    made_by: type[Made],
    within_s: float,
    leaving: threading.Event | None = None,
    **arguments: Any,
) -> Made:
    """Do what `connect` does, in the calling thread, and wait `within_s` for one that is silent.

    Once `leaving` is set, it is not asked again.
    """
    since = time.monotonic()
    once_s = within_s if leaving is None else min(within_s, _ATTEMPT_S)
    while True:
        try:
            return made_by.connect(dsn, connect_timeout=max(2, round(once_s)), **arguments)
        except psycopg.OperationalError as error:
            silent = isinstance(error, psycopg.errors.ConnectionTimeout)
            again = silent and time.monotonic() - since < within_s
            if (leaving is not None and leaving.is_set()) or not (again or _recovers(error, since)):
                raise
            let_go(error)
            time.sleep(AGAIN_S)


def let_go(error: psycopg.Error) -> None:
    """Close the connection that was not to be had in time.

    It is held by a frame that its own error refers to, until the garbage is collected: when the
    server goes on, it would find somebody there, who is in the way of whoever drops the database.
    """
    error.__traceback__ = None


def _recovers(error: psycopg.OperationalError, since: float) -> bool:
    return _NOT_YET in str(error) and time.monotonic() - since < RECOVERS_S


def asker(
    address: Callable[[], str], arguments: Mapping[str, Any]
) -> Callable[[], Awaitable[bool]]:
    """Return what asks a server for a connection and tells whether it answered, be it with no."""

    async def answers() -> bool:
        try:
            probe = await psycopg.AsyncConnection.connect(address(), **arguments)
        except psycopg.errors.ConnectionTimeout as error:
            let_go(error)
            return False
        except psycopg.Error as error:
            # Nobody takes in whoever queues at its socket.
            return os.strerror(errno.EAGAIN) not in str(error)
        await probe.close()
        return True

    return answers


async def _watch(descriptor: int, answers: Callable[[], Awaitable[bool]], silence_s: float) -> None:
    pause, silent = LOOK_S, 0
    since = time.monotonic()
    while True:
        began = time.monotonic()
        if await answers():
            silent = 0
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_S)
            continue
        silent += 1
        since = began if silent == 1 else since
        if silent >= _SILENT and time.monotonic() - since >= silence_s:
            cut(descriptor)
            return
        if silence_s and time.monotonic() - began < 1:
            # It is said at once that nobody takes in who queues.
            await asyncio.sleep(1)


def cut(descriptor: int) -> None:
    """End a connection for both sides; whoever reads from it finds its end at once."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
        line.shutdown(socket.SHUT_RDWR)
