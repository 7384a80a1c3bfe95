"""A LangGraph store's items: their text, wherever the value keeps it, and the whole value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path
from tests.memory.importing.exports import write_json, write_zip

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory


def item(key: Any, value: Any, **changes: Any) -> dict[str, Any]:
    return {
        "namespace": ["memories", "alex"],
        "key": key,
        "value": value,
        "created_at": "2026-05-01T09:00:00.123456+00:00",
        "updated_at": "2026-05-02T09:00:00+00:00",
        "score": None,
        **changes,
    }


@pytest.mark.parametrize(
    ("value", "summary", "whole"),
    [
        ({"text": "likes tea"}, "likes tea", False),
        ({"data": "likes tea"}, "likes tea", False),
        ({"text": "likes tea", "weight": 2}, "likes tea", True),
        ({"kind": "Memory", "content": {"content": "likes tea"}}, "likes tea", True),
        ({"text": " ", "memory": "likes tea"}, "likes tea", True),
        ({"drink": "tea", "n": [1, None]}, '{"drink":"tea","n":[1,null]}', True),
        ({"kind": "Profile"}, '{"kind":"Profile"}', True),
        ({}, "{}", True),
    ],
)
async def test_text_is_found_and_nothing_is_lost(
    plain_memory: Memory, tmp_path: Path, value: Any, summary: str, whole: bool
) -> None:
    file = write_json(tmp_path / "store.json", [item("k", value)])
    await import_path(plain_memory, "langgraph", file)
    (episode,) = await plain_memory.list()
    assert episode.summary == summary
    assert episode.details == (value if whole else None)


@pytest.mark.parametrize("form", ["list", "items", "json lines", "lines in a list's file", "zip"])
async def test_items_come_in_several_forms(plain_memory: Memory, tmp_path: Path, form: str) -> None:
    items = [item("a", {"text": "one"}), item("b", {"text": "two"})]
    lines = "".join(json.dumps(i) + "\n" for i in items)
    match form:
        case "list":
            path = write_json(tmp_path / "store.json", items)
        case "items":
            path = write_json(tmp_path / "store.json", {"items": items})
        case "json lines":
            (tmp_path / "store.jsonl").write_text(lines)
            path = tmp_path  # found in a folder, too
        case "zip":
            path = write_zip(tmp_path / "store.zip", **{"x/store.jsonl": lines})
        case _:
            path = tmp_path / "store.json"
            path.write_text(lines)
    for recorded in (2, 0):  # the second time there is nothing new
        report = await import_path(plain_memory, "langgraph", path)
        assert (report.recorded, report.skipped) == (recorded, 2 - recorded)
    (one,) = [e for e in await plain_memory.list() if e.summary == "one"]
    assert (one.session_id, one.event_type) == ("memories/alex", "memory")
    assert one.timestamp == datetime(2026, 5, 1, 9, 0, 0, 123456, tzinfo=UTC)
    assert one.source_id == 'langgraph:["memories","alex","a"]'
    assert one.metadata == {
        "namespace": ["memories", "alex"],
        "key": "a",
        "updated_at": "2026-05-02T09:00:00+00:00",
    }


async def test_rows_of_the_stores_table_and_of_the_javascript_client_are_read(
    plain_memory: Memory, tmp_path: Path
) -> None:
    row = item("a", {"text": "row"}, prefix="memories.alex")
    del row["namespace"]
    javascript = item("b", {"text": "js"}, createdAt="2026-05-01T09:00:00.123Z")
    del javascript["created_at"]
    file = write_json(tmp_path / "store.json", [row, javascript])
    await import_path(plain_memory, "langgraph", file)
    by_text = {e.summary: e for e in await plain_memory.list()}
    assert by_text["row"].session_id == "memories/alex"
    assert by_text["js"].timestamp == datetime(2026, 5, 1, 9, 0, 0, 123000, tzinfo=UTC)


async def test_keys_of_different_items_never_meet(plain_memory: Memory, tmp_path: Path) -> None:
    long = "k" * 2_000
    items = [
        item("c", {"text": "1"}, namespace=["a/b"]),
        item("b/c", {"text": "2"}, namespace=["a"]),
        item("c", {"text": "3"}, namespace=["a", "b"]),
        item("c", {"text": "4"}, namespace=[]),
        item(long + "1", {"text": "5"}),
        item(long + "2", {"text": "6"}),
    ]
    file = write_json(tmp_path / "store.json", items)
    report = await import_path(plain_memory, "langgraph", file)
    assert (report.recorded, report.skipped) == (6, 0)


BROKEN: list[tuple[Any, str]] = [
    (item("k", None), "value is None"),
    (item("k", ["a"]), "value is a list"),
    (item("k", {"text": "x", "deep": "\x00"}), "NUL"),
    (item("k", {"text": "a", "b": "\ud800"}), "surrogates not allowed"),
    (item("k", {"n": float("nan")}), "value cannot be stored as JSON"),
    (item("k", {"n": 0}, created_at="soon"), "created_at is 'soon'"),
    (item(None, {"text": "x"}), "key is None"),
    (item("\ud800", {"text": "x"}), "surrogate"),
    (item("k", {"text": "x"}, namespace=None), "namespace is None"),
    (item("k", {"text": "x"}, namespace=[1]), "namespace is a list"),
    (item("k", {"text": "x"}, namespace=["n" * 2_000]), "session_id has 2,000"),
    (None, "it is None, not a JSON object"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN, ids=range(len(BROKEN)))
async def test_broken_item_is_named_and_its_neighbours_are_recorded(
    plain_memory: Memory, tmp_path: Path, broken: Any, reason: str
) -> None:
    items = [item("first", {"text": "1"}), broken, item("last", {"text": "3"})]
    file = write_json(tmp_path / "store.json", items)
    with pytest.raises(InvalidInput, match=r"value 2: .*1 before it") as caught:
        await import_path(plain_memory, "langgraph", file)
    assert reason in str(caught.value)
    report = await import_path(plain_memory, "langgraph", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (1, 1, 1)


async def test_broken_line_is_passed_over_and_the_next_is_read(
    plain_memory: Memory, tmp_path: Path
) -> None:
    lines = [json.dumps(item("a", {"text": "one"})), "{", json.dumps(item("b", {"text": "two"}))]
    file = tmp_path / "store.jsonl"
    file.write_text("\n".join(lines))
    report = await import_path(plain_memory, "langgraph", file, skip_broken=True)
    assert (report.recorded, report.broken_count) == (2, 1)
    assert str(report.broken[0].place) == f"{file}, line 2"
