"""A workflow as JSON and YAML, read and written.

    name: nightly
    start: fetch
    nodes:
      fetch: {type: http, params: {url: "https://example.com/"}, retry: {attempts: 5}}
      keep: {type: memory_record, params: {event_type: note, summary: "{{ nodes.fetch.body }}"}}
    edges:
      - {from: fetch, to: keep, when: nodes.fetch.status == 200}

Reading is strict: a field that is not known is a problem, not ignored. What is read is the shape
only; whether it makes sense is `checking.py`'s to say.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput
from aegis.workflows.models import CONTINUE, FAIL, Edge, Graph, Node, Problem, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.workflows.models import JSON

__all__ = ["InvalidWorkflow", "graph_of", "in_order", "json_of", "refuse", "to_yaml", "yaml_of"]

_MOST_BYTES: Final = 256 << 10
_MOST_DEPTH: Final = 40
MOST_NODES: Final = 500
MOST_EDGES: Final = 2_000
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
#: Names of workflows may have dots and slashes: `team/nightly.review`.
_WORKFLOW_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,99}")
_RESERVED: Final = frozenset({FAIL, CONTINUE})
_GRAPH: Final = frozenset(
    {"name", "start", "nodes", "edges", "description", "deadline_s", "defaults", "required"}
    | {"output"}
)
_NODE: Final = frozenset({"type", "params", "retry", "timeout_s", "on_error"})
_RETRY: Final = frozenset({"attempts", "first_s", "factor", "max_s", "non_retryable"})
_EDGE: Final = frozenset({"from", "to", "when"})
#: A year: what takes longer waits in a node of its own.
_MOST_SECONDS: Final = 366 * 86_400.0


class InvalidWorkflow(InvalidInput):
    """A workflow that cannot be; `problems` says all that is wrong with it."""

    code = "workflow_invalid"

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        shown = "; ".join(str(problem) for problem in problems[:5])
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__(f"Workflow {name or 'without a name'}: {shown}{more}")
        self.problems = list(problems)


def refuse(name: str, problems: Sequence[Problem]) -> None:
    """Raise `InvalidWorkflow` if there are any problems."""
    if problems:
        raise InvalidWorkflow(name, problems)


def yaml_of(text: str) -> JSON:
    """Return what a YAML (or JSON) document says, made of what JSON can say.

    Raises:
        InvalidInput: it does not parse, is too large or too deep, repeats a key, or has anchors,
            tags or more than one document (`workflow_yaml`).
    """
    from aegis.workflows.yaml_text import load

    if len(text.encode(errors="replace")) > _MOST_BYTES:
        raise InvalidInput(
            f"The workflow's text is larger than {_MOST_BYTES:,} bytes; make it smaller.",
            code="workflow_yaml",
        )
    return load(text, most_depth=_MOST_DEPTH)


def graph_of(value: JSON, *, name: str | None = None) -> Graph:
    """Return the graph that an object says; `name` replaces the one inside.

    Raises:
        InvalidWorkflow: the shape is wrong, with every problem found.
    """
    reader = _Reader()
    graph = reader.graph(value, name)
    refuse(graph.name, reader.problems)
    return graph


def json_of(graph: Graph) -> dict[str, JSON]:
    """Return the graph as an object: what is stored, what is compared, what `graph_of` reads.

    What is left at its default is left out.
    """
    said: dict[str, JSON] = {"name": graph.name}
    for field in ("description", "deadline_s", "output"):
        if getattr(graph, field):
            said[field] = getattr(graph, field)
    if graph.defaults:
        said["defaults"] = dict(graph.defaults)
    if graph.required:
        said["required"] = list(graph.required)
    said["start"] = graph.start
    said["nodes"] = {name: _node_json(graph.nodes[name]) for name in in_order(graph)}
    if graph.edges:
        said["edges"] = [_edge_json(edge) for edge in graph.edges]
    return said


def to_yaml(graph: Graph) -> str:
    """Return the graph as YAML, nodes in the order in which they are reached."""
    from aegis.workflows.yaml_text import dump

    return dump(json_of(graph))


def _node_json(node: Node) -> dict[str, JSON]:
    said: dict[str, JSON] = {"type": node.type}
    if node.params:
        said["params"] = dict(node.params)
    usual = Retry()
    retry = {
        field: getattr(node.retry, field)
        for field in ("attempts", "first_s", "factor", "max_s")
        if getattr(node.retry, field) != getattr(usual, field)
    }
    if node.retry.non_retryable:
        retry["non_retryable"] = list(node.retry.non_retryable)
    if retry:
        said["retry"] = retry
    if node.timeout_s is not None:
        said["timeout_s"] = node.timeout_s
    if node.on_error != FAIL:
        said["on_error"] = node.on_error
    return said


def _edge_json(edge: Edge) -> dict[str, JSON]:
    said: dict[str, JSON] = {"from": edge.source, "to": edge.target}
    return said if edge.when is None else {**said, "when": edge.when}


def in_order(graph: Graph) -> list[str]:
    """Return the names of the nodes in the order in which they are reached, others last."""
    order: dict[str, None] = {}
    waiting = [graph.start]
    while waiting:
        name = waiting.pop(0)
        if name in order or name not in graph.nodes:
            continue
        order[name] = None
        waiting += [edge.target for edge in graph.edges_from(name)]
        waiting.append(graph.nodes[name].on_error)
    return [*order, *sorted(name for name in graph.nodes if name not in order)]


class _Reader:
    """Reads shapes and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def graph(self, value: JSON, name: str | None) -> Graph:
        given = self._object(value, "", "workflow", _GRAPH)
        called: str = name or self._text(given, "name", "", default="")
        if not _WORKFLOW_NAME.fullmatch(called):
            self._say(
                "", "name", f"{called[:100]!r} is no name; use 1 to 100 letters, digits, _ . / -"
            )
        nodes = self._nodes(given.get("nodes"))
        start = self._text(given, "start", "", default="")
        if not start and len(nodes) == 1:
            start = next(iter(nodes))
        return Graph(
            name=called[:100],
            start=start,
            nodes=nodes,
            edges=self._edges(given.get("edges")),
            description=self._text(given, "description", "", default=""),
            deadline_s=self._seconds(given, "deadline_s", ""),
            defaults=self._object(given.get("defaults", {}), "", "defaults"),
            required=self._texts(given, "required", ""),
            output=self._text(given, "output", "", default=None),
        )

    def _nodes(self, value: JSON) -> dict[str, Node]:
        given = self._object(value if value is not None else {}, "", "nodes")
        if not 1 <= len(given) <= MOST_NODES:
            self._say("", "nodes", f"there are {len(given):,}; use 1 to {MOST_NODES}")
            return {}
        nodes: dict[str, Node] = {}
        for name, part in given.items():
            if not _NAME.fullmatch(name) or name in _RESERVED:
                self._say(
                    name[:100],
                    "nodes",
                    f"{name[:100]!r} is no name of a node; use 1 to 100 letters, digits, _ and -, "
                    "a letter first, and neither fail nor continue",
                )
                continue
            nodes[name] = self._node(name, part)
        return nodes

    def _node(self, name: str, value: JSON) -> Node:
        given = self._object(value, name, "", _NODE)
        return Node(
            name=name,
            type=self._text(given, "type", name, default=""),
            params=self._object(given.get("params", {}), name, "params"),
            retry=self._retry(given.get("retry"), name),
            timeout_s=self._seconds(given, "timeout_s", name),
            on_error=self._text(given, "on_error", name, default=FAIL),
        )

    def _retry(self, value: JSON, node: str) -> Retry:
        usual = Retry()
        if value is None:
            return usual
        given = self._object(value, node, "retry", _RETRY)
        first_s = self._number(given, "first_s", node, 0.0, 86_400.0, usual.first_s)
        return Retry(
            attempts=int(self._number(given, "attempts", node, 1, 100, usual.attempts, whole=True)),
            first_s=first_s,
            factor=self._number(given, "factor", node, 1.0, 10.0, usual.factor),
            max_s=self._number(given, "max_s", node, 0.0, 86_400.0 * 7, max(usual.max_s, first_s)),
            non_retryable=self._texts(given, "non_retryable", node, "retry."),
        )

    def _edges(self, value: JSON) -> list[Edge]:
        if value is None:
            return []
        if not isinstance(value, list) or len(cast("list[Any]", value)) > MOST_EDGES:
            self._say("", "edges", f"is no list of up to {MOST_EDGES:,}")
            return []
        edges: list[Edge] = []
        for number, part in enumerate(cast("list[Any]", value)):
            field = f"edges[{number}]"
            given = self._object(part, "", field, _EDGE)
            source = self._text(given, "from", "", f"{field}.", default="")
            edges.append(
                Edge(
                    source=source,
                    target=self._text(given, "to", "", f"{field}.", default=""),
                    when=self._text(given, "when", source, f"{field}.", default=None),
                )
            )
        return edges

    def _object(
        self, value: JSON, node: str, field: str, known: frozenset[str] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._say(node, field, f"is {_kind(value)}; write names and values")
            return {}
        given = cast("dict[Any, Any]", value)
        for key in given:
            if not isinstance(key, str):
                self._say(node, field, f"has the key {key!r}, which is no text; quote it")
            elif known is not None and key not in known:
                where = key if not field or field == "workflow" else f"{field}.{key}"
                self._say(node, where, f"is not known; there are {', '.join(sorted(known))}")
        return {key: part for key, part in given.items() if isinstance(key, str)}

    def _text(
        self, given: Mapping[str, Any], key: str, node: str, prefix: str = "", *, default: Any
    ) -> Any:
        value = given.get(key)
        if value is None:
            return default
        # YAML reads `when: true` as a boolean; it is an expression all the same.
        if key == "when" and isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            self._say(node, prefix + key, f"is {_kind(value)}; write text, in quotes")
            return default
        return value

    def _texts(
        self, given: Mapping[str, Any], key: str, node: str, prefix: str = ""
    ) -> Sequence[str]:
        value = given.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(part, str) and part for part in cast("list[Any]", value)
        ):
            self._say(node, prefix + key, "is no list of names")
            return ()
        return tuple(cast("list[str]", value))

    def _seconds(self, given: Mapping[str, Any], key: str, node: str) -> float | None:
        if given.get(key) is None:
            return None
        return self._number(given, key, node, 0.001, _MOST_SECONDS, 1.0, prefix="")

    def _number(
        self,
        given: Mapping[str, Any],
        key: str,
        node: str,
        least: float,
        most: float,
        usual: float,
        *,
        whole: bool = False,
        prefix: str = "retry.",
    ) -> float:
        value = given.get(key)
        if value is None:
            return usual
        kinds = int if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not least <= value <= most:
            self._say(node, prefix + key, f"is {value!r:.40}; use {least:g} to {most:g}")
            return usual
        return value

    def _say(self, node: str, field: str, message: str) -> None:
        self.problems.append(Problem(node=node, field=field, message=message))


def _kind(value: JSON) -> str:
    if value is None:
        return "missing or empty"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(cast("type[Any]", type(value)), f"the number {value!r:.40}")
