"""Who acts: set by each face at its edge, read where a row is noted. Imports next to nothing."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "ACTOR_KINDS",
    "FACES",
    "Actor",
    "ActorKind",
    "Face",
    "act_as",
    "acting_as",
    "actor",
    "login",
]

ActorKind = Literal["operator", "key", "cli", "mcp", "worker", "service", "library"]
Face = Literal["cli", "http", "mcp", "worker", "library"]

ACTOR_KINDS: Final[tuple[ActorKind, ...]] = (
    "operator",
    "key",
    "cli",
    "mcp",
    "worker",
    "service",
    "library",
)
FACES: Final[tuple[Face, ...]] = ("cli", "http", "mcp", "worker", "library")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and through what."""

    kind: ActorKind
    face: Face
    #: Id of the key, the job; never a secret. None for the login name where it is a person.
    id: str | None = None
    #: Of a request over HTTP.
    request_id: str | None = None


_LIBRARY: Final = Actor(kind="library", face="library")
_actor: ContextVar[Actor] = ContextVar("aegis_actor", default=_LIBRARY)


def actor() -> Actor:
    """Return who acts here; a program that uses the library where nobody said otherwise."""
    return _actor.get()


@contextmanager
def acting_as(who: Actor) -> Generator[None]:
    """Say who acts in a block, and in the tasks that begin there."""
    token = _actor.set(who)
    try:
        yield
    finally:
        _actor.reset(token)


def act_as(who: Actor) -> None:
    """Say who acts from here on, for the rest of a process or task."""
    _actor.set(who)


def login() -> str:
    """Return `user@host` of this process."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user need not have a name.
        import os

        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
