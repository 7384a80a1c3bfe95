"""Which namespaces whoever asks is bound to; everybody else is let into any.

Set by a face for the time of one request (`bound`), read where a namespace is accepted
(`validate.check_namespace`, `namespace_of`): what a caller leaves out becomes the first namespace
of theirs, and what they name has to be one of them. Invariant: within `bound`, no function of a
domain works in another namespace, whatever the face forgot.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["Bounds", "bound", "bounds", "home", "require"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The namespaces of one request, the default one first."""

    namespaces: Sequence[str]
    #: Those that may be changed.
    writable: frozenset[str]
    #: Whether the request may change anything.
    writes: bool


_bounds: ContextVar[Bounds | None] = ContextVar("aegis_bounds", default=None)


def bounds() -> Bounds | None:
    """Return what whoever asks is bound to; None for nothing."""
    return _bounds.get()


@contextmanager
def bound(given: Bounds | None) -> Generator[None]:
    """Bind everything in the block, and what it starts, to namespaces."""
    token = _bounds.set(given)
    try:
        yield
    finally:
        _bounds.reset(token)


def home(default: str) -> str:
    """Return the namespace of who names none: `default`, or the first they are bound to.

    Raises:
        PermissionDenied: they may only read it, and the request may change it.
    """
    now = _bounds.get()
    if now is None:
        return default
    return require(now.namespaces[0])


def require(namespace: str) -> str:
    """Return `namespace` if whoever asks may work in it.

    Raises:
        PermissionDenied: they may not; whether there is such a namespace is not told.
    """
    now = _bounds.get()
    if now is None or namespace in (now.writable if now.writes else now.namespaces):
        return namespace
    reads = ", but only reads it" if namespace in now.namespaces else ""
    raise PermissionDenied(
        f"The key is bound to {', '.join(now.namespaces)}; it may not work in {namespace!r}"
        f"{reads}.",
        code="namespace_denied",
    )
