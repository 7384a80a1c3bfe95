"""Shapes of a workflow as written: nodes, edges, and what is wrong with them.

A node that finished is left by the first of its edges, in their order, whose `when` holds or is
missing, a `parallel` by all of them; a node that no edge leaves ends its branch. Where nodes'
results and the input are named in expressions: `input`, `nodes.NAME`, `item` and `index` (inside a
fan-out), `execution`, and `error` (in what `on_error` leads to).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "CONTINUE",
    "FAIL",
    "JSON",
    "Definition",
    "DefinitionStatus",
    "Edge",
    "Graph",
    "Node",
    "Problem",
    "Retry",
]

#: What JSON can say: objects with text keys, lists, text, numbers, booleans, null.
JSON: TypeAlias = Any

#: States of a version of a workflow: only `active` ones are started.
DefinitionStatus = Literal["active", "archived"]

#: Values of `Node.on_error` that are no names of nodes; no node may be called so.
FAIL = "fail"
CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a step is tried, and how long between: `first_s * factor**n`, up to `max_s`."""

    #: Tries in total, 1 to 100; 1 is no retry.
    attempts: int = 3
    #: Seconds before the second try.
    first_s: float = 1.0
    #: 1 to 10.
    factor: float = 2.0
    #: Longest pause in seconds.
    max_s: float = 300.0
    #: Codes of errors (`AegisError.code`) after which no further try is made, beside the kinds
    #: that no try can mend.
    non_retryable: Sequence[str] = ()

    def pause_s(self, attempt: int) -> float:
        """Return seconds to wait after the failed try `attempt`, counted from 1."""
        try:
            pause = self.first_s * self.factor ** (attempt - 1)
        except OverflowError:
            return self.max_s
        return min(pause, self.max_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing to do."""

    #: 1 to 100 of letters, digits, `_` and `-`, a letter first; unique in its graph.
    name: str
    #: Name of a node type.
    type: str
    #: As written: text may hold `{{ expression }}`, resolved before each attempt.
    params: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    retry: Retry = field(default_factory=Retry)
    #: Seconds that one attempt may take; None leaves it to the setting.
    timeout_s: float | None = None
    #: After the last attempt: `FAIL` the execution; `CONTINUE` with `{"error": {"code",
    #: "message"}}` as the node's result; else the node to go to.
    on_error: str = FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A way from one node to another; in files `from` and `to`."""

    source: str
    target: str
    #: CEL; None always holds.
    when: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A workflow as data, checked or not; `definition.check` tells what is wrong."""

    name: str
    #: Name of the first node.
    start: str
    nodes: Mapping[str, Node]
    edges: Sequence[Edge] = ()
    description: str = ""
    #: Seconds that an execution may take from its start; None for no limit.
    deadline_s: float | None = None
    #: Values of `input` that a start may leave out.
    defaults: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    #: Names that `input` must have at the start.
    required: Sequence[str] = ()
    #: CEL for what the execution returns; None returns the last node's result.
    output: str | None = None

    def edges_from(self, name: str) -> Sequence[Edge]:
        """Return the edges that leave a node, in the order in which they are tried."""
        return [edge for edge in self.edges if edge.source == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a graph."""

    #: Name of the node; empty for the graph as a whole.
    node: str
    #: Where, such as `params.url`, `edges[2].when`, `start`.
    field: str
    #: What is wrong, which value, what to do; one line.
    message: str

    def __str__(self) -> str:
        """Return `node NAME, FIELD: message`."""
        place = ", ".join(p for p in (self.node and f"node {self.node}", self.field) if p)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One stored version of a workflow; it never changes but for its status."""

    id: str
    name: str
    #: 1, 2, … within a name.
    version: int
    graph: Graph
    status: DefinitionStatus
    created_at: datetime
