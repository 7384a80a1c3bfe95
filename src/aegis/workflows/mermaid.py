"""A graph as a Mermaid flowchart, with where an execution stands if one is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.workflows import control
from aegis.workflows.models import CONTINUE, FAIL
from aegis.workflows.reading import in_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.workflows.models import Graph, Node

__all__ = ["mermaid"]

#: How types are drawn; others are boxes.
_SHAPES: Final = {
    control.DECISION: ("{", "}"),
    control.FAN_OUT: ("[/", "\\]"),
    control.PARALLEL: ("[/", "/]"),
    control.JOIN: ("[\\", "/]"),
    control.SUB_WORKFLOW: ("[[", "]]"),
    control.WAIT_FOR: ("([", "])"),
    control.WAIT_UNTIL: ("([", "])"),
    control.SIGNAL: (">", "]"),
    control.APPROVAL: ("{{", "}}"),
}
_MOST_LABEL = 60
_COLOURS: Final = {
    "completed": "fill:#d7f5dd,stroke:#2e7d32",
    "failed": "fill:#fbdcdc,stroke:#c62828",
    "current": "fill:#fff3cd,stroke:#b8860b",
}


def mermaid(graph: Graph, *, states: Mapping[str, str] | None = None) -> str:
    """Return the flowchart; `states` are `completed`, `failed` or `current` by node."""
    ids = {name: f"n{number}" for number, name in enumerate(in_order(graph))}
    lines = ["flowchart TD", "    begin((start))"]
    lines += [f"    {number}{_drawn(graph.nodes[name])}" for name, number in ids.items()]
    if graph.start in ids:
        lines.append(f"    begin --> {ids[graph.start]}")
    for edge in graph.edges:
        if edge.source in ids and edge.target in ids:
            label = f"|{_label(edge.when)}|" if edge.when else ""
            lines.append(f"    {ids[edge.source]} -->{label} {ids[edge.target]}")
    for name, node in graph.nodes.items():
        if node.on_error in ids:
            lines.append(f"    {ids[name]} -.->|{_label('on error')}| {ids[node.on_error]}")
        elif node.on_error == CONTINUE:
            lines.append(f"    {ids[name]}:::lenient")
    if any(node.on_error not in (FAIL, *ids) for node in graph.nodes.values()):
        lines.append("    classDef lenient stroke-dasharray: 4 3")
    for state, colour in _COLOURS.items():
        chosen = [ids[name] for name, its in (states or {}).items() if its == state and name in ids]
        if chosen:
            lines += [f"    classDef {state} {colour}", f"    class {','.join(chosen)} {state}"]
    return "\n".join(lines) + "\n"


def _drawn(node: Node) -> str:
    opening, closing = _SHAPES.get(node.type, ("[", "]"))
    kind = "" if node.type == node.name else f"<br/><small>{_escape(node.type)}</small>"
    return f'{opening}"{_escape(node.name)}{kind}"{closing}'


def _label(text: str) -> str:
    flat = " ".join(text.split())
    return f'"{_escape(flat if len(flat) <= _MOST_LABEL else flat[: _MOST_LABEL - 1] + "…")}"'


def _escape(text: str) -> str:
    """Write as entities what Mermaid, or HTML in a label, would read as more than text."""
    return "".join(
        sign if sign.isalnum() or sign in " .,_-…" else f"#{ord(sign)};" for sign in text
    )
