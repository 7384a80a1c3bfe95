"""`aegis memory graph` and `aegis memory sync`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def record(aegis: Shell, text: str) -> int:
    return aegis(
        *("memory", "record", "note", text, "--at", "2026-05-01T00:00:00+00:00", "--json")
    ).json["id"]


def test_graph_from_memories_to_a_drawing(aegis: Shell) -> None:
    one, two = record(aegis, "Alice: see ABC-1"), record(aegis, "closed ABC-1")
    assert aegis("memory", "graph", "build").out == (
        "Read 2 texts: 3 relations added, 0 removed, 0 related memories linked.\n"
    )
    assert aegis("memory", "graph", "build").out == "Nothing is new.\n"
    listed = aegis("memory", "graph", "entities", "--json").json
    assert [(e["kind"], e["name"], e["degree"]) for e in listed["items"]] == [
        ("ticket", "ABC-1", 2),
        ("person", "Alice", 1),
    ]
    assert "ABC-1" in aegis("memory", "graph", "entities", "--of", str(one)).out
    shown = aegis("memory", "graph", "show", "ticket:abc-1").out
    assert [w for w in (f"episode:{one}", f"episode:{two}", "closed ABC-1") if w not in shown] == []
    way = aegis("memory", "graph", "path", f"episode:{one}", f"episode:{two}").out.splitlines()
    assert [part.split()[0] for part in way] == [
        f"episode:{one}",
        "mentions",
        f"entity:{listed['items'][0]['id']}",
        "mentions",
        f"episode:{two}",
    ]
    assert aegis("memory", "graph", "draw", "person:Alice").out.startswith("graph LR\n    n")
    ET.fromstring(aegis("memory", "graph", "draw", "person:Alice", "--format", "graphml").out)
    drawn = aegis("memory", "graph", "draw", "person:Alice", "--json").json
    assert drawn["format"] == "mermaid"


def test_relations_and_merges_by_hand(aegis: Shell) -> None:
    one = record(aegis, "text")
    made = aegis("memory", "graph", "relate", str(one), "person:Bob", "--type", "works on")
    assert made.out == f"Relation 1: episode:{one} works_on entity:1.\n"
    aegis("memory", "graph", "relate", str(one), "person:Robert")
    refused = aegis("memory", "graph", "merge", "person:Bob", "person:Robert")
    assert (refused.status, "--yes" in refused.err) == (2, True)
    merged = aegis("memory", "graph", "merge", "person:Bob", "person:Robert", "--yes")
    assert merged.out == "Merge 1: entity 1 stands for entity 2.\n"
    assert [m["id"] for m in aegis("memory", "graph", "merges", "--json").json["items"]] == [1]
    assert aegis("memory", "graph", "merges").out
    assert aegis("memory", "graph", "unmerge", "1").out == "Entities 1 and 2 are two again.\n"
    ended = aegis("memory", "graph", "unrelate", str(one), "person:Bob")
    assert ended.out == "Ended relation 1 (works_on).\n"
    assert aegis("memory", "graph", "show", "person:Bob", "--json").json["relations"] == []


def test_what_is_not_there_is_said_in_one_line(aegis: Shell) -> None:
    one = record(aegis, "text")
    missing = aegis("memory", "graph", "show", "person:Nobody")
    assert (missing.status, missing.err.count("\n")) == (3, 1)
    assert aegis("memory", "graph", "show", "Nobody").status == 2
    two = record(aegis, "other")
    none = aegis("memory", "graph", "path", str(one), str(two))
    assert (none.status, none.out, none.err) == (0, "", "No way was found.\n")
    assert aegis("memory", "graph", "entities").err.startswith("There are no entities.")


def test_sync_says_how_far_it_is_and_what_is_not_set(aegis: Shell) -> None:
    record(aegis, "text")
    state = aegis("memory", "sync", "graphiti", "--status", "--json").json
    assert state == {
        "run": None,
        "state": {"synced": 0, "pending": 1, "failed": 0},
        "failures": [],
    }
    refused = aegis("memory", "sync", "graphiti")
    assert "AEGIS_GRAPHITI_URL is not set" in refused.err
    assert refused.status != 0
