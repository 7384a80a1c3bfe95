"""A neighbourhood as Mermaid or GraphML. Pure.

Labels are strangers' texts. Mermaid reads HTML and its own marks in them, so every character that
is not a letter, a figure, a space or one of a few harmless marks goes out by its number. GraphML is
XML 1.0, which has no way at all to write most control characters: those are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.graph.models import Neighbourhood, Node, NodeKind, Relation

__all__ = ["DRAWINGS", "Drawing", "draw"]

Drawing = Literal["mermaid", "graphml"]
DRAWINGS: tuple[Drawing, ...] = ("mermaid", "graphml")

#: Longer labels make a drawing that nobody reads.
_MAX_LABEL = 60
_SHAPES: dict[NodeKind, tuple[str, str]] = {
    "episode": ('["', '"]'),
    "fact": ('("', '")'),
    "entity": ('(["', '"])'),
}
# Mermaid treats `#` and `;` as the ends of an entity, `"` as the end of a label.
_HARMLESS = frozenset(" .,:-_/@+=")
# https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def draw(found: Neighbourhood, format: Drawing) -> str:
    """Return a neighbourhood as text of a format, with a line end at its end."""
    return _mermaid(found) if format == "mermaid" else _graphml(found)


def _mermaid(found: Neighbourhood) -> str:
    lines = ["graph LR"]
    for node in found.nodes:
        opening, closing = _SHAPES[node.kind]
        lines.append(f"    {_id(node.kind, node.id)}{opening}{_label(node)}{closing}")
    for relation in found.relations:
        source = _id(relation.source_kind, relation.source_id)
        target = _id(relation.target_kind, relation.target_id)
        lines.append(f'    {source} -->|"{_coded(relation.type)}"| {target}')
    return "\n".join(lines) + "\n"


def _label(node: Node) -> str:
    flat = " ".join(node.label.split())
    flat = flat if len(flat) <= _MAX_LABEL else flat[: _MAX_LABEL - 1] + "…"
    return _coded(flat) or " "


def _coded(text: str) -> str:
    """Return text of which no character means anything to Mermaid or to a browser."""
    return "".join(
        c if c.isalnum() or c in _HARMLESS else f"#{ord(c)};"
        for c in text
        # Half a pair has no number that a browser takes.
        if not 0xD800 <= ord(c) <= 0xDFFF and (c.isprintable() or c.isspace())
    )


def _id(kind: NodeKind, node_id: int) -> str:
    # A letter and a number: names such as `end` mean something.
    return f"{kind[0] if kind != 'entity' else 'n'}{node_id}"


_NODE_KEYS = (("kind", "string"), ("label", "string"), ("detail", "string"), ("at", "string"))
_EDGE_KEYS = (
    ("type", "string"),
    ("weight", "double"),
    ("valid_from", "string"),
    ("valid_to", "string"),
    ("recorded_at", "string"),
    ("found_by", "string"),
)


def _graphml(found: Neighbourhood) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"',
        '    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
        '    xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns'
        ' http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">',
    ]
    for target, keys in (("node", _NODE_KEYS), ("edge", _EDGE_KEYS)):
        lines += [
            f'  <key id="{target}_{name}" for="{target}" attr.name="{name}" attr.type="{kind}"/>'
            for name, kind in keys
        ]
    lines.append('  <graph id="memory" edgedefault="directed">')
    for node in found.nodes:
        lines += _graphml_node(node)
    for relation in found.relations:
        lines += _graphml_edge(relation)
    return "\n".join([*lines, "  </graph>", "</graphml>"]) + "\n"


def _graphml_node(node: Node) -> Sequence[str]:
    at = None if node.at is None else node.at.isoformat()
    values = {"kind": node.kind, "label": node.label, "detail": node.detail, "at": at}
    return [
        f"    <node id={quoteattr(_id(node.kind, node.id))}>",
        *_graphml_data("node", values),
        "    </node>",
    ]


def _graphml_edge(relation: Relation) -> Sequence[str]:
    values = {
        "type": relation.type,
        "weight": f"{relation.weight:g}",
        "valid_from": relation.valid_from and relation.valid_from.isoformat(),
        "valid_to": relation.valid_to and relation.valid_to.isoformat(),
        "recorded_at": relation.recorded_at.isoformat(),
        "found_by": relation.found_by,
    }
    source = _id(relation.source_kind, relation.source_id)
    target = _id(relation.target_kind, relation.target_id)
    return [
        f'    <edge id="r{relation.id}" source="{source}" target="{target}">',
        *_graphml_data("edge", values),
        "    </edge>",
    ]


def _graphml_data(target: str, values: dict[str, str | None]) -> Sequence[str]:
    return [
        f'      <data key="{target}_{name}">{escape(_NO_XML.sub("", value))}</data>'
        for name, value in values.items()
        if value is not None
    ]
