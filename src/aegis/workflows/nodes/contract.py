"""What a type of node is, and what it gets when it runs.

Three ways to run. A `step` runs outside any transaction, at least once: a crash after it and
before its record runs it again, with the same idempotency key. A `database` step runs in the
transaction that records it, exactly once, and neither commits nor touches the network. A
`control` node is carried out by the engine; its type only checks parameters.

What a node raises tells whether another attempt is worth it: see `retryable`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aegis.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.memory import Memory
    from aegis.workflows.models import JSON, Problem

__all__ = ["NodeType", "Parts", "Runs", "Step", "TryLater", "retryable"]

#: How a type's nodes are run; see this module's first lines.
Runs = Literal["step", "database", "control"]


class Parts(Protocol):
    """What of the client a node may use; the client itself is one.

    Nodes of type `research` and `page_check` ask for its `research` and `intel`, where it has them.
    """

    @property
    def db(self) -> Database:
        """The pool."""
        ...

    @property
    def settings(self) -> Settings:
        """Settings as loaded."""
        ...

    @property
    def memory(self) -> Memory:
        """The agent's memory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One attempt at one node."""

    execution_id: str
    #: Name of the node.
    node: str
    #: Where in fan-outs it stands, such as `each[3]`; empty outside.
    branch: str
    #: Counted from 1.
    attempt: int
    #: With every `{{ expression }}` replaced.
    params: Mapping[str, JSON]
    #: What the execution was started with; not to be changed.
    input: Mapping[str, JSON]
    #: What expressions see: `input`, `nodes`, `item`, …; not to be changed.
    scope: Mapping[str, JSON]
    #: Same for each attempt at this node, branch and visit; other for every other.
    idempotency_key: str
    parts: Parts
    #: Open transaction; of `database` nodes only.
    conn: Connection | None = None
    #: Other things that an embedding program hands to its own types.
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


class NodeType(Protocol):
    """A type of node. Third parties name theirs in the entry-point group `aegis.nodes`."""

    @property
    def name(self) -> str:
        """What `type` in a definition says."""
        ...

    @property
    def runs(self) -> Runs:
        """How its nodes are run."""
        ...

    def check(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with parameters as written; `Problem.node` may stay empty.

        Text with `{{ … }}` may become anything and is not judged here.
        """
        ...

    async def run(self, step: Step) -> JSON:
        """Do it and return the node's result, which JSON can say.

        Control nodes are not run here.
        """
        ...


class TryLater(Unavailable):
    """A failure of the moment whose cause says how long to wait."""

    def __init__(self, message: str, *, after_s: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        #: Seconds; the next attempt is no sooner.
        self.after_s = after_s


#: No further attempt changes what these say.
_FINAL = (ConfigError, Conflict, InvalidInput, NotFound, PermissionDenied, Unauthenticated)


def retryable(error: BaseException, non_retryable: Sequence[str] = ()) -> bool:
    """Return whether another attempt may succeed; `non_retryable` are codes that may not."""
    if isinstance(error, _FINAL):
        return False
    return getattr(error, "code", None) not in non_retryable
