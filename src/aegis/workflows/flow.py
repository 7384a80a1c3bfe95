"""Where an execution stands, folded from its recorded steps: no clock, no database, no network.

`Flow.apply` is the only thing that moves it, and takes nothing but records, so that a worker that
takes over knows exactly what the last one knew. Records name the node that follows: no expression
is evaluated again, and nothing has to be deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from aegis.workflows.control import CONTROL, FANS, JOIN, MOST_CONCURRENCY, PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from aegis.workflows.execution import StepRecord
    from aegis.workflows.models import JSON, Graph, Node

__all__ = ["Fan", "Flow", "Place", "join_of", "parent_of"]

#: `ready`: its node is to be run. `fanned`: its branches are under way.
PlaceState = Literal["ready", "waiting", "retrying", "failed", "fanned"]


@dataclass(slots=True)
class Place:
    """Where one branch stands."""

    branch: str
    node: str
    visit: int
    #: The attempt that comes next.
    attempt: int = 1
    state: PlaceState = "ready"
    #: Of `retrying` and `waiting`.
    due_at: datetime | None = None
    #: What it waits for, as its record says.
    waits_for: Any = None
    #: Attempts before a person said to try again.
    spent: int = 0


@dataclass(slots=True)
class Fan:
    """Branches of one fan-out, of which `concurrency` are under way at once.

    The items of a `parallel` node are the names of the nodes that its branches begin with.
    """

    node: str
    #: The branch that fanned out.
    branch: str
    #: Where each item's way begins.
    first: str | None
    #: Where they meet; None where they just end.
    join: str | None
    items: list[Any]
    concurrency: int
    #: Whether a branch that fails is a result.
    collect: bool
    started: int = 0
    results: dict[int, Any] = field(default_factory=dict[int, Any])
    #: Whether it is of a `parallel` node.
    ways: bool = False

    def name(self, index: int) -> str:
        """Return the branch of an item."""
        own = f"{self.node}[{index}]"
        return f"{self.branch}/{own}" if self.branch else own

    def begins_at(self, index: int) -> str | None:
        """Return the first node of a branch; None where it ends at once."""
        return self.items[index] if self.ways else self.first

    def joined(self) -> list[Any] | dict[str, Any]:
        """Return the results in the order of the items, of `parallel` by the first nodes."""
        results = [self.results[index] for index in range(len(self.items))]
        return dict(zip(self.items, results, strict=True)) if self.ways else results


class Flow:
    """The state of one execution."""

    def __init__(self, graph: Graph, input: Mapping[str, JSON]) -> None:
        self.graph = graph
        self.input: dict[str, JSON] = dict(input)
        self.places: dict[str, Place] = {}
        #: Fan-outs under way, by the branch that fanned out.
        self.fans: dict[str, Fan] = {}
        #: Results of nodes by branch; "" is the execution itself.
        self.results: dict[str, dict[str, JSON]] = {"": {}}
        #: What an `on_error` that leads elsewhere is told, by branch.
        self.errors: dict[str, dict[str, JSON]] = {}
        #: Number of the latest record.
        self.seq = 0
        #: Node at which it failed, the code and what went wrong.
        self.failure: tuple[str, str, str] | None = None
        self.finished = False
        #: Result of the last node.
        self.result: JSON = None
        #: The node it is at, or ended at.
        self.current = graph.start
        self._visits: dict[tuple[str, str], int] = {}
        self._last: dict[str, JSON] = {}
        self._enter("", graph.start)

    @classmethod
    def of(cls, graph: Graph, input: Mapping[str, JSON], records: Iterable[StepRecord]) -> Flow:
        """Return the state after these records, which are in order of `seq`."""
        flow = cls(graph, input)
        for record in records:
            flow.apply(record)
        return flow

    def apply(self, record: StepRecord) -> None:
        """Take in what happened."""
        self.seq = max(self.seq, record.seq)
        if record.status == "resumed":
            self.input = {**self.input, **(record.output or {})}
            self._count(record)
            return
        if record.status == "retried":
            self._count(record)
            asked: dict[str, Any] = record.input or {}
            self._retry(asked.get("from_node"), asked.get("again") or [])
            return
        place = self.places.get(record.branch)
        if place is None or place.node != record.node:
            # Its branch was given up, or a person said to begin elsewhere.
            return
        if record.status == "waiting":
            place.state = "waiting"
            place.due_at, place.waits_for = record.due_at, record.input
        elif record.status == "retrying":
            place.state, place.due_at = "retrying", record.due_at
            place.attempt = record.attempt + 1
        elif record.status == "completed" or record.output is not None:
            self._leave(place, record.output, record.next_node)
        else:
            self._failed(place, record)
        root = self.places.get("")
        if root is not None:
            self.current = root.node

    def node(self, place: Place) -> Node:
        """Return the node at which a branch stands."""
        return self.graph.nodes[place.node]

    def scope(self, branch: str, **results: JSON) -> dict[str, JSON]:
        """Return what expressions in a branch see; `results` are of nodes about to be left."""
        nodes: dict[str, JSON] = dict(self.results[""])
        scope: dict[str, JSON] = {"input": self.input}
        if branch:
            path = ""
            for part in branch.split("/"):
                path = f"{path}/{part}" if path else part
                nodes.update(self.results.get(path, {}))
                fan = self.fans[parent_of(path)]
                if not fan.ways:
                    index = index_of(path)
                    scope["item"], scope["index"] = fan.items[index], index
        nodes.update(results)
        scope["nodes"] = nodes
        if branch in self.errors:
            scope["error"] = self.errors[branch]
        return scope

    def _count(self, record: StepRecord) -> None:
        self._visits[record.branch, record.node] = record.visit

    def visits(self, branch: str, node: str) -> int:
        """Return how often a branch entered a node."""
        return self._visits.get((branch, node), 0)

    def _enter(self, branch: str, node: str) -> None:
        visit = self._visits.get((branch, node), 0) + 1
        self._visits[branch, node] = visit
        self.places[branch] = Place(branch=branch, node=node, visit=visit)

    def _leave(self, place: Place, output: JSON, following: str | None) -> None:
        self.results.setdefault(place.branch, {})[place.node] = output
        self._last[place.branch] = output
        node = self.node(place)
        if node.type in FANS and isinstance(output, list):
            items = cast("list[Any]", output)
            place.state = "fanned"
            self.fans[place.branch] = fan = _fan(self.graph, node, place, items, following)
            self._fill(fan)
            return
        if node.type == JOIN:
            self.fans.pop(place.branch, None)
        self._go(place.branch, following)

    def _go(self, branch: str, following: str | None) -> None:
        if following is None or (branch and self.graph.nodes[following].type == JOIN):
            self._end(branch, self._last.get(branch))
        else:
            self._enter(branch, following)

    def _end(self, branch: str, result: JSON) -> None:
        if not branch:
            self.places.pop("", None)
            self.finished, self.result = True, result
            return
        fan = self.fans[parent_of(branch)]
        fan.results[index_of(branch)] = result
        self._drop(branch)
        self._fill(fan)

    def _drop(self, branch: str) -> None:
        """Forget a branch and those that it fanned out into."""
        under = branch + "/"
        nested = any(owner == branch or owner.startswith(under) for owner in self.fans)
        for held in (self.places, self.fans, self.results, self.errors, self._last):
            held.pop(branch, None)
            if nested:
                for name in [name for name in held if name.startswith(under)]:
                    del held[name]

    def _fill(self, fan: Fan) -> None:
        """Begin branches up to the fan's concurrency; meet when all have ended."""
        while fan.started < len(fan.items):
            index = fan.started
            first = fan.begins_at(index)
            at_once = first is None or self.graph.nodes[first].type == JOIN
            if not at_once and fan.started - len(fan.results) >= fan.concurrency:
                break
            fan.started += 1
            given = None if fan.ways else fan.items[index]
            if first is None or at_once:
                fan.results[index] = given
                continue
            branch = fan.name(index)
            self.results[branch] = {}
            self._last[branch] = given
            self._enter(branch, first)
        if len(fan.results) == len(fan.items):
            if fan.join is None:
                self._last[fan.branch] = fan.joined()
                del self.fans[fan.branch]
                self._go(fan.branch, None)
            else:
                self._enter(fan.branch, fan.join)

    def _failed(self, place: Place, record: StepRecord) -> None:
        error: dict[str, JSON] = {"code": record.error_code, "message": record.error}
        if record.next_node is not None:
            self.errors[place.branch] = {**error, "node": place.node}
            self._go(place.branch, record.next_node)
            return
        branch = place.branch
        while branch:
            fan = self.fans[parent_of(branch)]
            if fan.collect:
                self._end(branch, {"error": error})
                return
            branch = fan.branch
        place.state = "failed"
        place.attempt = record.attempt + 1
        self.failure = (place.node, record.error_code or "error", record.error or "")

    def _retry(self, from_node: str | None, again: list[str]) -> None:
        self.failure = None
        if from_node is not None:
            for branch in [name for name in self.results if name]:
                self._drop(branch)
            self.fans.clear()
            self.finished = False
            self._enter("", from_node)
            self.current = from_node
            return
        for place in [p for p in self.places.values() if p.state == "failed"]:
            if self.node(place).type in CONTROL:
                self._enter(place.branch, place.node)
            else:
                place.state, place.spent = "ready", place.attempt - 1
        for branch in again:
            # It waits for a child that will not come back.
            if branch in self.places:
                self._enter(branch, self.places[branch].node)


def _fan(graph: Graph, node: Node, place: Place, items: list[Any], first: str | None) -> Fan:
    ways = node.type == PARALLEL
    concurrency = MOST_CONCURRENCY if ways else node.params.get("concurrency", 10)
    if not isinstance(concurrency, int) or not 1 <= concurrency <= MOST_CONCURRENCY:
        concurrency = 10
    return Fan(
        node=node.name,
        branch=place.branch,
        first=first,
        join=join_of(graph, node.name),
        items=items,
        concurrency=concurrency,
        collect=node.params.get("errors") == "collect",
        ways=ways,
    )


def join_of(graph: Graph, fan_out: str) -> str | None:
    """Return the join at which branches of a fan-out meet: the nearest that no inner one takes."""
    seen: set[tuple[str, int]] = set()
    open_: list[tuple[str, int]] = [(edge.target, 0) for edge in graph.edges_from(fan_out)]
    while open_:
        name, depth = open_.pop(0)
        node = graph.nodes.get(name)
        if node is None or (name, depth) in seen or depth > len(graph.nodes):
            continue
        seen.add((name, depth))
        if node.type == JOIN:
            if depth == 0:
                return name
            depth -= 1
        elif node.type in FANS:
            depth += 1
        following = [edge.target for edge in graph.edges_from(name)]
        if node.on_error in graph.nodes:
            following.append(node.on_error)
        open_.extend((target, depth) for target in following)
    return None


def parent_of(branch: str) -> str:
    """Return the branch that fanned out into this one."""
    return branch.rpartition("/")[0]


def index_of(branch: str) -> int:
    """Return which item of its fan-out a branch is of."""
    return int(branch[branch.rindex("[") + 1 : -1])
