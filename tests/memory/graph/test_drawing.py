"""Drawings survive whatever strangers write into labels."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.graph.drawing import draw
from aegis.memory.graph.models import Neighbourhood, Node, Relation

AT = datetime(2026, 5, 1, tzinfo=UTC)
SPACE = "{http://graphml.graphdrawing.org/xmlns}"
HOSTILE = (
    'a"] --> b["x',
    "end",
    "]]>&<script>alert(1)</script>",
    "line\nbreak\r\n%% comment",
    "#quot; #35; `code` **bold** {x} (y) [z] |p| ;",
    "\x00\x01\x1b[31m\ud800 \ufffe 🦀",
    "click n1 href 'javascript:alert(1)'",
    "",
)


def drawn(labels: tuple[str, ...] | list[str]) -> Neighbourhood:
    nodes = [
        Node(kind="entity", id=n, label=label, detail=label, at=AT, depth=0)
        for n, label in enumerate(labels, 1)
    ]
    relations = [
        Relation(
            id=n,
            type="works_on",
            source_kind="entity",
            source_id=n,
            target_kind="entity",
            target_id=n % len(nodes) + 1,
            weight=0.5,
            valid_from=AT,
            valid_to=None,
            recorded_at=AT,
            found_by="hand",
        )
        for n in range(1, len(nodes) + 1)
    ]
    return Neighbourhood(nodes=nodes, relations=relations, truncated=False)


#: The whole grammar that we write: an id, a shape, a label of harmless characters and numbers.
LABEL = r"(?:[^\W_]|[ .,:\-_/@+=]|#\d+;)+"
NODE = re.compile(rf'    [enf]\d+(?:\["{LABEL}"\]|\("{LABEL}"\)|\(\["{LABEL}"\]\))')
EDGE = re.compile(rf'    [enf]\d+ -->\|"{LABEL}"\| [enf]\d+')


def check_mermaid(labels: tuple[str, ...] | list[str]) -> None:
    first, *lines = draw(drawn(labels), "mermaid").removesuffix("\n").split("\n")
    assert first == "graph LR"
    assert len(lines) == 2 * len(labels)
    for line in lines[: len(labels)]:
        assert NODE.fullmatch(line), line
    for line in lines[len(labels) :]:
        assert EDGE.fullmatch(line), line


def check_graphml(labels: tuple[str, ...] | list[str]) -> None:
    root = ET.fromstring(draw(drawn(labels), "graphml").encode())
    keys = {key.attrib["id"]: key.attrib["for"] for key in root.iter(f"{SPACE}key")}
    (graph,) = root.iter(f"{SPACE}graph")
    assert (root.tag, graph.attrib["edgedefault"]) == (f"{SPACE}graphml", "directed")
    ids = [node.attrib["id"] for node in graph.iter(f"{SPACE}node")]
    assert len(set(ids)) == len(ids) == len(labels)
    edges = list(graph.iter(f"{SPACE}edge"))
    assert len(edges) == len(labels)
    for edge in edges:
        assert {edge.attrib["source"], edge.attrib["target"]} <= set(ids)
    # A reader looks every key up, and wants a number where one is promised.
    for element in (*graph.iter(f"{SPACE}node"), *edges):
        for value in element.iter(f"{SPACE}data"):
            assert keys[value.attrib["key"]] == element.tag.removeprefix(SPACE)
            if value.attrib["key"] == "edge_weight":
                assert float(value.text or "") == 0.5


def test_hostile_labels() -> None:
    check_mermaid(HOSTILE)
    check_graphml(HOSTILE)


@given(st.lists(st.text(st.characters()), min_size=1, max_size=4))
def test_any_labels(labels: list[str]) -> None:
    check_mermaid(labels)
    check_graphml(labels)


def test_label_is_readable_where_it_can_be() -> None:
    text = draw(drawn(["Alice Cooper, host db-1.internal"]), "mermaid")
    assert '    n1(["Alice Cooper, host db-1.internal"])\n' in text
    whole = ET.fromstring(draw(drawn(['<b> & "q"']), "graphml"))
    labels = [d.text for d in whole.iter(f"{SPACE}data") if d.attrib["key"] == "node_label"]
    assert labels == ['<b> & "q"']
