"""Blocking work on a server that may come to stand still: connections, and programs beside them.

`patience.py` says why somebody has to ask. Here there is no event loop: whoever waits looks up now
and then, and a thread of its own asks. Long work is more patient than a request: a server that
stands still for less than `SILENCE_S`, as one that is moved to another machine, is waited for.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import TupleRow

from aegis.db.patience import (
    CANCEL_S,
    LONGEST_S,
    LOOK_S,
    WORK_SILENCE_S,
    connect_blocking,
    let_go,
)
from aegis.db.translate import redact
from aegis.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["GIVING_UP", "Vigil", "WatchedConnection", "answers", "open_watched", "wait_for"]

#: Seconds that one question waits for its answer, and one of somebody who wants to leave.
ASK_S: Final = 10
LAST_ASK_S: Final = 2
#: Seconds that a statement has to end once it was cancelled.
GRACE_S: Final = 3.0
#: How often a program is looked at; psycopg looks at its connections ten times a second.
_TURN_S: Final = 0.2

#: Set where the work is not wanted any more: nobody is waited for long from then on.
GIVING_UP: ContextVar[threading.Event | None] = ContextVar("giving_up", default=None)


class _Silent(psycopg.OperationalError):
    """The server stands still."""


class Vigil:
    """Whether a server still answers anybody; asked by whoever waits for it, as long as he waits.

    One that is asked ever more rarely while it answers, and again at once while it does not.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._leaving = GIVING_UP.get()
        self.begin()

    def begin(self) -> None:
        """Begin to wait for something else."""
        self._pause = LOOK_S
        self._next = time.monotonic() + self._pause
        #: Since when it has answered nobody; None while it answers.
        self._since: float | None = None
        self._hasty = False
        self._question: _Question | None = None

    def silent(self) -> bool:
        """Return whether it has answered nobody for so long that nobody need wait; ask if due."""
        now = time.monotonic()
        if not self._hasty and self._leaving is not None and self._leaving.is_set():
            # What is being asked would take too long.
            self._hasty, self._question, self._next = True, None, now
        question = self._question
        if question is None:
            if now >= self._next:
                self._question = _Question(self.dsn, LAST_ASK_S if self._hasty else ASK_S)
            return False
        if question.answered is None:
            return False
        self._question = None
        if question.answered:
            self._since = None
            self._next = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_S)
            return False
        self._since = self._since or question.began
        # Where nobody takes in who queues, that is said at once.
        self._next = now + (0 if now - question.began > 1 else 1)
        return self._hasty or now - self._since >= WORK_SILENCE_S

    def __str__(self) -> str:
        since = time.monotonic() - (self._since or time.monotonic())
        return f"it stands still, and has answered nobody for {since:.0f} s"


class _Question:
    """Somebody asks for a connection, in a thread that holds nobody up."""

    def __init__(self, dsn: str, within_s: int) -> None:
        self.answered: bool | None = None
        self.began = time.monotonic()
        self._dsn, self._within_s = dsn, within_s
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        self.answered = answers(self._dsn, self._within_s)


def answers(dsn: str, within_s: int = LAST_ASK_S) -> bool:
    """Return whether a server answers who asks for a connection, be it with no."""
    try:
        psycopg.connect(dsn, connect_timeout=within_s, application_name="aegis-vigil").close()
    except psycopg.errors.ConnectionTimeout as error:
        let_go(error)
        return False
    except psycopg.Error as error:
        # Nobody takes in whoever queues at its socket.
        return os.strerror(errno.EAGAIN) not in str(error)
    return True


class WatchedConnection(psycopg.Connection[TupleRow]):
    """A connection whose statements end when its server answers nobody, or nobody wants them."""

    vigil: Vigil | None = None
    #: Set: the statement is cancelled, and so is any other from then on.
    stop: threading.Event | None = None
    _cancelled_at: float | None = None

    def wait(self, gen: Any, *arguments: Any, **more: Any) -> Any:
        """Consume a generator of the driver's, as its base does."""
        if self.vigil is None:
            return super().wait(gen, *arguments, **more)
        self.vigil.begin()
        self._cancelled_at = None
        return super().wait(self._watched(gen), *arguments, **more)

    def cancel_safe(self, *, timeout: float = CANCEL_S) -> None:
        """Ask the server to end the statement; one that does not in time loses its connection."""
        self._cancelled_at = time.monotonic()
        try:
            super().cancel_safe(timeout=min(timeout, CANCEL_S))
        except psycopg.errors.CancellationTimeout:
            self._cancelled_at -= GRACE_S
            raise

    def _watched(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            state = next(steps)
            while True:
                ready = yield state
                try:
                    if not ready:
                        self._look()
                except _Silent as silent:
                    # Nobody knows where it stands. A rollback does not mind.
                    self.pgconn.finish()
                    steps.throw(silent)
                    raise
                state = steps.send(ready)
        except StopIteration as end:
            return end.value

    def _look(self) -> None:
        """Look up from waiting: is it still wanted, does the server still answer?"""
        if self._cancelled_at is not None:
            if time.monotonic() - self._cancelled_at >= GRACE_S:
                raise _Silent("it was asked to end a statement, and did not")
        elif self.stop is not None and self.stop.is_set():
            self._try_to_cancel()
        elif self.vigil is not None and self.vigil.silent():
            raise _Silent(str(self.vigil))

    def _try_to_cancel(self) -> None:
        try:
            self.cancel_safe()
        except psycopg.Error:
            # It stands still, or the statement is over: what `_look` finds next.
            return


def open_watched(
    dsn: str, *, within_s: float, stop: threading.Event | None = None, **arguments: Any
) -> WatchedConnection:
    """Connect, and have every statement watched; with `stop`, it cancels them.

    A server that starts, recovers, or stands still for less than `within_s` is waited for.
    """
    leaving = stop or GIVING_UP.get()
    conn = connect_blocking(
        dsn, within_s=within_s, leaving=leaving, made_by=WatchedConnection, **arguments
    )
    conn.vigil = Vigil(dsn)
    conn.stop = stop
    return conn


def wait_for(
    process: subprocess.Popen[Any],
    dsn: str | None,
    turn: Callable[[], None] | None = None,
) -> None:
    """Wait for a program's end; `turn` is called now and then, and may raise to end the wait.

    Raises:
        Unavailable: `db_unreachable`, the server that it works on stands still.
    """
    vigil = None if dsn is None else Vigil(dsn)
    while True:
        try:
            process.wait(_TURN_S)
        except subprocess.TimeoutExpired:
            if turn is not None:
                turn()
            if vigil is not None and vigil.silent():
                raise Unavailable(
                    f"PostgreSQL at {redact(vigil.dsn)} does not answer: {vigil}. Try again when "
                    "it does.",
                    code="db_unreachable",
                ) from None
        else:
            return
