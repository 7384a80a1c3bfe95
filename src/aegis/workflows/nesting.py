"""Which nodes stand inside which fan-outs, and whether that is one answer for each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.workflows.control import FAN_OUT, FANS, JOIN
from aegis.workflows.models import CONTINUE, FAIL, Problem

if TYPE_CHECKING:
    from aegis.workflows.models import Graph

__all__ = ["Nesting"]

#: Fan-outs in fan-outs.
_MOST_DEEP = 5


class Nesting:
    """For each node the fan-outs around it, outermost first; a join stands outside its own."""

    def __init__(self, graph: Graph) -> None:
        self.problems: list[Problem] = []
        self._graph = graph
        self._around: dict[str, tuple[str, ...]] = {}
        self._walk()

    def has_item(self, node: str) -> bool:
        """Return whether a node runs for one item of a list; branches of `parallel` have none."""
        return any(self._graph.nodes[n].type == FAN_OUT for n in self._around.get(node, ()))

    def sees(self, node: str, other: str) -> bool:
        """Return whether the result of `other` can be named at `node`."""
        around = self._around.get(other, ())
        return self._around.get(node, ())[: len(around)] == around

    def _walk(self) -> None:
        waiting: list[tuple[str, tuple[str, ...]]] = [(self._graph.start, ())]
        while waiting:
            name, arrived = waiting.pop(0)
            node = self._graph.nodes.get(name)
            if node is None:
                continue
            if node.type == JOIN:
                if not arrived:
                    self._say(name, "is a join outside every fan_out and parallel; remove it")
                around = arrived[:-1]
            else:
                around = arrived
            if name in self._around:
                if self._around[name] != around:
                    self._say(
                        name,
                        "is reached from inside and from outside of a fan-out; give each its own",
                    )
                continue
            self._around[name] = around
            inner = (*around, name) if node.type in FANS else around
            if len(inner) > _MOST_DEEP:
                self._say(name, f"stands in more than {_MOST_DEEP} fan-outs; use a sub_workflow")
                continue
            waiting += [(edge.target, inner) for edge in self._graph.edges_from(name)]
            if node.on_error not in (FAIL, CONTINUE):
                waiting.append((node.on_error, around))

    def _say(self, node: str, message: str) -> None:
        problem = Problem(node=node, field="edges", message=message)
        if problem not in self.problems:
            self.problems.append(problem)
