"""What is wrong with a graph: every problem names its node and field.

Pure; types of nodes are given. What cannot be known before it runs, such as whether a condition
ever holds or a workflow named by another exists by then, is not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.workflows import control
from aegis.workflows.expressions import check as check_expression
from aegis.workflows.expressions import nodes_named, variables_named
from aegis.workflows.models import CONTINUE, FAIL, Problem
from aegis.workflows.nesting import Nesting
from aegis.workflows.templates import check_templates, expressions_in
from aegis.workflows.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aegis.workflows.models import Graph, Node
    from aegis.workflows.nodes.contract import NodeType

__all__ = ["check_graph"]


def check_graph(graph: Graph, find_type: Callable[[str], NodeType | None]) -> list[Problem]:
    """Return everything that is wrong with a graph, in the order of its nodes."""
    problems: list[Problem] = []
    for node in graph.nodes.values():
        problems += _check_node(graph, node, find_type)
    problems += _check_edges(graph)
    if graph.start not in graph.nodes:
        said = f"is {graph.start!r}, which is no node" if graph.start else "is missing"
        problems.append(_of("", "start", f"{said}; name the first node"))
        return problems
    ways = Ways(graph)
    problems += _check_ways(graph, ways)
    nesting = Nesting(graph)
    problems += nesting.problems
    problems += _check_references(graph, ways, nesting)
    if graph.output is not None:
        trouble = check_expression(graph.output)
        if trouble:
            problems.append(_of("", "output", trouble))
    return list(dict.fromkeys(problems))


def _check_node(
    graph: Graph, node: Node, find_type: Callable[[str], NodeType | None]
) -> Iterator[Problem]:
    kind = find_type(node.type)
    if kind is None:
        yield _of(node.name, "type", _unknown_type(node.type))
    else:
        for problem in kind.check(node.params):
            yield _of(node.name, problem.field, problem.message)
    for place, trouble in check_templates(dict(node.params)):
        yield _of(node.name, f"params{place}", trouble)
    if node.on_error not in (FAIL, CONTINUE) and node.on_error not in graph.nodes:
        yield _of(
            node.name,
            "on_error",
            f"is {node.on_error!r:.60}; use fail, continue, or the name of a node",
        )


def _unknown_type(name: str) -> str:
    import difflib

    from aegis.workflows.nodes.registry import failures, node_types

    if not name:
        return "is missing; name a type such as http"
    if name in failures():
        return f"{name!r} could not be loaded: {failures()[name]}"
    near = difflib.get_close_matches(name, node_types(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(node_types())}"
    return f"{name[:60]!r} is not known; {hint}"


def _check_edges(graph: Graph) -> Iterator[Problem]:
    always: dict[str, int] = {}
    for number, edge in enumerate(graph.edges):
        field = f"edges[{number}]"
        for end, name in (("from", edge.source), ("to", edge.target)):
            if name not in graph.nodes:
                said = f"is {name!r:.60}, which is no node" if name else "is missing"
                yield _of("", f"{field}.{end}", f"{said}; name one")
        source = graph.nodes.get(edge.source)
        if source is not None and source.type == control.PARALLEL:
            # Each of its edges is taken that holds.
            pass
        elif edge.source in always:
            yield _of(
                edge.source,
                field,
                f"is never taken: edges[{always[edge.source]}] before it has no `when`",
            )
        elif edge.when is None:
            always[edge.source] = number
        if edge.when is not None:
            trouble = check_expression(edge.when)
            if trouble:
                yield _of(edge.source, f"{field}.when", trouble)


def _check_ways(graph: Graph, ways: Ways) -> Iterator[Problem]:
    found = ways.reachable(graph.start)
    for name in graph.nodes:
        if name not in found:
            yield _of(name, "edges", f"cannot be reached from {graph.start}; add an edge to it")
    for node in graph.nodes.values():
        if node.type in (control.DECISION, control.FAN_OUT) and not ways.edges[node.name]:
            yield _of(node.name, "edges", f"is a {node.type} that no edge leaves; add one")
        if node.type == control.PARALLEL:
            yield from _check_parallel(graph, node)
    for circle in ways.circles():
        if not _has_exit(graph, ways, circle):
            names = ", ".join(sorted(circle))
            yield _of(
                min(circle),
                "edges",
                f"stands in a circle without an end ({names}); add an edge that leaves it",
            )


def _check_parallel(graph: Graph, node: Node) -> Iterator[Problem]:
    targets = [edge.target for edge in graph.edges_from(node.name)]
    if len(set(targets)) < 2:
        yield _of(node.name, "edges", "is a parallel with fewer than two ways; add edges from it")
    for name in sorted({name for name in targets if targets.count(name) > 1}):
        yield _of(node.name, "edges", f"leads to {name} twice; put both conditions into one edge")
    for name in dict.fromkeys(targets):
        known = graph.nodes.get(name)
        if known is not None and known.type == control.JOIN:
            yield _of(node.name, "edges", f"leads straight to the join {name}; leave that edge out")


def _has_exit(graph: Graph, ways: Ways, circle: set[str]) -> bool:
    for name in circle:
        edges = ways.edges[name]
        if any(target not in circle for target in ways.following[name]):
            return True
        ends = bool(edges) and all(edge.when is not None for edge in edges)
        # A node none of whose edges holds ends its branch; a decision fails.
        if ends and graph.nodes[name].type != control.DECISION:
            return True
    return False


def _check_references(graph: Graph, ways: Ways, nesting: Nesting) -> Iterator[Problem]:
    before: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for name in graph.nodes:
        for later in ways.after(name):
            before[later].add(name)
    for node in graph.nodes.values():
        for place, source in expressions_in(dict(node.params)):
            where = f"params{place}"
            yield from _check_names(graph, nesting, node.name, where, source, before[node.name])
    for number, edge in enumerate(graph.edges):
        if edge.when is not None and edge.source in graph.nodes:
            known = before[edge.source] | {edge.source}
            yield from _check_names(
                graph, nesting, edge.source, f"edges[{number}].when", edge.when, known
            )
    for name in sorted(nodes_named(graph.output or "")) if graph.output else ():
        if name not in graph.nodes:
            yield _of("", "output", f"names nodes.{name}, which does not exist")


def _check_names(
    graph: Graph, nesting: Nesting, node: str, field: str, source: str, before: set[str]
) -> Iterator[Problem]:
    for name in sorted(nodes_named(source)):
        if name not in graph.nodes:
            yield _of(node, field, f"names nodes.{name}, which does not exist")
        elif name not in before:
            yield _of(node, field, f"names nodes.{name}, which never runs before it")
        elif not nesting.sees(node, name):
            yield _of(
                node,
                field,
                f"names nodes.{name}, which runs inside a fan-out; name the join's result",
            )
    inside = nesting.has_item(node)
    named = variables_named(source)
    for name in sorted(named & {"item", "index"}):
        if not inside:
            yield _of(node, field, f"names {name}, which exists between fan_out and join only")


def _of(node: str, field: str, message: str) -> Problem:
    return Problem(node=node, field=field, message=message)
