"""Where the nodes of a graph can lead, read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.workflows.control import PARALLEL
from aegis.workflows.models import CONTINUE, FAIL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.workflows.models import Edge, Graph

__all__ = ["Ways"]


class Ways:
    """Edges up to the first of a node that always holds, of `parallel` all, and `on_error`."""

    def __init__(self, graph: Graph) -> None:
        #: Edges that can be taken, by the node they leave.
        self.edges: dict[str, list[Edge]] = {name: [] for name in graph.nodes}
        shut: set[str] = set()
        for edge in graph.edges:
            if edge.source in self.edges and edge.source not in shut:
                self.edges[edge.source].append(edge)
                if edge.when is None and graph.nodes[edge.source].type != PARALLEL:
                    shut.add(edge.source)
        self.following: dict[str, list[str]] = {}
        for name, node in graph.nodes.items():
            targets = [edge.target for edge in self.edges[name]]
            if node.on_error not in (FAIL, CONTINUE):
                targets.append(node.on_error)
            self.following[name] = [target for target in targets if target in graph.nodes]

    def reachable(self, *starts: str) -> set[str]:
        """Return the nodes at `starts` and all that can come after them."""
        seen: set[str] = set()
        waiting = [start for start in starts if start in self.following]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.following[name]
        return seen

    def after(self, name: str) -> set[str]:
        """Return the nodes that can come after one; itself only by way of a circle."""
        return self.reachable(*self.following[name])

    def circles(self) -> list[set[str]]:
        """Return the sets of nodes that lead back to themselves (Kosaraju), without recursion."""
        back: dict[str, list[str]] = {name: [] for name in self.following}
        for name, targets in self.following.items():
            for target in targets:
                back[target].append(name)
        circles: list[set[str]] = []
        placed: set[str] = set()
        for root in reversed(self._finished()):
            members = _unplaced(root, back, placed)
            if len(members) > 1 or (members and root in self.following[root]):
                circles.append(members)
        return circles

    def _finished(self) -> list[str]:
        """Return the nodes in the order in which a walk in depth is done with them."""
        order: list[str] = []
        seen: set[str] = set()
        for start in self.following:
            waiting = [(start, False)]
            while waiting:
                name, done = waiting.pop()
                if done:
                    order.append(name)
                elif name not in seen:
                    seen.add(name)
                    waiting.append((name, True))
                    waiting += [(target, False) for target in self.following[name]]
        return order


def _unplaced(root: str, back: Mapping[str, list[str]], placed: set[str]) -> set[str]:
    members: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name not in placed:
            placed.add(name)
            members.add(name)
            waiting += back[name]
    return members
